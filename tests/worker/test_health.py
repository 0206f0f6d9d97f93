"""`worker health`: each check's sentence says what is wrong, how much, and what mends it."""

import json
import re

import psycopg
import pytest

from sql.database import Database
from sql.schema.migrate import migrate
from tests.support.cli import command
from tests.support.db import Conn, value, with_database
from tests.support.queue import add, claim, claim_one, fail, finish
from tests.worker.checks import CHECKS, beat, exit_code, look
from worker.queue import status as report


@pytest.fixture
def alive(conn: Conn) -> Conn:
    """A database with a worker that lives, hears, and has the right time."""
    beat(conn)
    return conn


def test_all_is_well_with_one_worker(url: str, alive: Conn, database: Database) -> None:
    found = report.health(database)
    assert [check.check for check in found] == CHECKS
    assert {check.state for check in found} == {"ok"}, found
    assert look(database, "workers") == ("ok", "1 alive")
    done = command(url, "worker", "health", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document == {"healthy": True, "checks": report.as_rows(found)}
    assert value(alive, "SELECT count(*) FROM reckoner_health() WHERE state <> 'ok'") == 0


def test_no_worker_alive(url: str, conn: Conn, database: Database) -> None:
    assert look(database, "workers") == (
        "fail",
        "no worker alive: start one with python -m worker",
    )
    beat(conn)
    conn.execute("UPDATE reckoner_workers SET last_seen_at = '2024-03-05 15:00:00+00'")
    state, told = look(database, "workers")
    assert state == "fail"
    assert "the last was seen 2024-03-05 " in told
    assert told.endswith("start one with python -m worker")
    done = command(url, "worker", "health", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["healthy"] is False


def test_a_deaf_worker(url: str, alive: Conn, database: Database) -> None:
    beat(alive, "deaf", "polling")
    state, told = look(database, "listening")
    assert state == "warn"
    assert told.startswith("1 workers hear no notifications")
    assert "LISTEN_DATABASE_URL" in told
    assert exit_code(url) == 0  # it polls: nothing stands still


def test_sleeping_workers_are_alive(alive: Conn, database: Database) -> None:
    beat(alive, "deaf", "polling")  # while it sleeps it need not hear
    alive.execute("SELECT worker_suspend(name, 300) FROM reckoner_workers")
    alive.execute("UPDATE reckoner_workers SET last_seen_at = now() - interval '4 minutes'")
    state, told = look(database, "workers")
    assert state == "ok"
    next_look = value(alive, "SELECT min(asleep_until)::timestamptz(0)::text FROM reckoner_workers")
    assert told == f"2 alive, all let the database sleep until {next_look}"
    assert look(database, "listening")[0] == "ok"
    alive.execute("UPDATE reckoner_workers SET asleep_until = now() - interval '2 minutes'")
    assert look(database, "workers")[0] == "fail"


def test_an_old_backlog(url: str, alive: Conn, database: Database) -> None:
    add(alive, key="1")
    add(alive, key="2", priority=-10, available_at="2024-03-05 15:00+00")  # bulk work may wait
    add(alive, key="3", available_at="2099-01-01 00:00+00")
    state, told = look(database, "backlog")
    assert (state, told[:22]) == ("ok", "2 events are ready, th")
    assert " days " in told  # and no seconds of years
    alive.execute("UPDATE outbox SET available_at = now() - interval '6 minutes' WHERE key = '1'")
    state, told = look(database, "backlog")
    assert state == "fail"
    assert told.endswith("; 1 for more than five minutes: SELECT * FROM outbox_stuck")
    assert exit_code(url) == 3


@pytest.mark.parametrize(
    "waiting",
    [
        "available_at = now() - interval '12 minutes', priority = -10",
        "status = 'processing', lease = 1, leased_by = 'w', claimed_at = now() - interval '12 minutes'",
        # Held up by what is not its own fault, and tried again in an hour.
        """status = 'failed', available_at = 'infinity', created_at = now() - interval '12 minutes',
            trail = '[{"end": "held up"}]'""",
    ],
)
def test_nothing_finishes_although_something_is_ready(
    url: str, alive: Conn, database: Database, waiting: str
) -> None:
    """Whatever the cause: the worker is alive, and may know none."""
    add(alive, key="1")
    assert look(database, "progress") == ("ok", "events finish")
    alive.execute(f"UPDATE outbox SET {waiting}".encode())  # noqa: S608 - constants
    state, told = look(database, "progress")
    assert state == "fail"
    assert told == (
        "no event finished for 12 minutes although 1 is ready; no worker reports why;"
        " SELECT * FROM outbox_stuck says why each waits"
    )
    alive.execute("SELECT worker_fault('w', 'claiming: UndefinedFunction: no such function')")
    assert "; worker w reports since " in look(database, "progress")[1]
    assert exit_code(url) == 3
    # Another one finishes.
    add(alive, key="2")
    finish(alive, claim_one(alive) if "priority" not in waiting else claim(alive)[0])
    assert look(database, "progress")[0] == "warn"  # what the worker reports
    alive.execute("SELECT worker_fault('w', NULL)")
    assert look(database, "progress") == ("ok", "events finish")


def test_what_waits_for_a_provider_or_its_time_is_no_lack_of_progress(
    alive: Conn, database: Database
) -> None:
    add(alive, key="1")
    row = claim_one(alive)
    alive.execute(
        "SELECT outbox_delay(%s, %s, now() + interval '1 hour', 'yahoo is paused')",
        [row["id"], row["lease"]],
    )
    add(alive, key="2")
    fail(alive, claim_one(alive))
    alive.execute(
        "UPDATE outbox SET created_at = now() - interval '1 day',"
        " available_at = now() + interval '1 hour', status = status"
    )
    assert look(database, "progress") == ("ok", "events finish")


def test_a_worker_reports_what_it_cannot_do(alive: Conn, database: Database) -> None:
    alive.execute("SELECT worker_fault('w', E'claiming:\\n no such function')")
    since = value(alive, "SELECT fault_since FROM worker_status")
    alive.execute("SELECT worker_fault('w', 'claiming: no such column')")
    row = alive.execute("SELECT fault, fault_since FROM worker_status").fetchone()
    assert row == {"fault": "claiming: no such column", "fault_since": since}
    state, told = look(database, "progress")
    assert state == "warn"
    assert told.startswith("worker w reports since ")
    assert told.endswith(
        ": claiming: no such column; mend that: what waits for it costs no attempt and goes on by itself"
    )
    # What it has in hand is shown at once, with the reason.
    add(alive, key="1")
    claim_one(alive)
    reason = value(alive, "SELECT reason FROM outbox_stuck")
    assert str(reason).endswith("; claiming: no such column")


def test_parked_events_and_the_statement_that_tries_them_again(
    url: str, alive: Conn, database: Database
) -> None:
    for key in range(3):
        add(alive, key=str(key))
        fail(alive, claim_one(alive), most=1)
    state, told = look(database, "dead")
    assert state == "warn"
    assert told.startswith("3 events are parked: SELECT * FROM outbox_stuck")
    assert exit_code(url) == 0
    [mend] = re.findall(r"SELECT outbox_requeue_dead\(\)", told)
    assert value(alive, mend) == 3
    assert look(database, "dead") == ("ok", "no event is parked")


def test_a_paused_provider(url: str, alive: Conn, database: Database) -> None:
    alive.execute("SELECT provider_pause('yahoo', 600, '429 too many')")
    state, told = look(database, "providers")
    assert state == "warn"
    end = value(alive, "SELECT max(paused_until)::timestamptz(0)::text FROM reckoner_providers")
    assert told.startswith(f"yahoo is paused until {end}: 429 too many; it goes on by itself")
    assert exit_code(url) == 0
    [mend] = re.findall(r"SELECT provider_resume\('yahoo'\)", told)
    alive.execute(mend)
    assert look(database, "providers") == ("ok", "none is paused or out of quota")


def test_a_breaker_whose_pause_is_over(alive: Conn, database: Database) -> None:
    alive.execute("SELECT provider_acquire('yahoo', 1)")
    for _ in range(3):
        alive.execute("SELECT provider_failed('yahoo', 'down: HTTP 503', NULL)")
    assert look(database, "providers")[1].startswith("yahoo is paused until ")
    alive.execute("UPDATE reckoner_providers SET paused_until = now() WHERE name = 'yahoo'")
    state, told = look(database, "providers")
    assert state == "warn"
    assert told == (
        "yahoo is on trial: 3 failures in a row, last: down: HTTP 503; the pause is over;"
        " the next answer decides, or SELECT provider_resume('yahoo')"
    )
    alive.execute("UPDATE reckoner_providers SET last_error_at = now() - interval '25 hours'")
    assert look(database, "providers")[0] == "ok"  # nobody has asked it for a day


def test_an_exhausted_quota(alive: Conn, database: Database) -> None:
    alive.execute("UPDATE provider_quotas SET per_minute = 3, per_day = 3 WHERE name = 'fmp'")
    alive.execute("SELECT provider_acquire('fmp', 3)")
    end = value(
        alive,
        "SELECT resets_at::timestamptz(0)::text FROM provider_quota_status"
        " WHERE name = 'fmp' AND per = 'day'",
    )
    state, told = look(database, "providers")
    assert state == "warn"
    assert told.startswith(
        f"fmp is out of quota until {end}: 3 of 3 requests of the day are used; it goes on by itself"
    )
    assert "minute" not in told  # that a minute is used up is how a quota is kept
    add(alive, "ticker", "ACME")
    alive.execute(
        "UPDATE outbox SET available_at = now() + interval '9 hours', last_error = 'fmp is paused'"
    )
    for mend in re.findall(r"UPDATE [^;]+|SELECT [^;]+", told):
        alive.execute(mend)
    assert value(alive, "SELECT per_day FROM provider_quotas WHERE name = 'fmp'") == 6
    assert value(alive, "SELECT available_at <= reckoner_now() FROM outbox")
    assert look(database, "providers")[0] == "ok"


def test_only_what_waits_for_a_provider_is_resumed(alive: Conn) -> None:
    for key, status, error in (("NEW", "pending", None), ("BAD", "failed", "a bad answer")):
        number = add(alive, "ticker", key)
        alive.execute(
            "UPDATE outbox SET status = %s, last_error = %s,"
            " available_at = now() + interval '1 hour' WHERE id = %s",
            [status, error, number],
        )
    alive.execute("SELECT provider_acquire('yahoo', 1)")
    assert value(alive, "SELECT provider_resume('yahoo')") == 0
    with pytest.raises(psycopg.errors.NoDataFound, match="no provider"):
        alive.execute("SELECT provider_resume('yahooo')")


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("ALTER TABLE {0} DISABLE TRIGGER {1}", "disabled"),
        ("ALTER TABLE {0} ENABLE REPLICA TRIGGER {1}", "disabled"),
        ("DROP TRIGGER {1} ON {0}", "missing"),
    ],
)
@pytest.mark.parametrize(
    ("table", "trigger"),
    [("predictions", "predictions_inserted"), ("outbox", "outbox_requeued")],
)
def test_a_trigger_that_is_off_or_gone(
    alive: Conn, database: Database, statement: str, word: str, table: str, trigger: str
) -> None:
    alive.execute(statement.format(table, trigger).encode())
    state, told = look(database, "triggers")
    assert state == "fail"
    assert told.startswith(f"trigger {trigger} on {table} is {word}: run python -m worker migrate")
    assert look(database, "schema")[0] == "ok"
    migrate(database)
    assert look(database, "triggers") == ("ok", "all are there and enabled")


