"""Alerts in SQL: what is found, when a message is written, silence, and how a message is tried."""

import datetime as dt
import string
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.clock import use_clock, use_everywhere, write_clock
from tests.support.db import Conn, value

_NOON = dt.datetime(2026, 7, 8, 12, 0, tzinfo=dt.UTC)  # a Wednesday
_CHANNELS = ["discord:system_status"]


@pytest.fixture
def clocked(conn: Conn) -> Conn:
    """The test's database at noon, where time stands still, with a worker and without schedules."""
    conn.execute("DELETE FROM schedules")
    go_to(conn, 0)
    use_everywhere(conn, "here")
    use_clock(conn, "here")
    return conn


def go_to(conn: Conn, minutes: float) -> None:
    """Let it be some minutes after noon; a worker is alive then."""
    moment = _NOON + dt.timedelta(minutes=minutes)
    write_clock(conn, "here", stopped_at=moment)
    conn.execute("DELETE FROM reckoner_workers")
    conn.execute(
        "INSERT INTO reckoner_workers (name, host, pid, mode, last_seen_at, started_at)"
        " VALUES ('w', 'h', 1, 'notify', %s, %s)",
        [moment, moment],
    )


def check(conn: Conn, minutes: float, channels: list[str] = _CHANNELS) -> int:
    """Check at this many minutes after noon; returns the number of messages."""
    go_to(conn, minutes)
    return int(value(conn, "SELECT alerts_check(%s)", [channels]))


def dead(conn: Conn, topic: str, number: int = 1) -> None:
    conn.execute(
        "INSERT INTO outbox (topic, key, status) SELECT %s, 'K' || n, 'dead' FROM generate_series(1, %s) n",
        [topic, number],
    )


def found(conn: Conn) -> dict[tuple[str, str], dict[str, Any]]:
    rows = conn.execute("SELECT * FROM alerts_found()").fetchall()
    return {(row["rule"], row["subject"]): row for row in rows}


def bodies(conn: Conn) -> list[dict[str, Any]]:
    rows = conn.execute("SELECT channel, body FROM alert_messages ORDER BY id").fetchall()
    return [{"channel": row["channel"], **row["body"]} for row in rows]


def state(conn: Conn, subject: str) -> dict[str, Any]:
    row = conn.execute("SELECT * FROM alerts WHERE subject = %s", [subject]).fetchone()
    assert row is not None
    return row


def schedule(conn: Conn, name: str = "s", **hooks: Any) -> None:
    conn.execute(
        "SELECT schedule_create(%s, 'daily_sync', 'every 1 hour', 'UTC', %s, 'ann')",
        [name, Jsonb({"hooks": hooks})],
    )
    conn.execute("SELECT schedules_tick()")


def run(conn: Conn, status: str, seconds: float = 12, name: str | None = "s") -> int:
    """A run of a schedule (None: by hand) that ended just now."""
    number = int(value(conn, "SELECT run_write('daily_sync', '{}', 'manual', 'ann', %s)", [name]))
    conn.execute(
        "UPDATE job_run SET status = %s, started_at = reckoner_now() - %s * interval '1 s',"
        " finished_at = reckoner_now(), error = CASE WHEN %s = 'error' THEN 'no disk' END WHERE id = %s",
        [status, seconds, status, number],
    )
    return number


def test_nothing_is_wrong_in_a_new_database(clocked: Conn) -> None:
    assert found(clocked) == {}
    assert check(clocked, 0) == 0


def test_the_first_is_told_at_once_and_those_of_the_next_minute_together(clocked: Conn) -> None:
    dead(clocked, "ticker", 3)
    assert check(clocked, 0) == 1
    [first] = bodies(clocked)
    assert (first["rule"], first["state"], first["channel"]) == (
        "events_dead",
        "open",
        _CHANNELS[0],
    )
    assert first["alerts"][0]["text"] == "3 ticker events are dead (threshold: 0)"
    assert "requeue --dead" in first["alerts"][0]["mend"]
    dead(clocked, "prediction")
    dead(clocked, "job")
    assert check(clocked, 0.5) == 0
    assert check(clocked, 1) == 1
    assert {alert["subject"] for alert in bodies(clocked)[1]["alerts"]} == {"job", "prediction"}
    assert check(clocked, 2) == 0
    events = "SELECT count(*) FROM outbox WHERE topic = 'alert' AND key IN (SELECT id::text FROM alert_messages)"
    assert value(clocked, events) == 2


