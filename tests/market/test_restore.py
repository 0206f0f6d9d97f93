"""`market restore-coverage`, killed between and inside its steps and taken up; stale bars fetched."""

import contextlib
import datetime as dt
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from market import restore
from market.universe.constituents.csv_lists import CsvFolder
from sql.database import Database
from sql.errors import Conflict, ReckonerError
from tests.support.cli import command, document
from tests.support.clock import set_clock, utc
from tests.support.db import Conn, connect, value
from tests.support.market import flat_bars, put_bars, sessions, set_fetched, write_csv
from tests.support.process import ROOT, WorkerProcess, environment
from tests.support.waiting import until
from worker.queue import status

# The Sunday after Thanksgiving.
NOW = utc("2026-11-29 12:00")
FRIDAY = dt.date(2026, 11, 27)
Starter = Callable[..., WorkerProcess]


@pytest.fixture(autouse=True)
def _sunday(url: str) -> None:
    """Commands and workers live then."""
    with connect(url) as conn:
        set_clock(conn, NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bars").mkdir()
    return tmp_path / "bars"


def stale_symbols(conn: Conn, folder: Path, number: int) -> list[str]:
    """Symbols with files up to date: the first half with bars that are stale, the others without any."""
    days = sessions(conn, "2026-01-02", str(FRIDAY))
    names = [f"S{n}" for n in range(number)]
    for n, name in enumerate(names):
        write_csv(folder, name, flat_bars(days, step=0.01))
        if n < number // 2:
            put_bars(conn, name, {day: 100 + 0.01 * i for i, day in enumerate(days[:-3])})
            set_fetched(conn, name, days[0], days[-4])
        else:
            conn.execute("INSERT INTO ticker_registry (symbol) VALUES (%s)", [name])
    conn.execute("UPDATE ticker_registry SET last_backfill = reckoner_now() - interval '4 days'")
    conn.execute("DELETE FROM outbox")
    return names


def steps(conn: Conn) -> dict[str, dict[str, Any]]:
    return {row["step"]: row for row in conn.execute("SELECT * FROM restore_steps()")}


@contextlib.contextmanager
def restoring(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process, killed at the end of the body."""
    process = subprocess.Popen(
        [sys.executable, "-m", "market", "restore-coverage"],
        env=environment(url), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def test_all_stale_symbols_and_those_without_any_bar_are_fetched(
    url: str, conn: Conn, folder: Path, start_worker: Starter
) -> None:
    names = stale_symbols(conn, folder, 60)  # more than a report lists
    conn.execute("INSERT INTO ticker_registry (symbol, status) VALUES ('GONE', 'inactive')")
    put_bars(conn, "OK", {FRIDAY: 1.0})
    set_fetched(conn, "OK", FRIDAY, FRIDAY)
    conn.execute("DELETE FROM outbox")
    dry = command(url, "market", "backfill-stale-daily", "--dry-run", "--json")
    assert document(dry)[0]["left"] == 60
    assert value(conn, "SELECT count(*) FROM outbox") == 0
    assert command(url, "market", "coverage").returncode == 3
    start_worker("run").ready()

    done = command(url, "market", "backfill-stale-daily", "--json")

    assert done.returncode == 0, done.stderr
    [row] = document(done)
    assert (row["kind"], row["symbols"], row["done"], row["failed"]) == ("stale", 60, 60, 0)
    asked = conn.execute("SELECT symbol, want_from FROM price_job_symbols").fetchall()
    assert {each["symbol"] for each in asked} == set(names)
    # Of a stale symbol what it lacks, of one without a bar BACKFILL_DAYS.
    wanted = {each["symbol"]: each["want_from"] for each in asked}
    assert (wanted["S0"], wanted["S59"]) == (dt.date(2026, 11, 24), dt.date(2025, 11, 29))
    shown = command(url, "market", "coverage", "--refresh", "--json")
    assert shown.returncode == 0
    assert document(shown)["status"]["label"] == "ok"
    assert value(conn, "SELECT label FROM coverage_health") == "ok"


def test_a_stale_job_is_of_low_priority(url: str, conn: Conn, folder: Path) -> None:
    stale_symbols(conn, folder, 4)
    assert command(url, "market", "backfill-stale-daily", "--no-wait").returncode == 0
    priorities = "SELECT array_agg(DISTINCT priority) FROM outbox WHERE topic = 'ticker'"
    assert value(conn, priorities) == [-10]


def test_killed_inside_a_step_and_between_two_and_taken_up(
    url: str, conn: Conn, folder: Path, start_worker: Starter
) -> None:
    stale_symbols(conn, folder, 6)
    first, *_, last = [step.name for step in restore.STEPS]
    # Inside the step that fetches: no worker is alive, and the command waits.
    with restoring(url):
        until("the job is noted", lambda: (steps(conn).get("daily") or {}).get("result"), 60)
    assert steps(conn)["daily"]["state"] == "running"
    assert steps(conn)[last]["state"] == "pending"
    job = steps(conn)["daily"]["result"]["job"]
    worker = start_worker("run", WORKER_SWEEP_SECONDS="86400").ready()

    # Between two: the next step's row is held, so that it cannot begin.
    with connect(url) as holder, holder.transaction():
        holder.execute("SELECT FROM coverage_restore_steps WHERE step = 'indicators' FOR UPDATE")
        with restoring(url):
            until("the step before is done", lambda: steps(conn)["daily"]["state"] == "done", 60)
            until("the next one waits", lambda: waits(conn), 60)
    assert steps(conn)["indicators"]["state"] == "pending"
    # Its sweep would compute indicators too, and there would be nothing to wait for.
    assert worker.stop() == 0

    # Inside the one that computes.
    killed_inside(url, conn, "indicators", "market_snapshot")
    marked = steps(conn)["indicators"]["result"]["marked"]

    # Inside the last one: its table is locked.
    killed_inside(url, conn, last, "coverage_health")

    done = command(url, "market", "restore-coverage", "--json")

    assert done.returncode == 0, done.stderr
    found = {row["step"]: row for row in document(done)}
    assert {row["state"] for row in found.values()} == {"done"}
    assert found[last]["result"]["label"] == "ok"
    assert (found["daily"]["tries"], found[last]["tries"]) == (2, 2)
    assert found["daily"]["result"]["job"] == job
    assert found["indicators"]["result"]["marked"] == marked  # once
    assert value(conn, "SELECT count(*) FROM market_snapshot_due") == 0
    # A symbol whose older bars were computed before has a row of that day too.
    history = "SELECT count(*) FROM market_snapshot_history WHERE as_of_date = %s"
    assert value(conn, history, [FRIDAY]) == 6
    assert value(conn, "SELECT count(*) FROM price_jobs WHERE kind = 'stale'") == 1
    assert value(conn, "SELECT count(*) FROM coverage_restores") == 1
    assert value(conn, "SELECT state FROM coverage_restores") == "done"
    assert first in found
    assert command(url, "market", "restore-coverage", "--last", "--json").stdout == done.stdout


def killed_inside(url: str, conn: Conn, step: str, table: str) -> None:
    """Kill the command while a step waits for a table."""
    with connect(url) as holder, holder.transaction():
        holder.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE".encode())
        with restoring(url):
            until("it has begun", lambda: steps(conn)[step]["state"] == "running", 60)
            until("it waits", lambda: waits(conn), 60)
    assert steps(conn)[step]["state"] == "running"


def waits(conn: Conn) -> bool:
    """Whether the command waits for a lock."""
    return bool(
        value(
            conn,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'reckoner command' AND wait_event_type = 'Lock'",
        )
    )


def run(database: Database, *steps: restore.Step, said: list[str] | None = None) -> Any:
    lines = [] if said is None else said
    means = restore.Means(list, lambda _: None, lambda _: {}, "SPY", 365, 90)
    return restore.run(database, means, lines.append, steps)


CONSTITUENTS = [step for step in restore.STEPS if step.name in {"constituents", "tracked"}]


def test_only_indexes_that_are_followed_are_refreshed(
    database: Database, conn: Conn, folder: Path
) -> None:
    assert run(database, *CONSTITUENTS)[0]["result"] == {"summary": "no index is followed"}
    conn.execute("UPDATE market_indexes SET tried_at = reckoner_now() WHERE name <> 'SP500'")
    members = [f"M{n}" for n in range(30)]
    (folder / "DOW30.csv").write_text("\n".join(["symbol", *members]))
    means = restore.Means(lambda: [CsvFolder(folder)], lambda _: None, lambda _: {}, "SPY", 365, 90)

    first, second = restore.run(database, means, lambda _: None, CONSTITUENTS)

    # One failed, and the other one is there all the same.
    assert (first["state"], first["result"]["indexes"], first["result"]["inserted"]) == (
        "failed",
        1,
        30,
    )
    assert first["error"].startswith("NASDAQ100: csv: ")
    assert (second["state"], second["result"]["tracked"]) == ("done", 30)
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 30


def test_a_step_that_fails_is_kept_and_the_next_ones_run(database: Database, conn: Conn) -> None:
    def fails(_: restore.Work) -> restore.Result:
        raise ReckonerError("no source\nhas the list")

    def divides(work: restore.Work) -> restore.Result:
        with work.database.transaction() as inside:
            inside.execute("SELECT 1 / 0")
        return {}

    said: list[str] = []
    rows = run(
        database,
        restore.Step("one", fails),
        restore.Step("two", divides),
        restore.Step("three", lambda _: {"new_symbols": 3}),
        restore.Step("four", lambda _: {}),
        said=said,
    )
    assert [row["state"] for row in rows] == ["failed", "failed", "done", "done"]
    assert said[1:] == [
        "2 two: DivisionByZero: division by zero",
        "3 three: 3 new symbols",
        "4 four: nothing to do",
    ]
    assert rows[0]["error"] == "no source has the list"
    assert value(conn, "SELECT state FROM coverage_restores") == "failed"
    # What failed is not taken up: the next call begins anew.
    assert run(database, restore.Step("one", lambda _: {}))[0]["state"] == "done"
    assert value(conn, "SELECT count(*) FROM coverage_restores") == 2


def test_who_took_a_restore_up_has_it(database: Database, conn: Conn) -> None:
    def overtaken(work: restore.Work) -> restore.Result:
        run(database, restore.Step("only", lambda _: {"by": "the second"}))
        with work.database.transaction() as inside:
            work.note(inside, {"by": "the first"})
        return {}

    with pytest.raises(Conflict, match="restore 1 was taken up by another process"):
        run(database, restore.Step("only", overtaken))
    assert steps(conn)["only"]["result"] == {"by": "the second"}
    assert value(conn, "SELECT turn FROM coverage_restores") == 2


def test_a_restore_of_other_steps_is_not_taken_up(database: Database, conn: Conn) -> None:
    def stops(_: restore.Work) -> restore.Result:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(database, restore.Step("old", stops))
    assert steps(conn)["old"]["state"] == "running"
    run(database, restore.Step("new", lambda _: {}))
    assert [
        row["state"] for row in conn.execute("SELECT state FROM coverage_restores ORDER BY id")
    ] == [
        "failed",
        "done",
    ]


def test_old_restores_are_deleted(database: Database, conn: Conn) -> None:
    run(database, restore.Step("one", lambda _: {}))
    assert value(conn, "SELECT sweep_restores(400)") == 0
    conn.execute("UPDATE coverage_restores SET finished_at = '2025-01-01'")
    assert value(conn, "SELECT sweep_restores(400)") == 1
    assert value(conn, "SELECT count(*) FROM coverage_restore_steps") == 0


def test_a_dry_run_writes_nothing(url: str, conn: Conn) -> None:
    done = command(url, "market", "restore-coverage", "--dry-run", "--json")
    assert [row["step"] for row in document(done)] == [step.name for step in restore.STEPS]
    assert value(conn, "SELECT count(*) FROM coverage_restores") == 0


def test_the_screens(url: str, conn: Conn, folder: Path) -> None:
    """What a person sees in 80 columns: the sentence, the symbols with their reasons, the command."""
    from tests.support.inline_cli import on_terminal  # noqa: PLC0415 - loads both command lines

    empty = on_terminal(url, "market", "coverage")
    assert empty.returncode == 0
    assert empty.stdout.startswith("Idle: no symbol is tracked (")
    none = on_terminal(url, "market", "restore-coverage", "--last")
    assert none.stdout.startswith("No restore yet: python -m market restore-coverage begins one.")
    stale_symbols(conn, folder, 4)
    shown = on_terminal(url, "market", "coverage")
    lines = shown.stdout.splitlines()
    assert shown.returncode == 3
    said = "DEGRADED: daily bars of 0 of 4 symbols are fresh, 2 stale, 2 missing"
    assert lines[0].startswith(said)
    assert max(map(len, lines)) <= 80
    assert "not fetched since 2026-11-25" in shown.stdout
    assert "python -m market backfill-stale-daily" in shown.stdout
    one = on_terminal(url, "market", "coverage", "S0")
    assert one.returncode == 3
    assert one.stdout.startswith("S0 is stale: 3 sessions behind (")
    assert on_terminal(url, "market", "coverage", "NOBODY").returncode == 1


def test_five_minute_bars_have_their_own_remedy(url: str, conn: Conn) -> None:
    """A restore fetches none, so that nobody is sent to it."""
    from tests.support.inline_cli import on_terminal  # noqa: PLC0415 - loads both command lines

    put_bars(conn, "ONE", {FRIDAY: 100.0})
    put_bars(conn, "BEHIND", {FRIDAY - dt.timedelta(days=2): 100.0})
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ONE'), ('BEHIND')")
    conn.execute(
        "INSERT INTO intraday_symbols (symbol, last_bar, last_session, session_bars)"
        " VALUES ('ONE', '2026-11-25 20:55+00', '2026-11-25', 78)"
    )
    with Database(url) as database:
        with database.transaction() as there:
            there.execute("SELECT coverage_snapshot()")
        [check] = [each for each in status.health(database) if each.check == "coverage"]
    assert check.remedy == "python -m market backfill-5m"
    assert check.message.endswith(": python -m market backfill-5m fetches them")
    shown = on_terminal(url, "market", "coverage").stdout
    assert "next: python -m market backfill-5m" in shown
    conn.execute("UPDATE intraday_symbols SET last_session = %s, last_bar = %s", [FRIDAY, NOW])
    shown = on_terminal(url, "market", "coverage").stdout
    assert shown.startswith("Not all yet: daily bars of 1 of 2 symbols are fresh, 1 a session")
    assert "next:" not in shown
    assert on_terminal(url, "market", "coverage", "BEHIND").stdout.startswith(
        "BEHIND is 1 session behind ("
    )
    one = on_terminal(url, "market", "coverage", "ONE").stdout
    [bar] = [line for line in one.splitlines() if line.startswith("newest 5m bar")]
    assert "T" not in bar  # "2 h ago", as other times
