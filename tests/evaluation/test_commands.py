"""`accuracy-report` and `calibration-report` as a user runs them."""

import base64
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from market.cli import show
from market.evaluation import accuracy, accuracy_tables, outcomes_frame
from sql.database import Database
from sql.schema import migrate
from tests.evaluation.known import POSTS, fill
from tests.support.cli import command
from tests.support.db import Conn, shared_database, url_of
from tests.support.process import ROOT, environment

PICTURES = {"accuracy-by-horizon", "cumulative-pnl", "event-study", "reliability"}
# What other people's data may hold.
EVIL = "<script>alert(1)</script>|$x$ & co"
STEERING = "\x1b[2J\x07red"
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def models_url(server_url: str, template: str) -> Iterator[str]:
    """A filled database whose predictions say which model made them; one has an evil name."""
    with shared_database(server_url, template) as conn:
        fill(conn, url_of(conn))
        conn.execute("ALTER TABLE predictions ADD COLUMN llm_model varchar(100)")
        conn.execute(
            "UPDATE predictions SET llm_model = CASE id % 2 WHEN 0 THEN 'plain' ELSE %s END".replace(
                " % ", " %% "
            ).encode(),
            [EVIL],
        )
        with Database(url_of(conn)) as database:
            migrate.migrate(database)
        yield url_of(conn)


def report(url: str, *arguments: str, **settings: str) -> Done:
    done = command(url, "market", *arguments, cwd=None, **settings)
    assert done.returncode == 0, done.stderr
    return done


def document(url: str, *arguments: str, **settings: str) -> Any:
    return json.loads(report(url, *arguments, "--json", **settings).stdout)


def error_line(done: Done, code: int) -> str:
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    return line


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_in_a_pipe_a_line_for_each_group_with_everything(outcomes_url: str) -> None:
    done = report(outcomes_url, "accuracy-report")
    rows = list(csv.DictReader(io.StringIO(done.stdout), delimiter="\t"))
    assert [row["horizon"] for row in rows] == ["t1", "t3", "t7", "t30"]
    assert {row["group"] for row in rows} == {"all"}
    assert int(rows[0]["correct"]) + int(rows[0]["incorrect"]) == POSTS * 2 + POSTS // 2
    assert rows[0]["finding"]
    assert done.stderr == ""


def test_json_says_how_it_was_found(outcomes_url: str) -> None:
    found = document(outcomes_url, "accuracy-report", "-t", "t7", "-b")
    assert found["about"]["benchmark"] == "SPY"
    assert (found["about"]["by"], found["about"]["horizons"]) == ("confidence", ["t7"])
    assert found["method"]["resamples"] == 2000
    assert found["method"]["block_days"] == {"t1": 7, "t3": 14, "t7": 21, "t30": 84}
    assert [g["group"] for g in found["groups"]] == ["0.0-0.5", "0.5-0.6", "0.9-1.0", "not given"]
    assert document(outcomes_url, "accuracy-report", "-t", "t7", "--by", "confidence") == found


def test_options_select(outcomes_url: str) -> None:
    (one,) = document(
        outcomes_url, "accuracy-report", "-t", "t1", "-c", "1", "--until", "2027-01-01"
    )["groups"]
    assert one["predictions"] == POSTS / 5
    (day,) = document(
        outcomes_url, "accuracy-report", "-t", "t1", "--since", "2024-02-01", "--until", "2024-02-01"
    )["groups"]  # fmt: skip
    assert (day["predictions"], day["outcomes"]) == (1, 3)
    (other,) = document(outcomes_url, "accuracy-report", "-t", "t1", BENCHMARK_SYMBOL="upco")[
        "groups"
    ]
    (none,) = document(outcomes_url, "accuracy-report", "-t", "t1", BENCHMARK_SYMBOL="NOBODY")[
        "groups"
    ]
    assert (other["benchmark_rows"] > 0, none["benchmark_rows"]) == (True, 0)
    assert none["mean_excess_pct"] is None
    assert document(outcomes_url, "accuracy-report", "--since", "2200-01-01")["groups"] == []