def test_an_open_alert_is_repeated_daily_and_resolved_after_two_good_checks(clocked: Conn) -> None:
    dead(clocked, "ticker")
    assert check(clocked, 0) == 1
    assert check(clocked, 24 * 60 - 1) == 0
    assert check(clocked, 24 * 60) == 1
    assert bodies(clocked)[1]["alerts"][0]["repeated"] is True
    clocked.execute("DELETE FROM outbox WHERE topic = 'ticker'")
    assert check(clocked, 24 * 60 + 2) == 0
    assert state(clocked, "ticker")["state"] == "open"
    dead(clocked, "ticker")  # one good check was a pause between two bad ones
    assert check(clocked, 24 * 60 + 3) == 0
    clocked.execute("DELETE FROM outbox WHERE topic = 'ticker'")
    assert check(clocked, 24 * 60 + 4) == 0
    assert check(clocked, 24 * 60 + 5) == 1
    assert bodies(clocked)[2]["state"] == "resolved"
    assert state(clocked, "ticker")["state"] == "resolved"
    assert check(clocked, 24 * 60 + 6) == 0
    dead(clocked, "ticker")
    assert check(clocked, 24 * 60 + 7) == 1
    assert state(clocked, "ticker")["count"] == 2


def test_a_silenced_alert_is_not_told_until_the_silence_ends(clocked: Conn) -> None:
    dead(clocked, "ticker")
    assert check(clocked, 0) == 1
    silence = "SELECT alert_silence('events_dead', %s, %s, 'a new disk', 'ann')"
    until = _NOON + dt.timedelta(days=2)
    assert value(clocked, silence, ["ticker", until]) == 1
    assert check(clocked, 25 * 60) == 0
    row = clocked.execute("SELECT * FROM alert_status").fetchone()
    assert row is not None
    assert (row["state"], row["silence_reason"]) == ("silenced", "ann: a new disk")
    assert check(clocked, 48 * 60) == 1
    for end in ("infinity", _NOON):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="needs an end"):
            clocked.execute(silence, ["ticker", end])
    with pytest.raises(psycopg.errors.NoDataFound):
        clocked.execute(silence, ["nothing", _NOON + dt.timedelta(days=9)])


def test_what_resolves_while_it_is_silenced_is_not_told(clocked: Conn) -> None:
    dead(clocked, "ticker")
    assert check(clocked, 0) == 1
    clocked.execute(
        "SELECT alert_silence('events_dead', NULL, %s, 'x')", [_NOON + dt.timedelta(hours=1)]
    )
    clocked.execute("DELETE FROM outbox WHERE topic = 'ticker'")
    assert [check(clocked, minute) for minute in (2, 3, 70, 71)] == [0, 0, 0, 0]
    assert state(clocked, "ticker")["state"] == "resolved"


def test_a_resolved_alert_opens_again_when_it_is_still_wrong(clocked: Conn) -> None:
    dead(clocked, "ticker")
    assert check(clocked, 0) == 1
    assert value(clocked, "SELECT alert_resolve('events_dead')") == 1
    assert check(clocked, 1) == 1
    assert bodies(clocked)[1]["state"] == "open"


def test_without_a_channel_nothing_is_written_and_later_all_is(clocked: Conn) -> None:
    dead(clocked, "ticker")
    assert check(clocked, 0, []) == 0
    assert state(clocked, "ticker")["last_sent_at"] is None
    assert check(clocked, 1) == 1


def test_many_subjects_are_one_message_of_twenty(clocked: Conn) -> None:
    for letter in string.ascii_lowercase:
        dead(clocked, f"topic_{letter}")
    assert check(clocked, 0) == 1
    [body] = bodies(clocked)
    assert (body["count"], len(body["alerts"])) == (26, 20)


