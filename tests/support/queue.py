"""The queue in tests: its SQL functions, one call each, and looks at the events of a key."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Notify
from psycopg.types.json import Jsonb

from tests.support.db import Conn, connect, value
from tests.support.waiting import until

Row = dict[str, Any]


def add(conn: Conn, topic: str = "prediction", key: str = "1", **columns: Any) -> int:
    """Write one event as the triggers do, with other columns where given; returns its id."""
    columns = {"topic": topic, "key": key, **columns}
    names = ", ".join(columns)
    marks = ", ".join(["%s"] * len(columns))
    return int(
        value(
            conn,
            f"INSERT INTO outbox ({names}) VALUES ({marks}) RETURNING id",  # noqa: S608
            list(columns.values()),
        )
    )


def find(conn: Conn, number: int) -> Row | None:
    """A live event, or None."""
    return conn.execute("SELECT * FROM outbox WHERE id = %s", [number]).fetchone()


def live(conn: Conn, number: int) -> Row:
    """A live event that must be there."""
    row = find(conn, number)
    assert row is not None, f"event {number} is not live"
    return row


def finished(conn: Conn, number: int) -> Row:
    """A finished event that must be there."""
    row = conn.execute("SELECT * FROM outbox_history WHERE id = %s", [number]).fetchone()
    assert row is not None, f"event {number} is not in history"
    return row


def claim(
    conn: Conn, topic: str = "prediction", worker: str = "w", limit: int = 100, seconds: float = 60
) -> list[Row]:
    return conn.execute(
        "SELECT * FROM outbox_claim(%s, %s, %s, %s) ORDER BY id", [topic, worker, limit, seconds]
    ).fetchall()


def claim_one(conn: Conn, topic: str = "prediction", worker: str = "w") -> Row:
    """The one event that is ready."""
    rows = claim(conn, topic, worker)
    assert len(rows) == 1, rows
    return rows[0]


def claim_crashed(conn: Conn, worker: str = "w", seconds: float = 60) -> list[Row]:
    return conn.execute("SELECT * FROM outbox_claim_crashed(%s, %s)", [worker, seconds]).fetchall()


def lock(conn: Conn, *claims: Row) -> list[int]:
    mine = [{"id": c["id"], "lease": c["lease"]} for c in claims]
    rows = conn.execute("SELECT outbox_lock(%s) AS id", [Jsonb(mine)])
    return [row["id"] for row in rows]


def finish(conn: Conn, *claims: Row, verdict: str = "done") -> list[int]:
    ends = [
        {"id": c["id"], "lease": c["lease"], "verdict": verdict, "result": {"n": 1}} for c in claims
    ]
    rows = conn.execute("SELECT outbox_finish(%s) AS id", [Jsonb(ends)])
    return [row["id"] for row in rows]


def fail(conn: Conn, claimed: Row, error: str = "boom", most: int = 8) -> str | None:
    return _status(
        conn,
        "SELECT outbox_fail(%s, %s, %s, %s) AS status",
        [claimed["id"], claimed["lease"], error, most],
    )


def delay(conn: Conn, claimed: Row, by: str = "1 hour", reason: str = "paused") -> str | None:
    return _status(
        conn,
        "SELECT outbox_delay(%s, %s, reckoner_now() + %s::interval, %s) AS status",
        [claimed["id"], claimed["lease"], by, reason],
    )


def expire(conn: Conn, most: int = 3) -> list[Row]:
    return conn.execute("SELECT * FROM outbox_expire(%s)", [most]).fetchall()


def release(conn: Conn, worker: str = "w") -> list[int]:
    return [row["id"] for row in conn.execute("SELECT outbox_release(%s) AS id", [worker])]


def enqueue(conn: Conn, *symbols: str, priority: int = 0, named: bool = True) -> int:
    return int(value(conn, "SELECT ticker_enqueue(%s, %s, %s)", [list(symbols), priority, named]))


def _status(conn: Conn, query: str, arguments: list[Any]) -> str | None:
    row = conn.execute(query.encode(), arguments).fetchone()
    return row["status"] if row else None


Rings = Callable[[], int]


@contextmanager
def ear(url: str) -> Iterator[Rings]:
    """A connection that listens; yields a function that counts the rings since its last call.

    It waits for nothing: a notification of its own comes after all that were committed before.
    """
    heard: list[Notify] = []
    with connect(url) as conn:
        conn.add_notify_handler(heard.append)
        conn.execute("LISTEN reckoner")
        conn.execute("LISTEN all_before")

        def rings() -> int:
            conn.execute("NOTIFY all_before")
            while not any(note.channel == "all_before" for note in heard):
                conn.execute("SELECT 1")
            count = sum(note.channel == "reckoner" for note in heard)
            heard.clear()
            return count

        yield rings


def is_fresh(row: Row) -> bool:
    """Whether an event looks as if nothing had ever happened to it."""
    return (
        row["status"] == "pending"
        and (row["attempts"], row["crashes"]) == (0, 0)
        and row["lease"] is row["leased_by"] is row["leased_until"] is row["last_error"] is None
    )


def arm(conn: Conn) -> str:
    return str(value(conn, "SELECT doorbell_arm()"))


def disarm(conn: Conn) -> bool:
    return bool(value(conn, "SELECT doorbell_disarm()"))


def event(conn: Conn, key: str | int, topic: str = "ticker") -> dict[str, Any] | None:
    """The live event of a key."""
    return conn.execute(
        "SELECT * FROM outbox WHERE topic = %s AND key = %s", [topic, str(key)]
    ).fetchone()


def until_processing(conn: Conn, key: str | int, topic: str = "ticker") -> dict[str, Any]:
    """Wait until a worker holds the key's event."""

    def probe() -> dict[str, Any] | None:
        found = event(conn, key, topic)
        return found if found and found["status"] == "processing" else None

    found = until(f"a worker holds {key}", probe)
    assert found is not None
    return found


def history(conn: Conn, key: str | int, topic: str = "ticker") -> list[dict[str, Any]]:
    """The finished events of a key, oldest first."""
    return conn.execute(
        "SELECT * FROM outbox_history WHERE topic = %s AND key = %s ORDER BY id", [topic, str(key)]
    ).fetchall()


def until_done(conn: Conn, key: str | int, topic: str = "ticker") -> None:
    """Wait until an event of the key is finished."""
    until(f"the event of {key} is done", lambda: history(conn, key, topic))