def test_a_terminal_of_80_columns_holds_every_table(outcomes: Conn) -> None:
    frame = outcomes_frame(outcomes)
    for by in (None, "symbol", "confidence"):
        groups = accuracy.groups(frame, by)
        told = accuracy_tables.report(groups, {"benchmark": "SPY"})
        for wide in (False, True):
            stream = io.StringIO()
            show.on_terminal(told, "some", wide=wide, file=stream, width=80)
            lines = stream.getvalue().splitlines()
            assert max(map(len, lines)) <= 80
            assert "…" not in stream.getvalue()
            # The answer comes first, its lines unbroken.
            body = [line for line in lines[2:] if line.strip().startswith("T+")][: len(groups)]
            assert len(body) == len(groups)
            for line, group in zip(body, accuracy_tables.by_edge(groups), strict=True):
                assert group.finding.replace("always bullish", "base") in line
                assert (
                    f"{100 * group.accuracy:.1f} %" in line or not group.correct + group.incorrect
                )


def test_the_answer_is_a_sentence_and_lines_are_sorted_by_edge(outcomes: Conn) -> None:
    frame = outcomes_frame(outcomes)
    whole = accuracy.groups(frame, None)
    verdict = accuracy_tables.answer(whole)
    assert verdict.split(":")[0] in {"Yes", "No", "Too little to say"}
    assert "T+1 " in verdict
    assert "always bullish" in verdict
    assert accuracy_tables.answer([]) == "Nothing can be judged yet."
    groups = accuracy.groups(frame, "symbol")
    assert "lines" in accuracy_tables.answer(groups) or "No line of" in accuracy_tables.answer(
        groups
    )
    first = [group.edge for group in accuracy_tables.by_edge(groups) if group.horizon == "t1"]
    known = [edge for edge in first if edge == edge]  # noqa: PLR0124 - without NaN
    assert known == sorted(known, reverse=True)
    assert first[: len(known)] == known