def test_a_failed_run_is_found_until_one_ends_well(clocked: Conn) -> None:
    schedule(clocked)
    run(clocked, "ok")
    number = run(clocked, "error")
    alert = found(clocked)["run_failed", "s"]
    assert alert["text"] == (
        f"run {number} of daily_sync ended with an error after 12 s: no disk. 1 of its last 2 runs did (threshold: 1)"
    )
    assert alert["details"]["mend"] == f"python -m market runs show {number}"
    run(clocked, "ok")
    assert ("run_failed", "s") in found(clocked)  # it is over, but nobody heard of it yet
    go_to(clocked, 3)
    assert found(clocked) == {}


def test_a_failed_run_by_hand_is_found_for_a_day(clocked: Conn) -> None:
    run(clocked, "error", name=None)
    go_to(clocked, 60)
    assert [*found(clocked)] == [("run_failed", "task daily_sync")]
    go_to(clocked, 25 * 60)
    assert found(clocked) == {}


@pytest.mark.parametrize(
    ("hooks", "expected"),
    [
        ({}, []),
        ({"slow_threshold_s": 10}, ["run_slow"]),
        ({"slow_threshold_s": 13}, []),
        ({"slow_threshold_s": 10, "alert_on": []}, []),
    ],
)
def test_a_slow_run_is_found(clocked: Conn, hooks: dict[str, Any], expected: list[str]) -> None:
    schedule(clocked, **hooks)
    run(clocked, "ok")
    assert [rule for rule, _ in found(clocked)] == expected


def test_a_failure_that_nobody_wants_to_hear_of_is_not_found(clocked: Conn) -> None:
    schedule(clocked, alert_on=["success"])
    run(clocked, "error")
    assert found(clocked) == {}


def test_a_schedule_without_a_tick_for_twice_its_interval_is_found(clocked: Conn) -> None:
    schedule(clocked)
    go_to(clocked, 119)
    assert found(clocked) == {}
    go_to(clocked, 121)
    alert = found(clocked)["schedule_missing", "s"]
    assert "no tick for 01:01:00," in alert["text"]
    clocked.execute("SELECT schedules_tick()")
    assert found(clocked) == {}


def test_no_worker_alive_is_found_after_two_minutes(clocked: Conn) -> None:
    clocked.execute(
        "UPDATE reckoner_installation SET installed_at = %s, swept_at = %s", [_NOON] * 2
    )
    go_to(clocked, 0)
    for minutes, expected in ((2, []), (3, [("no_worker", "workers")])):
        write_clock(clocked, "here", stopped_at=_NOON + dt.timedelta(minutes=minutes))
        assert [*found(clocked)] == expected


def test_a_provider_without_quota_is_found(clocked: Conn) -> None:
    clocked.execute("SELECT quota_exhausted('fmp', 'day')")
    assert [*found(clocked)] == [("provider_quota", "fmp")]
    assert "provider_resume" in found(clocked)["provider_quota", "fmp"]["details"]["mend"]


def test_outcomes_that_are_due_and_not_filled_are_found(clocked: Conn) -> None:
    clocked.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, outcome_state, due_at)"
        " VALUES (1, 'AAPL', '2026-07-01', 'maturing', %s)",
        [_NOON],
    )
    go_to(clocked, 23 * 60)
    assert found(clocked) == {}
    go_to(clocked, 25 * 60)
    assert "1 outcomes are due" in found(clocked)["outcomes_overdue", "outcomes"]["text"]


def test_degraded_coverage_is_found_in_the_newest_snapshot(clocked: Conn) -> None:
    status = {"label": "degraded", "summary": "3 are stale", "daily_pct": 71, "stale_daily": 3}
    clocked.execute("SELECT coverage_snapshot()")
    assert found(clocked) == {}
    clocked.execute(
        "UPDATE coverage_health SET report = jsonb_set(report, '{status}', %s)", [Jsonb(status)]
    )
    alert = found(clocked)["coverage_degraded", "coverage"]
    assert "71 %" in alert["text"]
    assert alert["details"]["mend"] == "python -m market run-task restore_coverage --wait"
    # A restore fetches no five-minute bars.
    clocked.execute(
        "UPDATE coverage_health SET report = jsonb_set(report, '{status,daily_pct}', '100')"
    )
    alert = found(clocked)["coverage_degraded", "coverage"]
    assert alert["details"]["mend"] == "python -m market backfill-5m"


