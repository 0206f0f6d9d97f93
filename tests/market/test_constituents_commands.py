"""`market constituents refresh` and `show`, as a person sees them; the sources are a folder and nobody."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.cli import document, error_line
from tests.support.clock import set_clock
from tests.support.db import Conn, value
from tests.support.inline_cli import inline, on_terminal

DOW = [f"D{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"] + ["D", "E", "F", "BRK.B"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Lists in a folder: the Dow's."""
    write(tmp_path, DOW)
    return tmp_path


def write(folder: Path, symbols: list[str]) -> None:
    (folder / "DOW30.csv").write_text("symbol,name\n" + "".join(f"{s},{s} Inc.\n" for s in symbols))


def refresh(url: str, folder: Path, *arguments: str) -> CompletedProcess[str]:
    return inline(url, "market", "constituents", "refresh", *arguments, INDEX_CSV_DIR=str(folder))


def test_a_refresh_says_from_whom_and_what_was_not_used(url: str, folder: Path) -> None:
    done = refresh(url, folder, "dow30", "--json")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    said = row.pop("said")
    assert said.startswith("wikipedia: down ConnectError: ")
    assert isinstance(row.pop("payload"), int)
    assert row == {
        "index": "DOW30", "result": "refreshed", "fetched": 30, "inserted": 30, "reactivated": 0,
        "inactivated": 0, "registered": 30, "members_before": 0, "members_after": 30,
        "provider_used": "csv", "fallback_used": True,
    }  # fmt: skip


def test_all_indexes_are_tried_and_one_that_fails_is_1(url: str, folder: Path) -> None:
    done = refresh(url, folder)
    line = error_line(done, 1)
    assert "NASDAQ100 was not refreshed: wikipedia: down" in line
    assert "SP500 was not refreshed: " in line
    assert "csv: empty no file SP500.csv in" in line
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows[1:]] == [
        ["DOW30", "refreshed"], ["NASDAQ100", "failed"], ["SP500", "failed"],
    ]  # fmt: skip


def test_many_that_leave_are_refused_and_the_next_command_is_named(
    url: str, conn: Conn, folder: Path
) -> None:
    assert refresh(url, folder, "DOW30").returncode == 0
    write(folder, ["N1", "N2", "N3", "N4", *DOW[4:]])
    line = error_line(refresh(url, folder, "DOW30"), 1)
    assert "csv: 4 members would leave (DA, DB, DC, DD), more than 3: --yes takes the list" in line
    shown = on_terminal(url, "market", "constituents", "show").stdout
    assert "DOW30 cannot be refreshed" in shown
    assert "DOW30: wikipedia: down ConnectError" in " ".join(shown.split())
    assert "python -m market constituents refresh DOW30" in shown
    dry = refresh(url, folder, "DOW30", "--yes", "--dry-run", "--json")
    assert document(dry)[0]["inactivated"] == 4
    assert value(conn, "SELECT count(*) FROM index_constituents") == 30
    assert refresh(url, folder, "DOW30", "--yes").returncode == 0
    assert value(conn, "SELECT count(*) FROM index_members('DOW30')") == 30
    assert value(conn, "SELECT count(*) FROM index_constituents") == 34


def test_members_of_a_day(url: str, conn: Conn, folder: Path) -> None:
    set_clock(conn, "2026-03-02 12:00Z")
    assert refresh(url, folder, "DOW30").returncode == 0

    def show(*arguments: str) -> str:
        done = on_terminal(url, "market", "constituents", "show", *arguments, width=100)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "DOW30 has 30 members now; known since 2026-03-02" in show("DOW30")
    assert "BRK-B" in show("dow30", "--as-of", "2026-03-02")
    before = show("DOW30", "--as-of", "2026-03-01")
    assert "Members of DOW30 are known since 2026-03-02, not on 2026-03-01." in before
    assert "No member of SP500 is known yet." in show("SP500")
    piped = inline(url, "market", "constituents", "show", "DOW30", "--as-of", "2026-03-01").stdout
    assert piped == "symbol\tname\tsector\tindustry\tsince\tuntil\tsource\n"


def test_tracked_says_why_and_what_is_new(url: str, folder: Path) -> None:
    empty = on_terminal(url, "market", "tracked").stdout
    assert "No symbol is followed." in empty
    assert refresh(url, folder, "DOW30").returncode == 0
    shown = on_terminal(url, "market", "tracked").stdout
    assert "30 symbols are followed: 30 by an index. 30 without any bar" in shown
    rows: list[Any] = document(inline(url, "market", "tracked", "--new", "--json"))
    assert len(rows) == 30
    assert rows[0]["reasons"] == ["index:DOW30"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("https://user@example.org/x", "not the beginning of a URL"),
        ("http://", "not the beginning"),
    ],
)
def test_a_place_that_cannot_be_one_is_refused(url: str, place: str, said: str) -> None:
    done = inline(url, "market", "constituents", "refresh", INDEX_CSV_DIR=place)
    line = error_line(done, 2)
    assert "INDEX_CSV_DIR" in line
    assert said in line
