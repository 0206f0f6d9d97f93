"""`accuracy-report` and `calibration-report` as a user runs them."""

import base64
import csv
import dataclasses
import datetime as dt
import io
import json
import math
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
from market.evaluation import (
    accuracy,
    accuracy_tables,
    calibration_tables,
    comparison_tables,
    outcomes_frame,
)
from market.evaluation.lines import by_edge
from market.evaluation.records import Bin, Calibration, Comparison
from market.evaluation.tables import Report
from sql.database import Database
from sql.schema import migrate
from tests.evaluation.known import POSTS, fill
from tests.support.cli import command
from tests.support.db import Conn, shared_database, url_of
from tests.support.process import ROOT, environment

PICTURES = {"accuracy-by-horizon", "cumulative-pnl", "event-study", "reliability"}
OF_GROUPS = PICTURES - {"accuracy-by-horizon"} | {"accuracy-by-group"}
WIDTHS = (60, 80, 120, 200)
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
            for line, group in zip(body, by_edge(groups), strict=True):
                assert group.finding.replace("always bullish", "base") in line
                assert (
                    f"{100 * group.accuracy:.1f} %" in line or not group.correct + group.incorrect
                )


def on_screen(report: Report, width: int, *, wide: bool) -> list[str]:
    stream = io.StringIO()
    show.on_terminal(report, "13 predictions", wide=wide, file=stream, width=width)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("number", [0, 1, 500])
def test_every_report_can_be_read_at_every_width(outcomes: Conn, width: int, number: int) -> None:
    """No header and no number is cut; what does not fit is left out and named."""
    (group,) = accuracy.groups(outcomes_frame(outcomes, horizons=("t30",)))
    other = dataclasses.replace(
        group, horizon="t1", chance_p_value=0.123, correct=12_345, accuracy_low=0.0,
        mean_return_pct=-1234.56, directional_turnover_usd=1e9, pnl_usd=-1_234_567,
    )  # fmt: skip
    groups = [
        dataclasses.replace(other, group=f"{'a-model-with-a-long-name' if n % 2 else 'm'}-{n}")
        # The layout of 20 rows is that of 500, which take seconds to draw in every table.
        for n in range(number if width == 80 else min(number, 20))
    ]
    pair = Comparison(
        "t30", "model", "a-model-with-a-long-name", "b", 12_345, 99_999, 99_999, 0.5, 0.25, 0.25,
        -0.1, 0.6, "wilson", 12, 9.5, 0.2, 0.4, 1000, 1000, 1000, 1000, 8345, 1.5, -1.5, 3.0,
        math.nan, math.nan, "too few pairs to say",
    )  # fmt: skip
    tier = Bin("0.9-1.0", 1234, 0.93, 0.5, 0.5, 0.0, 1.0, "too little to say")
    calibrated = Calibration(
        "t30", dt.datetime(2024, 1, 1, tzinfo=dt.UTC), 12_345, 1234, 12_345, 0.5, 0.5, 1, 1, 0.25,
        0.333, 0.25, -0.33, -0.45, -0.21, 0.001, -0.02, 0.02, "worth something once fitted",
        [tier] * min(number, 6),
    )  # fmt: skip
    about = {"benchmark": "SPY", "by": "model", "compare": "model", "left": "a", "right": "b"}
    reports = [
        accuracy_tables.report(groups, about),
        accuracy_tables.report([group][:number], about | {"by": None}),
        comparison_tables.report([pair][:number] * 4, about),
        calibration_tables.report([calibrated][:number] * 4, about),
    ]
    for told in reports:
        for wide in {False, number < 500 or width != 80}:
            lines = on_screen(told, width, wide=wide)
            text = "\n".join(lines)
            assert max(map(len, lines)) <= width
            assert "…" not in text
            assert told.answer.split()[0] in lines[0]
            if number:
                # What answers is there also where it is narrow.
                header = next(line for line in lines if "finding" in line)
                assert {"right", "skill", "less"} & set(header.split())
                assert "95 %" in header
            else:
                assert len(lines) <= 6


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
    first = [group.edge for group in by_edge(groups) if group.horizon == "t1"]
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
    assert len(page.sources) == len(OF_GROUPS)
    for source in page.sources:
        assert source.startswith("data:image/svg+xml;base64,")
        svg = base64.b64decode(source.partition(",")[2]).decode()
        assert svg.lstrip().startswith("<?xml")
        assert "<script" not in svg
    assert "default-src 'none'" in done.stdout
    assert {path.name for path in folder.iterdir()} == {f"{name}.png" for name in OF_GROUPS}
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