_SECRET = "https://discord.com/api/webhooks/12/s3cr3t-t0k3n"  # noqa: S105 - of a test


def test_an_address_of_a_hook_stays_in_its_schedule(clocked: Conn) -> None:
    schedule(clocked, discord_webhook=f"signals, {_SECRET}", discord_channels=["playground"])
    run(clocked, "error")
    assert check(clocked, 0, [*_CHANNELS, "webhook"]) == 4
    channels = [body["channel"] for body in bodies(clocked)]
    assert channels == ["discord:playground", "discord:s#2", "discord:signals", "webhook"]
    assert value(clocked, "SELECT alert_address('discord:s#2')") == _SECRET
    assert value(clocked, "SELECT alert_address('discord:signals')") is None
    for table in ("alerts", "alert_messages", "outbox"):
        rows = clocked.execute(f"SELECT t::text AS said FROM {table} t".encode())  # noqa: S608
        assert not [row for row in rows if "s3cr3t" in row["said"]]


def test_the_end_of_a_run_is_written_for_its_pushgateway_and_its_success(clocked: Conn) -> None:
    schedule(
        clocked,
        prometheus_endpoint="http://gateway:9091",
        discord_channels="signals",
        alert_on=["success"],
    )
    run(clocked, "ok")
    run(clocked, "error")
    assert [(body["channel"], body["event"]) for body in bodies(clocked)] == [
        ("pushgateway:s", "success"),
        ("discord:signals", "success"),
        ("pushgateway:s", "failure"),
    ]
    assert bodies(clocked)[0]["seconds"] == 12
    assert value(clocked, "SELECT alert_address('pushgateway:s')") == "http://gateway:9091"


def test_a_run_without_hooks_writes_no_message(clocked: Conn) -> None:
    schedule(clocked)
    run(clocked, "ok")
    run(clocked, "ok", name=None)
    assert bodies(clocked) == []
    assert value(clocked, "SELECT count(*) FROM outbox WHERE topic = 'alert'") == 0


def test_a_try_is_recorded_and_pauses_its_channel(clocked: Conn) -> None:
    dead(clocked, "ticker")
    check(clocked, 0)
    number = value(clocked, "SELECT id FROM alert_messages")
    tried = "SELECT alert_tried(%s, %s, %s, %s, %s)"
    assert value(clocked, tried, [number, "later", "HTTP 429", 30.5, True]) == _NOON + dt.timedelta(
        seconds=30.5
    )
    row = clocked.execute("SELECT * FROM alert_message(%s)", [number]).fetchone()
    assert row is not None
    assert (row["tries"], row["is_late"], row["paused_until"] is not None) == (1, False, True)
    go_to(clocked, 1)
    row = clocked.execute("SELECT * FROM alert_message(%s)", [number]).fetchone()
    assert row is not None
    assert row["paused_until"] is None
    assert value(clocked, tried, [number, "sent", "HTTP 204", None, False]) is None
    assert clocked.execute("SELECT * FROM alert_message(%s)", [number]).fetchone() is None
    assert (
        value(clocked, "SELECT (failures, last_error IS NULL)::text FROM alert_channels") == "(0,t)"
    )


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ({"alert_on": ["error"]}, "alert_on is a list"),
        ({"alert_on": "failure"}, "alert_on is a list"),
        ({"slow_threshold_s": "soon"}, "slow_threshold_s is a number"),
        ({"prometheus_endpoint": "gateway:9091"}, "prometheus_endpoint is an address"),
        ({"discord_channels": ["signals", "s3cr3t"]}, "channel no. 2 is neither"),
    ],
)
def test_hooks_that_would_be_silent_are_refused(
    clocked: Conn, hooks: dict[str, Any], said: str
) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=said) as refused:
        schedule(clocked, **hooks)
    assert "s3cr3t" not in str(refused.value)
