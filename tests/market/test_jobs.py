"""`market backfill`, `backfill-status`, `data-sync` and the like, with real commands and workers."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import command, document, error_line
from tests.support.clock import set_clock, utc
from tests.support.db import Conn, connect, value
from tests.support.hanging import HangingTicker
from tests.support.market import flat_bars, sessions, write_csv
from tests.support.process import ROOT, WorkerProcess, environment
from tests.support.waiting import until

# A Saturday: no session ends while a test runs, or between two of its commands.
NOW = utc("2026-03-14 12:00")
START, END = "2023-01-03", "2024-06-28"
Starter = Callable[..., WorkerProcess]


@pytest.fixture(autouse=True)
def _saturday(url: str) -> None:
    """Commands and workers live then."""
    with connect(url) as conn:
        set_clock(conn, NOW)


def files(conn: Conn, folder: Path, names: list[str], start: str = START) -> list[dt.date]:
    """A csv file with every session since `start` for each name; returns the sessions."""
    days = sessions(conn, start, str(NOW.date()))
    for name in names:
        write_csv(folder, name, flat_bars(days, step=0.01))
    return days


def backfill(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command(url, "market", "backfill", *arguments, "--json")


def drained(start_worker: Starter) -> None:
    """Let a worker do what is ready and end."""
    worker = start_worker("run", "--drain")
    assert worker.process.wait(120) == 0, worker.events


def only(done: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stderr
    (row,) = document(done)
    return dict(row)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bars"


def test_a_backfill_fetches_the_range_of_all_that_it_names(
    url: str, conn: Conn, folder: Path, start_worker: Starter, tmp_path: Path
) -> None:
    days = files(conn, folder, ["AAA", "BBB", "CCC"])
    listed = tmp_path / "list.txt"
    listed.write_text("aaa, BBB  # the first two\n\n$CCC\nBBB\n".replace("$", ""))
    start_worker().ready()
    audit = tmp_path / "runs.jsonl"

    row = only(
        backfill(
            url, "--start", START, "--end", END, "--symbols", f"@{listed}", "--audit", str(audit)
        )
    )

    assert (row["symbols"], row["done"], row["failed"], row["left"]) == (3, 3, 0, 0)
    settled = [day for day in days if day < dt.date.fromisoformat(END)]
    assert row["rows"] >= 3 * len(settled)
    assert row["providers"] == {"csv": 3}
    stored = "SELECT symbol, min(date)::text AS first, count(*) AS n FROM market_prices GROUP BY 1"
    assert {
        each["symbol"]: each["first"] for each in conn.execute(stored.encode())
    } == dict.fromkeys(["AAA", "BBB", "CCC"], START)
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert sorted(line["symbol"] for line in lines) == ["AAA", "BBB", "CCC"]
    assert all(f"job {row['job']}" in line["job"].split(", ") for line in lines)


def test_what_is_there_already_is_not_asked_for_again(
    url: str, conn: Conn, folder: Path, start_worker: Starter
) -> None:
    files(conn, folder, ["AAA", "BBB"])
    only(backfill(url, "--start", "2024-01-02", "--symbols", "AAA", "--no-wait"))
    drained(start_worker)
    runs = "SELECT count(*) FROM ingestion_audit WHERE symbol = 'AAA'"
    assert value(conn, runs) == 1

    row = only(backfill(url, "--start", "2024-06-03", "--symbols", "AAA,BBB", "--no-wait"))
    assert (row["done"], row["left"]) == (1, 1)
    drained(start_worker)
    assert value(conn, runs) == 1

    # Deeper than before: then the whole, so that the prices have one basis.
    row = only(backfill(url, "--start", START, "--symbols", "all", "--no-wait"))
    assert (row["symbols"], row["left"]) == (2, 2)
    drained(start_worker)
    first = "SELECT min(date)::text FROM market_prices WHERE symbol = 'BBB'"
    assert value(conn, first) == START


def test_events_of_a_job_stay_behind_and_those_of_new_tickers_too(url: str, conn: Conn) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('OLD')")
    only(backfill(url, "--start", START, "--symbols", "OLD,NEW", "--no-wait"))
    rows = conn.execute("SELECT key, priority FROM outbox ORDER BY key").fetchall()
    # OLD waited at normal priority before, and somebody else may need it.
    assert [(row["key"], row["priority"]) for row in rows] == [("NEW", -20), ("OLD", 0)]


def test_a_range_reaches_the_fetch_whatever_happens_to_the_event(
    url: str, conn: Conn, folder: Path, start_worker: Starter
) -> None:
    """It merges into an event that waits, and is written again: the job's rows know the range."""
    files(conn, folder, ["AAA", "BBB", "CCC"])
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('AAA')")
    conn.execute("SELECT outbox_requeue_ticker('AAA')")
    row = only(backfill(url, "--start", START, "--symbols", "AAA,BBB,CCC", "--no-wait"))
    conn.execute("SELECT outbox_cancel(id, 'a slip') FROM outbox WHERE key = 'BBB'")
    conn.execute("SELECT outbox_park(id, 'a slip') FROM outbox WHERE key = 'CCC'")
    status = only(command(url, "market", "backfill-status", str(row["job"]), "--json"))
    assert (status["failed"], status["left"]) == (2, 1)
    states = document(
        command(url, "market", "backfill-status", str(row["job"]), "--symbols", "--json")
    )
    assert {each["symbol"]: each["state"] for each in states} == {
        "AAA": "waiting",
        "BBB": "cancelled",
        "CCC": "parked",
    }

    row = only(backfill(url, "--resume", str(row["job"]), "--no-wait"))
    assert (row["failed"], row["left"]) == (0, 3)
    drained(start_worker)
    row = only(command(url, "market", "backfill-status", str(row["job"]), "--json"))
    assert (row["done"], row["failed"], row["left"]) == (3, 0, 0)
    firsts = "SELECT DISTINCT first_bar::text AS first FROM price_stats"
    assert [each["first"] for each in conn.execute(firsts.encode())] == [START]