def test_two_groups_are_compared(models_url: str, outcomes_url: str, tmp_path: Path) -> None:
    # One post names UPCO and DOWN: every second one is right about UPCO, and about DOWN as well.
    found = document(outcomes_url, "accuracy-report", "--compare", "symbol=upco,Down", "-t", "t7")
    (one,) = found["comparisons"]
    assert (one["left"], one["right"], one["by"]) == ("UPCO", "DOWN", "symbol")
    assert (one["pairs"], one["left_accuracy"], one["right_accuracy"]) == (POSTS, 0.5, 0.5)
    assert one["finding"] == "too few pairs to say"  # 60 posts in a row are five stretches of time
    assert found["about"]["compare"] == "symbol"
    rows = report(outcomes_url, "accuracy-report", "--compare", "symbol=UPCO,DOWN").stdout
    table = list(csv.DictReader(io.StringIO(rows), delimiter="\t"))
    assert [row["horizon"] for row in table] == ["t1", "t3", "t7", "t30"]
    # The models take turns, a session each, so that they were never judged on the same one.
    told = report(
        models_url, "accuracy-report", "--compare", f"model=plain,{EVIL}", "--format", "html",
        "--plots", str(tmp_path),
    )  # fmt: skip
    page = Page(told.stdout)
    assert "share no judged pair" in page.text
    assert EVIL in page.text
    assert "script" not in page.tags
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.png"]


def test_a_kept_page_says_its_filters_its_date_and_its_database(outcomes_url: str) -> None:
    chosen = ["-t", "t7", "--since", "2024-01-10", "-c", "0.5", "--by", "symbol", "--top", "2"]
    secret = outcomes_url.replace("reckoner@", "reckoner:hunter2@", 1)
    assert "hunter2" in secret
    for form in ("html", "md"):
        text = report(secret, "accuracy-report", *chosen, "--format", form).stdout
        text = Page(text).text if form == "html" else text.replace("\\", "")
        for words in (
            "only T+7", "confidence at least 0.5", "posts since 2024-01-10", "by symbol", "the best 2",
        ):  # fmt: skip
            assert words in text, words
        assert re.search(r"Made on 20\d\d-\d\d-\d\d \d\d:\d\d UTC from \S+", text)
        assert secret.partition("?")[0].rpartition("/")[2] in text  # the database
        assert "hunter2" not in text
        assert "Too little to say about any of 3 lines" in text
        whole = report(secret, "calibration-report", "--format", form).stdout
        assert "no filter" in whole


@pytest.mark.parametrize(
    "arguments",
    [
        ("accuracy-report",),
        ("accuracy-report", "--by", "model"),
        ("accuracy-report", "--compare", "model=a,b"),
        ("accuracy-report", "--since", "2200-01-01"),
        ("calibration-report",),
        ("outcomes",),
    ],
)
def test_an_empty_answer_needs_no_pandas(
    url: str, outcomes_url: str, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    for name in ("pandas", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('an empty answer asked for me')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    asked = outcomes_url if "--since" in arguments else url
    done = command(asked, "market", *arguments, "-o", "table", cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    words = ("Nothing can be judged yet", "Nothing to compare", "No outcome matches")
    assert done.stdout.startswith(words)
    for form in (["--json"], ["-o", "csv"]):
        done = command(asked, "market", *arguments, *form, cwd=tmp_path, PYTHONPATH=path)
        assert done.returncode == 0, done.stderr


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
        (["--by", "source"], {}, 1, "signals.source"),
        (["--compare", "model=a,b"], {}, 1, "predictions.llm_model"),
        (["--compare", "symbol=UPCO,NOPE"], {}, 1, "has NOPE, but DOWN, FLAT, UPCO"),
        (["--compare", "symbol=UPCO,DOWN", "--top", "3"], {}, 2, "--compare"),
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
        ["--top", "0"],
        ["--compare", "model"],
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
