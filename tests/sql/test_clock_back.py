"""The server's clock is set back by an hour: nothing waits for that hour, and health says so."""

from typing import Any

import pytest

from tests.support.clock import move_clock, stop_clock
from tests.support.db import Conn, value
from tests.support.queue import add, claim, live


@pytest.fixture
def hour(conn: Conn) -> Conn:
    """A connection whose clock stands still an hour after the real one; `back` sets it back."""
    stop_clock(conn)
    move_clock(conn, "1 hour")
    conn.execute(
        "UPDATE reckoner_installation SET installed_at = reckoner_now() - interval '1 day'"
    )
    return conn


def beat(conn: Conn, name: str = "w") -> list[dict[str, Any]]:
    """A heartbeat, which ends leases that are over."""
    return conn.execute(
        "SELECT * FROM worker_heartbeat(%s, 'host', 1, 'notify', 0, 60, NULL, p_max_crashes => 3)",
        [name],
    ).fetchall()


def health(conn: Conn) -> tuple[str, str]:
    row = conn.execute("SELECT * FROM reckoner_health() WHERE name = 'clocks'").fetchone()
    assert row is not None
    return row["state"], row["message"]


def test_an_event_written_before_does_not_wait(hour: Conn) -> None:
    beat(hour)
    new, later = add(hour, key="1"), add(hour, key="2")
    hour.execute(
        "UPDATE outbox SET status = 'failed', available_at = reckoner_now() + interval '5 minutes' WHERE id = %s",
        [later],
    )
    assert health(hour)[0] == "ok"
    move_clock(hour, "0")
    state, message = health(hour)
    assert state == "warn"
    assert "set back, by about 01:00:00: 2 events, 1 workers lie ahead" in message
    assert claim(hour) == []
    beat(hour)
    assert [row["id"] for row in claim(hour)] == [new]
    wait = "SELECT extract(epoch FROM available_at - reckoner_now())::int FROM outbox WHERE id = %s"
    assert value(hour, wait, [later]) == 300  # its backoff is what it was
    assert health(hour)[0] == "ok"


def test_also_where_no_worker_was_there(hour: Conn) -> None:
    new = add(hour)
    move_clock(hour, "0")
    beat(hour)
    assert [row["id"] for row in claim(hour)] == [new]


def test_a_dead_workers_lease_ends_and_a_living_ones_does_not(hour: Conn) -> None:
    for name, key in (("dead", "1"), ("w", "2")):
        beat(hour, name)
        add(hour, key=key)
        assert claim(hour, worker=name)
    left = add(hour, key="3")
    assert claim(hour, worker="gone")
    move_clock(hour, "0")
    assert beat(hour) == []
    assert value(hour, "SELECT count(*) FROM worker_status WHERE alive") == 2
    move_clock(hour, "61 seconds")
    ended = beat(hour)
    assert {row["worker"] for row in ended} == {"dead", "gone"}
    assert value(hour, "SELECT array_agg(name) FROM worker_status WHERE alive") == ["w"]
    assert live(hour, left)["crashes"] == 1


def test_a_providers_pause_and_pace_go_back_too(hour: Conn) -> None:
    beat(hour)
    hour.execute("SELECT provider_acquire('yahoo', 1)")
    hour.execute("SELECT provider_pause('yahoo', 300, 'HTTP 429')")
    hour.execute("SELECT provider_acquire('fmp', 1)")
    hour.execute(
        "UPDATE reckoner_providers SET next_request_at = reckoner_now() WHERE name = 'fmp'"
    )
    hour.execute(
        "INSERT INTO provider_quotas (name, per_minute, minute_used, minute_from)"
        " VALUES ('fmp', 1, 1, date_trunc('minute', reckoner_now()))"
        " ON CONFLICT (name) DO UPDATE SET per_minute = 1, minute_used = 1, minute_from = excluded.minute_from"
    )
    move_clock(hour, "0")
    beat(hour)
    left = "SELECT extract(epoch FROM paused_until - reckoner_now())::int FROM reckoner_providers WHERE name = 'yahoo'"
    assert value(hour, left) == 300
    row = hour.execute("SELECT * FROM provider_acquire('fmp', 1)").fetchone()
    assert row is not None
    assert (row["paused_until"], row["wait_seconds"]) == (None, 0)


def test_one_wrong_row_moves_no_other(hour: Conn) -> None:
    beat(hour)
    kept = add(hour, key="1")
    assert claim(hour)
    odd = add(hour, key="2", created_at="2999-01-01", available_at="2999-01-01")
    beat(hour)
    lease = (
        "SELECT extract(epoch FROM leased_until - reckoner_now())::int FROM outbox WHERE id = %s"
    )
    assert value(hour, lease, [kept]) == 60
    assert [row["id"] for row in claim(hour)] == [odd]
