"""What is told about schedules and runs: the stories, the health check, the figures; and how long they stay."""

import datetime as dt
from typing import Any

import psycopg
import pytest

from tests.support.clock import use_clock, use_everywhere, write_clock
from tests.support.db import Conn, value
from tests.worker.checks import beat, look_from
from tests.worker.stories import in_order, lines, story

_NOON = dt.datetime(2026, 7, 8, 12, 0, tzinfo=dt.UTC)  # a Wednesday


@pytest.fixture
def clocked(conn: Conn) -> Conn:
    """The test's database at noon with one schedule, where time stands still."""
    use_everywhere(conn, write_clock(conn, "here", stopped_at=_NOON))
    use_clock(conn, "here")
    conn.execute("DELETE FROM schedules")
    conn.execute(
        "SELECT schedule_create('s', 'daily_sync', 'every 1 hour', actor => 'ann')",
    )
    tick(conn)
    return conn


def go_to(conn: Conn, hours: float) -> None:
    write_clock(conn, "here", stopped_at=_NOON + dt.timedelta(hours=hours))


def tick(conn: Conn) -> list[dict[str, Any]]:
    return conn.execute("SELECT * FROM schedules_tick()").fetchall()


def run_ends(conn: Conn, status: str, error: str | None = None) -> None:
    """Claim the run that waits, begin and end it."""
    run = value(conn, "SELECT key::bigint FROM outbox_claim('job', 'w', 1, 60)")
    attempt = value(conn, "SELECT attempt FROM run_begin(%s, 'w')", [run])
    counters = '{"XNYS": 3}'
    conn.execute("SELECT run_end(%s, %s, %s, %s, %s)", [run, attempt, status, counters, error])
    conn.execute(
        "SELECT outbox_finish(jsonb_agg(jsonb_build_object('id', id, 'lease', lease, 'verdict', 'done', 'result',"
        " jsonb_build_object('run', %s::bigint, 'status', %s::text)))) FROM outbox WHERE key = %s::text",
        [run, status, run],
    )


def test_a_run_tells_its_tick_its_event_and_its_end(clocked: Conn) -> None:
    go_to(clocked, 1)
    [row] = tick(clocked)
    in_order(
        lines(story(clocked, "run", row["run_id"])), "written for job", "no worker alive", "queued"
    )
    run_ends(clocked, "error", "ValueError: no disk")
    told = lines(story(clocked, "run", row["run_id"]))
    in_order(
        told,
        "s was due",
        "daily_sync queued by s",
        "error after 0.0 s: ValueError: no disk: 3 XNYS",
    )
    assert f"done: run {row['run_id']}: error" in " ".join(told)


def test_a_run_by_hand_tells_who_and_with_what(clocked: Conn) -> None:
    run = value(clocked, "SELECT run_task('backfill_5m', '{\"n_days\": 3}', 'ben')")
    in_order(
        lines(story(clocked, "run", run)), 'backfill_5m queued by ben (manual) with {"n_days": 3}'
    )
    clocked.execute("SELECT run_cancel(%s, 'a mistake', 'ann')", [run])
    in_order(lines(story(clocked, "run", run)), "cancelled: cancelled by ann: a mistake")


def test_a_schedule_tells_its_ticks_its_runs_and_what_comes(clocked: Conn) -> None:
    go_to(clocked, 1)
    tick(clocked)
    go_to(clocked, 2)
    tick(clocked)  # its run is not over
    run_ends(clocked, "ok")
    clocked.execute("SELECT schedule_pause('s', 'a new disk', actor => 'ben')")
    go_to(clocked, 3)
    tick(clocked)
    clocked.execute("SELECT schedule_run_now('s', 'ben')")
    told = lines(story(clocked, "schedule", "s"))
    in_order(
        told,
        "made by ann",
        "run 1: ok after 0.0 s: 3 XNYS",
        "skipped: single flight: run 1 is not over",
        "changed by ben, version 2",
        "skipped: paused by ben until it is resumed: a new disk",
        "by ben: queued",
        "daily_sync is due",
        "paused: daily_sync every 1 hour (UTC): paused by ben: a new disk",
    )
    clocked.execute("SELECT schedule_delete('s')")
    told = lines(story(clocked, "schedule", "s"))
    in_order(told, "run 1: ok", "it was deleted")


@pytest.mark.parametrize(
    ("query", "message"),
    [("explain_run(7)", "there is no run 7"), ("explain_schedule('x')", 'no schedule "x"')],
)
def test_what_does_not_exist_is_said(clocked: Conn, query: str, message: str) -> None:
    with pytest.raises(psycopg.errors.NoDataFound, match=message):
        clocked.execute(f"SELECT * FROM {query}".encode())  # noqa: S608


def test_health_says_what_is_on_and_when(clocked: Conn) -> None:
    beat(clocked)
    assert look_from(clocked, "schedules") == (
        "ok",
        "1 are on, the next is due at 2026-07-08 13:00:00+00",
    )
    clocked.execute("DELETE FROM schedules")
    assert look_from(clocked, "schedules") == ("ok", "0 are on, none is due")