def test_a_fetch_settles_no_job_that_wants_more_than_it_asked_for(url: str, conn: Conn) -> None:
    """A job that came while a fetch was under way waits for its own event."""
    before = value(conn, "SELECT coalesce(max(jobs), '{}') FROM ticker_plan('AAA', 365, false)")
    job = only(backfill(url, "--start", START, "--symbols", "AAA", "--no-wait"))["job"]
    settle = "SELECT job_settle('AAA', %s, 'done', 7, 'csv', NULL)"
    assert value(conn, settle, [before]) == 0
    assert value(conn, settle, [[job + 1]]) == 0
    jobs = value(conn, "SELECT jobs FROM ticker_plan('AAA', 365, false)")
    assert value(conn, settle, [jobs]) == 1
    assert value(conn, "SELECT done FROM job_progress(%s)", [job]) == 1


def test_a_symbol_that_nobody_knows_fails_and_says_why(
    url: str, conn: Conn, folder: Path, start_worker: Starter
) -> None:
    files(conn, folder, ["AAA"])
    conn.execute(
        "INSERT INTO ticker_registry (symbol, status, status_reason) VALUES ('SLEEPY', 'inactive', 'taken private')"
    )
    start_worker().ready()
    done = backfill(url, "--start", START, "--symbols", "AAA,NOPE,SLEEPY")
    row = only(done, 1)
    assert (row["done"], row["failed"]) == (1, 2)
    assert f"backfill-status {row['job']} --symbols" in done.stderr.splitlines()[-1]
    states = document(
        command(url, "market", "backfill-status", str(row["job"]), "--symbols", "--json")
    )
    reasons = {each["symbol"]: each["reason"] for each in states if each["state"] == "failed"}
    assert "taken private" in reasons["SLEEPY"]
    assert "unknown" in reasons["NOPE"] or "NOPE" in reasons["NOPE"]

    files(conn, folder, ["NOPE"])
    row = only(backfill(url, "--resume", str(row["job"])), 1)
    assert (row["done"], row["failed"]) == (2, 1)