def test_nothing_in_a_group_steers_the_terminal(outcomes: Conn) -> None:
    groups = accuracy.groups(outcomes_frame(outcomes).assign(model=STEERING), "model")
    stream = io.StringIO()
    told = accuracy_tables.report(groups, {"benchmark": "SPY"})
    show.on_terminal(told, "some", wide=True, file=stream, width=120)
    assert "?[2J?red" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_markdown_escapes_what_others_wrote(models_url: str) -> None:
    text = report(
        models_url, "accuracy-report", "-t", "t7", "--by", "model", "--format", "md"
    ).stdout
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\|$x$ &amp; co" in text
    assert "<script>" not in text
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, flags=re.MULTILINE)
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_page_is_one_file_without_scripts_or_addresses(models_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    done = report(
        models_url, "accuracy-report", "--by", "model", "--format", "html", "--plots", str(folder)
    )
    page = Page(done.stdout)
    assert "script" not in page.tags
    assert EVIL in page.text
    assert len(page.sources) == len(PICTURES)
    for source in page.sources:
        assert source.startswith("data:image/svg+xml;base64,")
        svg = base64.b64decode(source.partition(",")[2]).decode()
        assert svg.lstrip().startswith("<?xml")
        assert "<script" not in svg
    assert "default-src 'none'" in done.stdout
    assert {path.name for path in folder.iterdir()} == {f"{name}.png" for name in PICTURES}
    for path in folder.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5000
    assert sorted(done.stderr.splitlines()) == sorted(map(str, folder.iterdir()))


def test_calibration_in_every_form(outcomes_url: str, tmp_path: Path) -> None:
    found = document(outcomes_url, "calibration-report", "-t", "t7", "--split", "2024-02-20")
    (horizon,) = found["horizons"]
    assert horizon["split"].startswith("2024-02-20T00:00:00")
    assert horizon["earlier"] + horizon["left_out"] + horizon["later"] > 100
    assert horizon["left_out"] > 0
    assert found["method"]["train_share"] == 0.7
    rows = csv.DictReader(
        io.StringIO(report(outcomes_url, "calibration-report").stdout), delimiter="\t"
    )
    assert {row["horizon"] for row in rows} == {"t1", "t3", "t7", "t30"}
    page = report(outcomes_url, "calibration-report", "--format", "html", "--plots", str(tmp_path))
    assert len(Page(page.stdout).sources) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["reliability.png"]
    text = report(outcomes_url, "calibration-report", "-t", "t7", "--format", "md").stdout
    assert "Split at 2024-" in text


@pytest.mark.parametrize("name", ["accuracy-report", "calibration-report"])
def test_nothing_predicted_yet(url: str, name: str, tmp_path: Path) -> None:
    assert report(url, name).stdout.startswith("horizon\t")
    assert len(report(url, name).stdout.splitlines()) == 1
    assert "no outcome matches" in report(url, name, "--format", "md").stdout
    report(url, name, "--format", "html", "--plots", str(tmp_path))
    assert len(list(tmp_path.iterdir())) == (4 if name == "accuracy-report" else 1)


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        (["--by", "model"], {}, 1, "predictions.llm_model"),
        (["--by", "sector"], {}, 1, "prediction_outcomes.sector"),
        (["-b", "--by", "symbol"], {}, 2, "--by-confidence"),
        ([], {"BENCHMARK_SYMBOL": "not one"}, 2, "BENCHMARK_SYMBOL"),
        (["--plots", "/proc/nowhere"], {}, 1, "/proc/nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    outcomes_url: str, arguments: list[str], settings: dict[str, str], code: int, words: str
) -> None:
    done = command(outcomes_url, "market", "accuracy-report", *arguments, cwd=None, **settings)
    assert words in error_line(done, code)


def test_wrong_usage(outcomes_url: str) -> None:
    for arguments in (
        ["-t", "t2"],
        ["--by", "moon"],
        ["-c", "7"],
        ["--since", "lately"],
        ["--format", "pdf"],
    ):
        assert command(outcomes_url, "market", "accuracy-report", *arguments).returncode == 2, (
            arguments
        )


@pytest.mark.parametrize("option", ["--plots", "--format"])
def test_without_matplotlib_one_line_says_so(
    outcomes_url: str, tmp_path: Path, option: str
) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not installed')")
    wanted = {"--plots": str(tmp_path / "out"), "--format": "html"}[option]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    for name in ("accuracy-report", "calibration-report"):
        done = command(outcomes_url, "market", name, option, wanted, cwd=tmp_path, PYTHONPATH=path)
        assert "'plots'" in error_line(done, 2)
        assert not (tmp_path / "out").exists()
        without = command(outcomes_url, "market", name, "--json", cwd=tmp_path, PYTHONPATH=path)
        assert without.returncode == 0, without.stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['market', *sys.argv[1:]]\n"
        "try: runpy.run_module('market', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'pandas', 'numpy', 'matplotlib', 'scipy'} & sys.modules.keys()))"
    )
    for arguments in ([], ["accuracy-report"], ["calibration-report"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--help"],
            env=environment("postgresql://nobody@127.0.0.1:1/nothing"),
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
        assert "Usage" in done.stdout


def test_no_moment_and_no_confidence_ends_a_command(server_url: str, template: str) -> None:
    """One row of anybody's ended both reports and processing-stats for everyone."""
    with shared_database(server_url, template) as conn:
        fill(conn, url_of(conn))
        for moment, confidence in [
            ("infinity", "NaN"),
            ("-infinity", "Infinity"),
            ("4713-11-24 BC", "-Infinity"),
            ("0001-01-01", "1e308"),
            ("294276-12-31 23:59", "-1e308"),
            ("10000-01-01", "0.5"),
        ]:
            conn.execute(
                "INSERT INTO predictions (assets, market_impact, confidence, post_timestamp, created_at, updated_at)"
                """ VALUES ('["AAPL"]', '{"AAPL": "bullish"}', %s, %s, %s, %s)""",
                [confidence, moment, moment, moment],
            )
        conn.execute(
            "UPDATE predictions SET analysis_status = 'pending' WHERE NOT isfinite(post_timestamp)"
        )
        url = url_of(conn)
        stages = ("market", "processing-stats"), ("market", "processing-stats", "--json")
        dry = ("worker", "enqueue", "--all", "--dry-run")
        for arguments in (*stages, dry):
            done = command(url, *arguments)
            assert done.returncode == 0, done.stderr
        numbers = conn.execute(
            "SELECT array_agg(id ORDER BY id) AS ids FROM predictions"
        ).fetchone()
        assert numbers is not None
        conn.execute("SELECT outcomes_process(%s::integer[], 365)", [numbers["ids"]])
        conn.execute(
            "UPDATE prediction_outcomes o SET prediction_date = (p.post_timestamp AT TIME ZONE 'UTC')::date,"
            " prediction_confidence = p.confidence FROM predictions p WHERE p.id = o.prediction_id"
            " AND (p.post_timestamp AT TIME ZONE 'UTC')::date NOT BETWEEN '1990-01-01' AND '2100-01-01'"
        )
        for name in ("accuracy-report", "calibration-report"):
            for form in ("--json",), ():
                done = command(url, "market", name, *form)
                assert done.returncode == 0, done.stderr
                assert "Traceback" not in done.stderr