def test_health_says_that_ticks_are_late_and_what_mends_it(clocked: Conn) -> None:
    go_to(clocked, 1.1)
    assert look_from(clocked, "schedules")[0] == "ok"  # no worker: another check says so
    beat(clocked)
    state, told = look_from(clocked, "schedules")
    assert state == "warn"
    assert told == (
        "the ticks of s are late, the first by 360 s: set WORKER_SCHEDULES=true for a worker, or "
        "python -m market schedules update s --set enabled=false"
    )
    tick(clocked)
    assert look_from(clocked, "schedules")[0] == "ok"


def test_health_says_what_cannot_be_computed(clocked: Conn) -> None:
    clocked.execute("ALTER TABLE schedules DISABLE TRIGGER schedules_written")
    clocked.execute("UPDATE schedules SET timezone = 'Nowhere', trigger = '0 * * * *'")
    clocked.execute("ALTER TABLE schedules ENABLE TRIGGER schedules_written")
    assert value(clocked, "SELECT sweep_schedules()") == 0  # it stops no sweep
    go_to(clocked, 1)
    tick(clocked)
    state, told = look_from(clocked, "schedules")
    assert state == "warn"
    assert told.startswith(
        'the ticks of s cannot be computed: time zone "Nowhere" not recognized; mend it with '
        "python -m market schedules update s --set FIELD=VALUE"
    )


def test_health_says_that_the_last_runs_failed(clocked: Conn) -> None:
    for hour, status in enumerate(["error", "ok", "error", "error", "error"], 1):
        go_to(clocked, hour)
        tick(clocked)
        assert look_from(clocked, "schedules")[0] == "ok"
        run_ends(clocked, status, "no disk")
    state, told = look_from(clocked, "schedules")
    assert state == "warn"
    assert told == (
        "the last 3 runs of s ended with an error, the newest with: no disk; "
        "python -m worker explain --schedule s shows them"
    )
    go_to(clocked, 6)
    tick(clocked)
    run_ends(clocked, "ok")
    assert look_from(clocked, "schedules")[0] == "ok"


def figures(conn: Conn) -> dict[tuple[str, ...], float]:
    """What a worker's scrape has of the whole queue."""
    beat(conn)
    conn.execute("UPDATE reckoner_workers SET exports = true")
    rows = conn.execute("SELECT name, label, other, value FROM reckoner_metrics('w')").fetchall()
    return {
        tuple(part for part in (row["name"], row["label"], row["other"]) if part): row["value"]
        for row in rows
    }


def test_the_figures_move(clocked: Conn) -> None:
    got = figures(clocked)
    assert got["overdue",] == 0
    assert got["schedules", "on"] == 1
    assert ("success", "daily_sync") not in got
    go_to(clocked, 1 + 1 / 60)
    assert figures(clocked)["overdue",] == 60
    [row] = tick(clocked)
    assert row["late"] == 60
    got = figures(clocked)
    assert got["overdue",] == 0
    assert got["runs", "daily_sync", "queued"] == 1
    run_ends(clocked, "ok")
    got = figures(clocked)
    assert got["runs", "daily_sync", "queued"] == 0
    assert got["success", "daily_sync"] == (_NOON + dt.timedelta(hours=1, minutes=1)).timestamp()
    clocked.execute("SELECT schedule_pause('s', 'x')")
    assert figures(clocked)["schedules", "paused"] == 1


def test_old_ticks_and_runs_go_in_parts(clocked: Conn) -> None:
    clocked.execute(
        """INSERT INTO schedule_ticks (schedule, tick_at, verdict, decided_at)
           SELECT 's', reckoner_now() - make_interval(days => 91, secs => n), 'skipped', now()
           FROM generate_series(1, 10005) n"""
    )
    clocked.execute(
        """INSERT INTO schedule_ticks (schedule, tick_at, verdict, decided_at)
           VALUES ('s', reckoner_now() - interval '89 days', 'skipped', now()),
                  ('yearly', reckoner_now() - interval '300 days', 'skipped', now())"""
    )
    clocked.execute(
        """INSERT INTO job_run (task_name, status, queued_at, finished_at, trigger, actor)
           SELECT 'daily_sync', 'ok', now(), reckoner_now() - make_interval(days => 401), 'manual', 'ann'
           FROM generate_series(1, 10005)
           UNION ALL
           SELECT 'daily_sync', 'ok', now(), reckoner_now() - make_interval(days => 399), 'manual', 'ann'"""
    )
    clocked.execute("SELECT run_task('daily_sync')")  # one that waits has no end
    counts = [
        (value(clocked, "SELECT sweep_ticks(90)"), value(clocked, "SELECT sweep_runs_ended(400)"))
        for _ in range(3)
    ]
    assert counts == [(9999, 10000), (6, 5), (0, 0)]
    kept = clocked.execute("SELECT schedule FROM schedule_ticks ORDER BY 1").fetchall()
    assert [row["schedule"] for row in kept] == ["s", "yearly"]  # the newest of each stays
    assert value(clocked, "SELECT count(*) FROM job_run") == 2
