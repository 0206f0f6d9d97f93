"""Schedules in SQL: ticks, the reasons why one is skipped, runs, and the operator's functions."""

import datetime as dt
import threading
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.clock import use_clock, use_everywhere, write_clock
from tests.support.db import Conn, connect, value

_NOON = dt.datetime(2026, 7, 8, 12, 0, tzinfo=dt.UTC)  # a Wednesday


@pytest.fixture
def clocked(conn: Conn) -> Conn:
    """The test's database at noon, where time stands still, without the default schedules."""
    conn.execute("DELETE FROM schedules")
    name = write_clock(conn, "here", stopped_at=_NOON)
    use_everywhere(conn, name)
    use_clock(conn, name)
    return conn


def go_to(conn: Conn, moment: dt.datetime) -> None:
    """Let it be another moment."""
    write_clock(conn, "here", stopped_at=moment)


def create(conn: Conn, name: str = "s", trigger: str = "every 1 hour", **fields: Any) -> None:
    """Make a schedule of the simplest task, and have its first tick computed."""
    zone = fields.pop("timezone", "UTC")
    task = fields.pop("task", "monitor_coverage")
    conn.execute(
        "SELECT schedule_create(%s, %s, %s, %s, %s, 'ann')",
        [name, task, trigger, zone, Jsonb(fields)],
    )
    assert tick(conn) == []


def tick(conn: Conn) -> list[dict[str, Any]]:
    """What one look at the schedules writes."""
    return conn.execute("SELECT * FROM schedules_tick()").fetchall()


def tick_at(conn: Conn, moment: dt.datetime) -> list[tuple[str, str | None]]:
    """Verdict and reason of the ticks that a look at this moment writes."""
    go_to(conn, moment)
    return [(row["verdict"], row["reason"]) for row in tick(conn)]


def hours(number: float) -> dt.datetime:
    return _NOON + dt.timedelta(hours=number)


def end(conn: Conn, status: str = "ok") -> None:
    """Let every run end."""
    conn.execute("UPDATE job_run SET status = %s WHERE status IN ('queued', 'running')", [status])


def test_a_due_tick_is_written_once_with_its_run_and_event(clocked: Conn) -> None:
    create(clocked, params={})
    go_to(clocked, hours(1))
    [row] = tick(clocked)
    assert (row["schedule"], row["tick_at"], row["verdict"]) == ("s", hours(1), "queued")
    assert tick(clocked) == []
    run = clocked.execute("SELECT * FROM job_run").fetchone()
    event = clocked.execute("SELECT * FROM outbox WHERE topic = 'job'").fetchone()
    assert run is not None
    assert event is not None
    assert (run["id"], run["schedule"], run["tick_at"], run["trigger"]) == (
        row["run_id"], "s", hours(1), "schedule",
    )  # fmt: skip
    assert (event["key"], event["id"]) == (str(run["id"]), run["event_id"])
    assert value(clocked, "SELECT schedules_next_at()") == hours(2)


def test_sessions_at_once_write_each_tick_once(clocked: Conn, url: str) -> None:
    for number in range(40):
        create(clocked, f"s{number}", "every 1 minute")
    go_to(clocked, hours(0.1))  # six ticks each
    start = threading.Barrier(4)
    written: list[int] = []

    def look() -> None:
        with connect(url) as conn:
            start.wait()
            while rows := tick(conn):
                written.append(len(rows))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(written) == 240
    assert value(clocked, "SELECT count(*) FROM schedule_ticks") == 240
    assert value(clocked, "SELECT count(*) FROM job_run") == 40  # the latest of each
    assert value(clocked, "SELECT count(*) FROM outbox WHERE topic = 'job'") == 40


@pytest.mark.parametrize(
    ("misfire", "verdicts"),
    [
        ("latest", ["skipped", "skipped", "queued"]),
        ("skip", ["skipped", "skipped", "skipped"]),
        ("all", ["skipped", "queued", "queued"]),  # the first is older than the grace
    ],
)
def test_missed_ticks_are_decided_by_misfire_and_grace(
    clocked: Conn, misfire: str, verdicts: list[str]
) -> None:
    create(
        clocked, trigger="every 1 hour", misfire=misfire, misfire_grace_s=4000,
        safety={"singleflight": False, "max_concurrency": 9},
    )  # fmt: skip
    said = tick_at(clocked, hours(3.1))
    assert [verdict for verdict, _ in said] == verdicts
    assert said[0][1] is not None
    assert said[0][1].startswith("missed: no worker looked for 2 h")