def test_a_dry_run_writes_nothing(url: str, conn: Conn) -> None:
    row = only(backfill(url, "--start", START, "--symbols", "AAA,BBB", "--dry-run"))
    assert (row["job"], row["symbols"], row["left"]) == (None, 2, 2)
    for table in ("price_jobs", "price_job_symbols", "outbox", "ticker_registry"):
        assert value(conn, f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - a constant


# Killed and taken up again.


def test_a_worker_killed_in_the_middle_and_a_command_killed_lose_nothing(
    url: str, conn: Conn, folder: Path, start_worker: Starter, tmp_path: Path
) -> None:
    names = [f"S{n}" for n in range(40)]
    days = files(conn, folder, names, "2021-01-04")
    # In their order the thirteenth: the worker is in the middle until it is killed.
    middle = (folder / "S20.csv").rename(tmp_path / "S20.csv")
    hanging = HangingTicker(folder, "S20")
    listed, audit = tmp_path / "list.txt", tmp_path / "runs.jsonl"
    listed.write_text("\n".join(names))
    settings = {"WORKER_LEASE_SECONDS": "2", "WORKER_TICKER_CONCURRENCY": "1"}
    worker = start_worker("run", **settings).ready()
    looking = subprocess.Popen(
        [sys.executable, "-m", "market", "backfill", "--start", "2021-01-04", "--symbols",
         f"@{listed}", "--audit", str(audit)],
        env=environment(url), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        done = "SELECT count(*) FROM price_job_symbols WHERE state = 'done'"
        until("a few are done", lambda: value(conn, done) >= 3, 60)
        until("and are in the file", lambda: audit.exists() and audit.read_text(), 60)
        asked = hanging.until_asked()
        worker.kill()
        os.close(asked)
    finally:
        looking.kill()
        looking.wait(10)
    hanging.replace(middle)
    left = value(conn, "SELECT count(*) FROM price_job_symbols WHERE state = 'open'")
    assert 0 < left < 40, "it was killed in the middle"
    job = value(conn, "SELECT id FROM price_jobs")

    start_worker("run", **settings).ready()
    row = only(backfill(url, "--resume", str(job), "--audit", str(audit)))

    assert (row["symbols"], row["done"], row["failed"]) == (40, 40, 0)
    settled = value(
        conn,
        "SELECT count(*) FROM market_sessions WHERE calendar = 'XNYS' AND session BETWEEN '2021-01-04'"
        " AND (session_last_settled('XNYS')).session",
    )
    assert settled <= len(days)
    assert value(conn, "SELECT count(*) FROM market_prices") == row["rows"] == 40 * settled
    # Each symbol was stored by one run, and each run is one line, whoever wrote it.
    lines = [json.loads(line)["symbol"] for line in audit.read_text().splitlines()]
    assert sorted(lines) == sorted(names)


LOOKS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'reckoner command' AND query_start > %s
"""


def test_ctrl_c_leaves_the_job_and_says_how_to_look_on(url: str, conn: Conn) -> None:
    looking = subprocess.Popen(
        [sys.executable, "-m", "market", "backfill", "--start", START, "--symbols", "AAA"],
        env=environment(url), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until("it is written", lambda: value(conn, "SELECT count(*) FROM price_jobs"), 60)
        assert looking.stderr is not None
        said = looking.stderr.readline()
        told = value(conn, "SELECT clock_timestamp()")
        # A statement that began after the line is one of those with which it looks on.
        until("it looks on", lambda: value(conn, LOOKS, [told]), 60)
        looking.send_signal(signal.SIGINT)
        _, rest = looking.communicate(timeout=60)
    finally:
        looking.kill()
        looking.wait(10)
    assert "job written" in said
    assert looking.returncode == 130
    assert "--resume" in rest
    assert value(conn, "SELECT count(*) FROM outbox") == 1


# What bad input gets.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--start", "2024-02-01", "--end", "2024-01-01", "--symbols", "A"], "is after --end"),
        (["--start", "2199-01-01", "--end", "2199-02-01", "--symbols", "A"], "still to come"),
        (["--symbols", "A"], "--start and --symbols"),
        (["--start", "2024-01-01", "--symbols", " , "], "no symbol"),
        (["--start", "2024-01-01", "--symbols", "@/does/not/exist"], "No such file"),
        (["--resume", "17", "--symbols", "A"], "leave them out"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    url: str, conn: Conn, arguments: list[str], words: str
) -> None:
    assert words in error_line(command(url, "market", "backfill", *arguments), 2)
    assert value(conn, "SELECT count(*) FROM price_jobs") == 0
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 0


def test_a_word_that_is_not_a_symbol_is_one_line_and_nothing_is_written(
    url: str, conn: Conn
) -> None:
    done = command(
        url, "market", "backfill", "--start", "2024-01-01", "--symbols", "AAPL,not this!"
    )
    assert "'not this!'" in error_line(done, 1)
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 0


def test_a_job_that_is_not_there_is_one_line_and_nothing_is_written(url: str, conn: Conn) -> None:
    done = command(url, "market", "backfill", "--resume", "17")
    assert "there is no job 17" in error_line(done, 1)
    assert value(conn, "SELECT count(*) FROM price_jobs") == 0


@pytest.mark.parametrize(
    ("content", "words", "code"),
    [
        (b"", "has no symbol in it", 2),
        (b"# only words\n", "has no symbol in it", 2),
        (b"AAPL\nMSFT \xff\xfe\x00\n", "not a text file", 2),
        (b"AAPL\n\nwh@t\nMSFT, <html>\n", "list.txt:3: 'wh@t', ", 1),
        (b"A\x00B\n", "list.txt:1", 1),
        (b"\n".join(b"%d!" % n for n in range(100)), "and 95 more", 1),
    ],
)
def test_a_file_with_rubbish_is_named_with_its_lines(
    url: str, conn: Conn, tmp_path: Path, content: bytes, words: str, code: int
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(content)
    done = command(url, "market", "backfill", "--start", START, "--symbols", f"@{listed}")
    assert words in error_line(done, code)
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 0


def test_an_audit_file_that_cannot_be_written(url: str, conn: Conn, tmp_path: Path) -> None:
    arguments = ["market", "backfill", "--start", START, "--symbols", "A", "--audit"]
    assert "No such file" in error_line(command(url, *arguments, str(tmp_path / "no" / "f")), 2)
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("not json\n")
    assert "not JSON" in error_line(command(url, *arguments, str(rubbish)), 2)
    assert value(conn, "SELECT count(*) FROM price_jobs") == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_ends_the_looking_and_not_the_job(
    url: str, conn: Conn, folder: Path, start_worker: Starter
) -> None:
    files(conn, folder, ["AAA"])
    start_worker().ready()
    done = command(
        url, "market", "backfill", "--start", START, "--symbols", "AAA", "--audit", "/dev/full"
    )
    assert done.returncode == 1
    assert "goes on without" in done.stderr.splitlines()[-1]
    until("the job ends", lambda: value(conn, "SELECT state = 'done' FROM price_job_symbols"), 60)