def test_a_trigger_that_is_off_is_3(url: str, alive: Conn) -> None:
    alive.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    assert exit_code(url) == 3


@pytest.mark.parametrize(("clock", "seconds"), [("1 hour", "3600"), ("-1 hour", "-3600")])
def test_a_worker_whose_clock_is_off(
    url: str, alive: Conn, database: Database, clock: str, seconds: str
) -> None:
    beat(alive, "late", clock=clock)
    beat(alive, "nearly", clock="3 seconds")
    state, told = look(database, "clocks")
    assert state == "warn"
    assert f"a worker is off: late by {seconds} s;" in told
    assert exit_code(url) == 0
    beat(alive, "late")
    assert look(database, "clocks")[0] == "ok"


def test_a_migration_that_is_pending(url: str, conn: Conn, database: Database) -> None:
    conn.execute("DELETE FROM reckoner_schema WHERE name IN ('functions/71_health.sql')")
    conn.execute("UPDATE reckoner_schema SET checksum = 'x' WHERE name LIKE 'functions/1%'")
    state, told = look(database, "schema")
    assert state == "fail"
    assert told.startswith("8 files pending (functions/10_clock.sql, functions/11_symbols.sql, ")
    assert told.endswith("run python -m worker migrate")
    assert exit_code(url) == 3
    assert command(url, "worker", "migrate").returncode == 0
    assert look(database, "schema") == ("ok", "is what this version expects")


def test_a_database_that_a_newer_version_migrated(url: str, conn: Conn, database: Database) -> None:
    conn.execute(
        "INSERT INTO reckoner_schema (name, checksum) VALUES ('migrations/9999_future.sql', 'x')"
    )
    state, told = look(database, "schema")
    assert state == "fail"
    assert "9999_future" in told
    assert "deploy that version" in told
    assert exit_code(url) == 3


@pytest.mark.parametrize("away", ["postgresql://reckoner@127.0.0.1:1/nowhere", "no_such_database"])
def test_a_database_that_does_not_answer(server_url: str, away: str) -> None:
    url = away if ":" in away else with_database(server_url, away)
    done = command(url, "worker", "health", "--json")
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    [check] = document["checks"]
    assert (document["healthy"], check["check"], check["state"]) == (False, "database", "fail")
    assert len(check["message"].splitlines()) == 1
