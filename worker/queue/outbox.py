"""The queue's verbs: one function for each SQL function of `sql/functions/3*.sql`.

A claim is a transaction of its own, so that other workers see the lease before the work begins. The
other verbs run on the caller's connection. A verb that ends a claim takes its fencing token; when
the lease was lost it changes nothing and reports that.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from psycopg.rows import args_row
from psycopg.types.json import Jsonb

from sql.database import Connection, Database, one

# Per priority: available_at and id of the last event of an earlier claim (claim_cursor.py).
Position = dict[int, tuple[str, int]]


class Claim(NamedTuple):
    """A claimed event. lease: its fencing token. payload: None where it is empty."""

    id: int
    topic: str
    key: str
    payload: dict[str, Any] | None
    priority: int
    attempts: int
    crashes: int
    available_at: str  # text, because an operator may set it to -infinity, which Python cannot hold
    lease: int
    waited: float | None = None  # seconds from insert to claim, where this is the first


class End(NamedTuple):
    """The end of an event without an error. result: what was done, for `outbox_history`."""

    claim: Claim
    verdict: Literal["done", "cancelled"]
    result: dict[str, Any]


# In the order of Claim's fields. A batch has hundreds of events, nearly all with an empty payload.
# date_part and not extract, which goes by way of numeric.
_COLUMNS = (
    "id, topic, key, NULLIF(payload, '{}'), priority, attempts, crashes, available_at::text, lease,"
    " CASE WHEN trail IS NULL THEN date_part('epoch', claimed_at - created_at) END"
)


def claim(
    database: Database,
    topic: str,
    worker: str,
    limit: int,
    lease_seconds: float,
    after: Position | None = None,
) -> list[Claim]:
    """Lease up to `limit` ready events of a topic.

    In the order of the queue, without crashed ones. after: claim only behind this position.
    """
    return database.at_once(
        f"SELECT {_COLUMNS} FROM outbox_claim(%s, %s, %s, %s, %s) o"  # noqa: S608 - a constant
        " ORDER BY o.priority DESC, o.available_at, o.id",
        [topic, worker, limit, lease_seconds, Jsonb(after or {})],
        args_row(Claim),
    )


def claim_crashed(
    database: Database, worker: str, lease_seconds: float, topics: Sequence[str]
) -> Claim | None:
    """Lease one crashed event of these topics; the caller has nothing else in flight."""
    claims = database.at_once(
        f"SELECT {_COLUMNS} FROM outbox_claim_crashed(%s, %s, %s)",  # noqa: S608 - a constant
        [worker, lease_seconds, list(topics)],
        args_row(Claim),
    )
    return claims[0] if claims else None


def lock(conn: Connection, claims: Sequence[Claim]) -> list[Claim]:
    """Lock the events whose lease is still valid, until the transaction ends; returns their claims."""
    wanted = [{"id": claim.id, "lease": claim.lease} for claim in claims]
    rows = conn.execute("SELECT outbox_lock(%s) AS id", [Jsonb(wanted)])
    locked = {row["id"] for row in rows}
    return [claim for claim in claims if claim.id in locked]


def finish(conn: Connection, ends: Sequence[End]) -> int:
    """Move events to `outbox_history`; returns how many leases were still valid."""
    rows = [
        {"id": claim.id, "lease": claim.lease, "verdict": verdict, "result": result}
        for claim, verdict, result in ends
    ]
    return conn.execute("SELECT outbox_finish(%s)", [Jsonb(rows)]).rowcount


def hand_back(
    conn: Connection, claims: Sequence[Claim], behind: Sequence[Claim], priority: int
) -> int:
    """Make unstarted events ready again, behind those that wait; returns how many.

    behind: those that also get this priority.
    """
    mine = [
        {"id": c.id, "lease": c.lease, "priority": priority if c in behind else c.priority}
        for c in claims
    ]
    return int(one(conn, "SELECT outbox_hand_back(%s) AS n", [Jsonb(mine)])["n"])


# Why a failure may not be the event's own fault; see outbox_fail().
Excuse = Literal["locked", "common", "alike"]


def fail(
    conn: Connection, claim: Claim, error: str, max_attempts: int, excuse: Excuse | None = None
) -> str | None:
    """Count a failure, unless it has an excuse that holds; returns the event's new status.

    One of failed, dead, merged and, with an excuse that holds, delayed; None for a lost lease.
    """
    return _status(
        conn,
        "SELECT outbox_fail(%s, %s, %s, %s, %s) AS status",
        [claim.id, claim.lease, error, max_attempts, excuse],
    )


def delay(conn: Connection, claim: Claim, until: dt.datetime, reason: str) -> str | None:
    """Delay an event without counting an attempt; returns None for a lost lease."""
    return _status(
        conn,
        "SELECT outbox_delay(%s, %s, %s, %s) AS status",
        [claim.id, claim.lease, until, reason],
    )


def delay_hidden(conn: Connection, claim: Claim, reason: str) -> str | None:
    """Delay an event whose prediction cannot be seen: a minute, and an older one up to an hour."""
    return _status(
        conn, "SELECT outbox_delay_hidden(%s, %s, %s) AS status", [claim.id, claim.lease, reason]
    )


def _status(conn: Connection, query: str, arguments: list[Any]) -> str | None:
    row = conn.execute(query.encode(), arguments).fetchone()
    return row["status"] if row else None


def release(conn: Connection, worker: str, keep: Sequence[int] = ()) -> list[int]:
    """Hand back all events leased to this worker, except the leases `keep`; returns their ids."""
    query = "SELECT outbox_release(%s, %s::bigint[]) AS id"
    return [row["id"] for row in conn.execute(query, [worker, list(keep)])]


def expire(conn: Connection, max_crashes: int) -> list[dict[str, Any]]:
    """End leases whose time is over.

    Returns id, topic, key, worker and new status of each.
    """
    return conn.execute("SELECT * FROM outbox_expire(%s)", [max_crashes]).fetchall()


def seconds_to_next(conn: Connection, after: Mapping[str, Position]) -> float | None:
    """Return the seconds until the next waiting event is due.

    Negative when it is due; None when no event waits. after: the topics, each with the position
    behind which to search.
    """
    row = conn.execute(
        "SELECT extract(epoch FROM outbox_next_at(%s, %s) - reckoner_now())::float8 AS seconds",
        [list(after), Jsonb(dict(after))],
    ).fetchone()
    return row["seconds"] if row else None