def test_a_long_outage_is_worked_off_in_parts(clocked: Conn) -> None:
    create(clocked, trigger="every 10 seconds")
    go_to(clocked, hours(5))
    counts = [len(tick(clocked)) for _ in range(3)]
    assert counts == [1000, 800, 0]
    assert value(clocked, "SELECT count(*) FROM job_run") == 1


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a pause without an end": (
        "SELECT schedule_pause('s', 'a new disk', actor => 'ben')", {},
        "paused by ben until it is resumed: a new disk",
    ),
    "a pause with an end": (
        "SELECT schedule_pause('s', 'lunch', '2026-07-08 13:30+00', 'ben')", {},
        "paused by ben until 2026-07-08 13:30:00+00: lunch",
    ),
    "skip next": ("SELECT schedule_skip_next('s')", {}, "skipped once, as somebody said"),
    "a window past midnight": (
        "SELECT 1", {"maintenance_windows": [
            {"start": "22:00", "end": "14:00", "days": ["TUE"], "note": "backup"}]},
        "maintenance window 22:00 to 14:00: backup",
    ),
    "a window of two moments": (
        "SELECT 1", {"maintenance_windows": [
            {"from": "2026-07-08T12:30Z", "until": "2026-07-08T15:00Z"}]},
        "maintenance window 2026-07-08T12:30Z to 2026-07-08T15:00Z",
    ),
    "the market is closed": (
        "SELECT 1", {"preflight_checks": ["market_open"]}, "preflight: XNYS is closed",
    ),
    "the market is open": (
        "SELECT 1", {"preflight_checks": [{"check": "session_closed", "calendar": "24/7"}]},
        "preflight: 24/7 is open",
    ),
    "no quota": (
        """UPDATE provider_quotas
           SET per_day = 10, day_used = 8, day_from = quota_window('day', day_from, time_zone)
           WHERE name = 'fmp'""",
        {"preflight_checks": [{"check": "provider_quota", "provider": "fmp", "least": 3}]},
        "preflight: fmp has 2 requests left this day, until",
    ),
    "the size": (
        "SELECT 1", {"preflight_checks": [{"check": "database_size", "most_mb": 1}]},
        "preflight: the database has",
    ),
    "a task that never ran": (
        "SELECT 1", {"dependencies": ["recompute_indicators"]},
        "it depends on recompute_indicators, which never ran",
    ),
    "a task that failed": (
        """INSERT INTO job_run (id, task_name, status, queued_at, trigger, actor)
           VALUES (-7, 'recompute_indicators', 'error', now(), 'manual', 'ann')""",
        {"dependencies": ["recompute_indicators"]},
        "it depends on recompute_indicators, whose last run (-7) is error",
    ),
    "single flight": (
        "SELECT schedule_run_now('s')", {}, "single flight: run",
    ),
    "too many at once": (
        "SELECT schedule_run_now('s'), schedule_run_now('s')",
        {"safety": {"singleflight": False, "max_concurrency": 2}},
        "2 of its runs are not over, and no more may be",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_skipped_tick_says_why(clocked: Conn, case: str) -> None:
    statement, fields, reason = REFUSED[case]
    create(clocked, **fields)
    clocked.execute(statement.encode())
    runs = value(clocked, "SELECT count(*) FROM job_run WHERE schedule = 's'")
    [(verdict, said)] = tick_at(clocked, hours(1))
    assert verdict == "skipped"
    assert said is not None
    assert said.startswith(reason)
    assert value(clocked, "SELECT count(*) FROM job_run WHERE schedule = 's'") == runs
    assert value(clocked, "SELECT reason FROM schedule_ticks") == said


def test_what_passes_is_queued_again(clocked: Conn) -> None:
    create(clocked)
    clocked.execute("SELECT schedule_pause('s', 'lunch', '2026-07-08 13:30+00')")
    clocked.execute("SELECT schedule_skip_next('s')")
    assert [v for v, _ in tick_at(clocked, hours(1))] == ["skipped"]  # paused
    assert [v for v, _ in tick_at(clocked, hours(2))] == ["skipped"]  # skipped once
    assert [v for v, _ in tick_at(clocked, hours(3))] == ["queued"]
    assert [v for v, _ in tick_at(clocked, hours(4))] == ["skipped"]  # single flight
    end(clocked)
    assert [v for v, _ in tick_at(clocked, hours(5))] == ["queued"]


def test_a_schedule_that_cannot_be_computed_stops_no_other(clocked: Conn) -> None:
    create(clocked, "a")
    create(clocked, "b")
    # As no function of ours writes it.
    clocked.execute("ALTER TABLE schedules DISABLE TRIGGER schedules_written")
    clocked.execute(
        "UPDATE schedules SET timezone = 'Nowhere/Here', trigger = '0 * * * *' WHERE name = 'a'"
    )
    clocked.execute("ALTER TABLE schedules ENABLE TRIGGER schedules_written")
    go_to(clocked, hours(1))
    assert {row["schedule"] for row in tick(clocked)} == {"b"}
    fault = value(clocked, "SELECT fault FROM schedules WHERE name = 'a'")
    assert fault == 'time zone "Nowhere/Here" not recognized'
    assert tick(clocked) == []  # not at every look
    clocked.execute("SELECT schedule_update('a', '{\"timezone\": \"UTC\"}', 1)")
    assert tick(clocked) == []  # its next tick is computed
    assert [v for v, _ in tick_at(clocked, hours(2))] == ["queued", "skipped"]


SESSIONS = {
    "an early close": ("XNYS close + 45 minutes", "2026-11-27T00:00+00:00", "2026-11-27T18:45+00:00"),
    "over a holiday and a weekend": ("XNYS close", "2026-07-02T21:00+00:00", "2026-07-06T20:00+00:00"),
    "summer time begins": ("xnys open - 30 minutes", "2026-03-06T20:00+00:00", "2026-03-09T13:00+00:00"),
    "every day": ("24/7 close", "2026-12-24T12:00+00:00", "2026-12-25T00:00+00:00"),
}  # fmt: skip


@pytest.mark.parametrize("case", SESSIONS)
def test_sessions_are_triggers(conn: Conn, case: str) -> None:
    trigger, after, expected = SESSIONS[case]
    found = value(conn, "SELECT trigger_next(%s, 'UTC', %s::timestamptz)", [trigger, after])
    assert found == dt.datetime.fromisoformat(expected)


def test_intervals_are_multiples_since_1970(conn: Conn) -> None:
    query = "SELECT trigger_next(%s, 'UTC', '2026-07-08 12:00:01+00')"
    assert value(conn, query, ["every 30 seconds"]) == _NOON + dt.timedelta(seconds=30)
    assert value(conn, query, ["every 1 day"]) == _NOON + dt.timedelta(hours=12)


WRONG = {
    "61 * * * *": '"61" is not a minute of a cron line (0 to 59)',
    "* * * *": '"* * * *" has 4 fields',
    "0 0 31 2 *": "is never due",
    "every 0 seconds": "the least interval is 1 second",
    "every fortnight": "has 2 fields",
    "": "has 1 fields",
    "*/0 * * * *": '"*/0" is not a minute',
    "0 0 * * MON-": '"1-" is not a day of week',
    "5-1 * * * *": '"5-1" is not a minute',
    "'; DROP TABLE schedules; --": "is not a minute",
}


@pytest.mark.parametrize("trigger", WRONG)
def test_a_wrong_trigger_is_refused_with_a_reason(clocked: Conn, trigger: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        create(clocked, trigger=trigger)
    assert WRONG[trigger] in str(caught.value.diag.message_primary)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"task": "format_disk"}, 'there is no task "format_disk"'),
        ({"params": {"x": 1}}, 'monitor_coverage has no parameter "x"; it has: none'),
        ({"task": "backfill_5m", "params": {"n_days": 61}}, "n_days is not a number from 1 to 60: 61"),
        ({"task": "record_history", "params": {"as_of": "2026-02-31"}}, "as_of is not a date like"),
        ({"task": "recompute_indicators", "params": {"symbols": ["A B"]}}, "not a list of symbols"),
        ({"timezone": "Mars"}, 'timezone: "Mars" is not a zone'),
        ({"safety": {"retries": 21}}, "safety: retries cannot be 21"),
        ({"safety": {"speed": 1}}, 'safety: there is no "speed"'),
        ({"hooks": {"fax": 1}}, 'hooks: there is no "fax"'),
        ({"dependencies": ["x"]}, 'dependencies: there is no task "x"'),
        ({"preflight_checks": ["weather"]}, "preflight_checks:"),
        ({"preflight_checks": [{"check": "database_size"}]}, 'database_size needs "most_mb"'),
        ({"maintenance_windows": [{"start": "25:00", "end": "26:00"}]}, "maintenance_windows:"),
        ({"maintenance_windows": [{"note": "x"}]}, "maintenance_windows:"),
        ({"version": 7}, 'no field "version"'),
        ({"priority": "high"}, "invalid input syntax"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_with_a_reason(
    clocked: Conn, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        create(clocked, **fields)
    assert reason in str(caught.value.diag.message_primary)
    assert value(clocked, "SELECT count(*) FROM schedules") == 0


def test_an_old_version_is_a_conflict(clocked: Conn) -> None:
    create(clocked)
    clocked.execute("SELECT schedule_update('s', '{\"notes\": \"mine\"}', 1, 'ann')")
    with pytest.raises(
        psycopg.errors.ObjectNotInPrerequisiteState, match="version 2 now, not 1: ann"
    ):
        clocked.execute("SELECT schedule_update('s', '{\"notes\": \"yours\"}', 1, 'ben')")
    with pytest.raises(psycopg.errors.NoDataFound, match='there is no schedule "t"'):
        clocked.execute("SELECT schedule_delete('t')")
    # A tick is no change of a person.
    assert [v for v, _ in tick_at(clocked, hours(1))] == ["queued"]
    assert value(clocked, "SELECT version FROM schedules") == 2


def test_an_export_imported_again_changes_nothing(clocked: Conn) -> None:
    create(clocked, "a", notes="one")
    create(clocked, "b", trigger="XNYS close + 45 minutes")
    text = value(clocked, "SELECT schedule_export()::text")
    query = "SELECT name, change, field, before, after FROM schedule_import(%s::jsonb, %s, %s)"
    assert clocked.execute(query, [text, False, True]).fetchall() == []
    changed = text.replace('"one"', '"two"').replace('"name": "b"', '"name": "c"')
    said = [tuple(row.values()) for row in clocked.execute(query, [changed, True, True])]
    assert said == [
        ("a", "update", "notes", "one", "two"),
        ("c", "create", "trigger", None, "XNYS close + 45 minutes"),
        ("b", "delete", "trigger", "XNYS close + 45 minutes", None),
    ]
    assert value(clocked, "SELECT schedule_export()::text") == text  # it was a dry run
    clocked.execute(query, [changed, False, True])
    assert value(clocked, "SELECT schedule_export()::text") == changed


def test_an_import_is_all_or_nothing(clocked: Conn) -> None:
    wanted = [
        {"name": "a", "task": "daily_sync", "trigger": "0 * * * *"},
        {"name": "b", "task": "daily_sync", "trigger": "0 * * *"},
    ]
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        clocked.execute("SELECT schedule_import(%s, false)", [Jsonb(wanted)])
    assert value(clocked, "SELECT count(*) FROM schedules") == 0


def test_defaults_are_made_once(conn: Conn) -> None:
    assert value(conn, "SELECT count(*) FROM schedules") == value(
        conn, "SELECT count(*) FROM schedule_seeds"
    )
    conn.execute("SELECT schedule_delete('coverage')")
    conn.execute("SELECT schedule_pause('history', 'not now')")
    conn.execute("SELECT schedule_update('retention', '{\"trigger\": \"0 5 * * *\"}', 1)")
    before = value(conn, "SELECT jsonb_agg(s ORDER BY name) FROM schedules s")
    assert value(conn, "SELECT schedules_seed()") == 0
    assert value(conn, "SELECT jsonb_agg(s ORDER BY name) FROM schedules s") == before


def test_a_preview_shows_both_clocks(conn: Conn) -> None:
    rows = conn.execute(
        "SELECT tick_at, there FROM schedule_preview('30 9 * * MON-FRI', 'Europe/Berlin', 3)"
    ).fetchall()
    assert len(rows) == 3
    assert all(row["there"].hour == 9 and row["there"].weekday() < 5 for row in rows)
    assert all(row["tick_at"].hour in (7, 8) for row in rows)


def test_a_run_that_is_queued_is_cancelled_at_once(clocked: Conn) -> None:
    run = value(clocked, "SELECT run_task('daily_sync', actor => 'ann')")
    assert value(clocked, "SELECT run_cancel(%s, 'a mistake', 'ben')", [run]) == "cancelled"
    assert value(clocked, "SELECT count(*) FROM outbox") == 0
    assert value(clocked, "SELECT error FROM job_run") == "cancelled by ben: a mistake"
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="is over: cancelled"):
        clocked.execute("SELECT run_cancel(%s, 'again')", [run])


def test_a_running_run_hears_of_its_end_and_a_zombie_too(clocked: Conn) -> None:
    run = value(clocked, "SELECT run_task('daily_sync')")
    clocked.execute("SELECT * FROM outbox_claim('job', 'w', 1, 60)")
    assert value(clocked, "SELECT attempt FROM run_begin(%s, 'w')", [run]) == 1
    progress = "SELECT run_progress(%s, %s, %s)"
    assert value(clocked, progress, [run, 1, Jsonb({"done": 1, "total": 4})]) is None
    go_to(clocked, hours(0.5))
    assert value(clocked, "SELECT eta FROM job_runs") == dt.timedelta(hours=1.5)
    assert value(clocked, "SELECT run_cancel(%s, 'enough', 'ben')", [run]) == "running"
    assert value(clocked, progress, [run, 1, Jsonb({})]) == "cancelled: enough (ben)"
    assert value(clocked, progress, [run, 2, Jsonb({})]) == "it is another worker's now"
    ended = "SELECT status FROM run_end(%s, %s, %s, '{}', 'enough')"
    assert value(clocked, ended, [run, 2, "ok"]) is None
    assert value(clocked, ended, [run, 1, "cancelled"]) == "cancelled"


def test_a_run_that_is_over_its_time_ends(clocked: Conn) -> None:
    run = value(clocked, "SELECT run_task('daily_sync')")
    clocked.execute("SELECT * FROM outbox_claim('job', 'w', 1, 60)")
    clocked.execute("SELECT * FROM run_begin(%s, 'w')", [run])
    go_to(clocked, hours(1.01))
    assert value(clocked, "SELECT run_progress(%s, 1, '{}')", [run]) == "timed out after 3600 s"
    assert value(clocked, "SELECT sweep_runs()") == 0  # its worker has a minute to say so
    go_to(clocked, hours(1.02))
    assert value(clocked, "SELECT sweep_runs()") == 1
    assert value(clocked, "SELECT status FROM job_run") == "error"
    assert value(clocked, "SELECT count(*) FROM outbox") == 0


@pytest.mark.parametrize(
    "loss", ["DELETE FROM outbox", "SELECT outbox_park(id, 'it kills') FROM outbox"]
)
def test_a_run_whose_event_is_gone_or_dead_does_not_stay(clocked: Conn, loss: str) -> None:
    clocked.execute("SELECT run_task('daily_sync')")
    clocked.execute(loss.encode())
    go_to(clocked, hours(0.1))
    assert value(clocked, "SELECT sweep_runs()") == 1
    assert value(clocked, "SELECT status FROM job_run") == "error"
    assert value(clocked, "SELECT sweep_runs()") == 0
