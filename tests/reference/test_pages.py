"""The pages of docs/: the generated ones are fresh, links lead somewhere, SQL runs, rows are counted."""

import json
import re
from pathlib import Path

import psycopg
import pytest

from sql.settings import Settings
from tests.reference import functions, settings
from tests.reference.__main__ import PAGES, main
from tests.support.db import Conn
from tests.support.process import ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))
PROSE = [ROOT / "README.md", ROOT / "SECURITY.md", *DOCS]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A statement within a sentence; … in it: not a whole one.
INLINE = re.compile(r"`((?:SELECT|UPDATE|INSERT|SET) [^`…]+)`")
# A file of ours, perhaps with a star for several.
FILE = re.compile(r"`([\w./*-]+\.(?:py|sql|json|yaml|lock|toml|md))(?:::\w+)?`")
PLACES = ("", "tests", "sql/functions", "docs", "market/prices", "market/providers")
# What a reader writes, and what other programs want.
THEIRS = {"requirements.txt", "market/providers/NAME.py"}
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# Views that only our own statements read.
INTERNAL = {
    "clock_ahead",
    "expected_tickers",
    "prediction_inputs",
    "prediction_models",
}


def anchors(path: Path) -> set[str]:
    """What a link into a page may name, as GitHub makes it of the headings."""
    prose = FENCED.sub("", path.read_text())
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in HEADING.findall(prose))
    return {heading.strip().replace(" ", "-") for heading in plain}


def test_the_generated_pages_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().out


def test_a_stale_page_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr("tests.reference.__main__.ROOT", tmp_path)
    assert main(["--write"]) == 0
    assert main([]) == 0
    page = tmp_path / "docs" / "settings.md"
    page.write_text(page.read_text().replace("WORKER_LEASE_SECONDS", "WORKER_LEASE_HOURS"))
    capsys.readouterr()
    assert main([]) == 1
    assert capsys.readouterr().out == "docs/settings.md is stale: run ./dev docs\n"


def test_a_setting_without_a_meaning_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class More(Settings):
        worker_nothing: int = 0

    monkeypatch.setattr(settings, "_classes", lambda _module: [More])
    with pytest.raises(ValueError, match=r"^worker_nothing: say what it means"):
        settings.page()


def test_a_function_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "SECTIONS", {"Queue": ("outbox_gone",)})
    with pytest.raises(ValueError, match="no outbox_gone"):
        functions.page()


def test_every_view_for_people_is_on_the_page() -> None:
    listed = {name for names in functions.SECTIONS.values() for name in names}
    catalogue = json.loads((ROOT / "sql/schema/catalogue.json").read_text())["items"]
    views = {each["name"] for each in catalogue if each["kind"] == "view"}
    assert views - listed == INTERNAL


def test_no_meaning_is_missing() -> None:
    for name in PAGES:
        rows = re.findall(r"^\| `.*\|\s*\|$", (ROOT / "docs" / name).read_text(), re.MULTILINE)
        assert rows == [], name


@pytest.mark.parametrize("page", PROSE, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    problems = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            problems.append(link)
    assert problems == []


@pytest.mark.parametrize("page", PROSE, ids=lambda path: path.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = set(FILE.findall(FENCED.sub("", page.read_text()))) - THEIRS
    assert [name for name in named if not any(list((ROOT / at).glob(name)) for at in PLACES)] == []


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text()
    assert [page.name for page in DOCS if f"({page.name})" not in index] == ["README.md"]


@pytest.mark.parametrize(
    "page", [page for page in DOCS if page.name not in PAGES], ids=lambda path: path.name
)
def test_every_statement_of_a_page_is_one(page: Path, conn: Conn) -> None:
    """On a database without the rows that they name: then a verb says so, and that is all."""
    text = page.read_text()
    fenced = [
        re.sub(r"--.*", "", body) for language, body in FENCED.findall(text) if language == "sql"
    ]
    code = ";".join([*fenced, *INLINE.findall(FENCED.sub("", text))])
    for statement in filter(None, (each.strip() for each in code.split(";"))):
        try:
            with conn.transaction(force_rollback=True):
                conn.execute(statement.encode())
        except psycopg.errors.NoDataFound:
            pass
