"""Every round trip of psycopg waits for its actor's turn.

The hook is `Connection.wait`, through which each statement of each connection goes, those of the
project's pool too. So the code under test is the product's, unchanged. A thread that is not an actor's
passes.

No gate: BEGIN (it takes no snapshot and no lock; its gate is that of the next statement), reading
notifications, and statements on rows that no invariant is about: limits of providers, the audit of
fetches, snapshots (tests/market/test_snapshots.py tries their orders). Nor the COMMIT of a transaction
that had no other statements.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import psycopg
from psycopg.pq import TransactionStatus

from tests.interleavings.actors import Actor, current

_wait = psycopg.Connection.wait

# What has no gate of its own.
_PASSING = re.compile(
    r"set_config|provider_|reckoner_providers|validation_known|ingestion_|payloads_keep|ticker_calendars_missing"
    r"|snapshots?_[a-z]|last_price_update FROM"
    r"|outbox_next_at|ticker_fetch_started|actions_merge|sessions_wanted|worker_leave|job"
)
# What changes nothing and locks nothing: it has a gate, and the COMMIT behind it has none.
_READING = re.compile(r"ticker_plan|^SELECT count")
_FUNCTION = re.compile(
    r"\b((?:outbox|outcomes|ticker|bars|sweep|doorbell|worker|registry|pg)_\w+)\s*\("
)
_STEPS = {"_execute_gen", "_executemany_gen_no_pipeline", "_commit_gen", "_rollback_gen"}


@contextmanager
def gated() -> Iterator[None]:
    """Let every statement of an actor wait for its turn while the body runs."""

    def wait(self: Any, gen: Any, *args: Any, **kwargs: Any) -> Any:
        actor = current()
        if actor is None:
            return _wait(self, gen, *args, **kwargs)
        cut = _step(actor, self, gen)
        found = _wait(self, gen, *args, **kwargs)
        if cut == "after":
            _break(self)
        return found

    with patch.object(psycopg.Connection, "wait", wait):
        yield


def _step(actor: Actor, conn: Any, gen: Any) -> str | None:
    """Stop at the gate of a statement; returns `after` where its answer is to be lost."""
    kind = gen.gi_code.co_name
    text = _text(kind, gen) if kind in _STEPS else None
    if text is None or _passes(actor, conn, kind, text):
        return None
    actor.gate(label(text))
    cut, actor.group.cut = actor.group.cut, None
    if cut == "before":
        _break(conn)
    return cut


def _passes(actor: Actor, conn: Any, kind: str, text: str) -> bool:
    """Whether a statement has no gate."""
    group, pid = actor.group, conn.pgconn.backend_pid
    group.conns[pid] = conn
    group.users[pid] = actor
    actor.pid = pid
    if kind != "_execute_gen":
        is_idle = conn.pgconn.transaction_status == TransactionStatus.IDLE
        return is_idle or group.only_reads.get(pid, False)
    if _is_begin(text):
        group.only_reads[pid] = True
        return True
    if _PASSING.search(text):
        return True
    if not _READING.search(text):
        group.only_reads[pid] = False
    return False


def _text(kind: str, gen: Any) -> str:
    if kind == "_commit_gen":
        return "COMMIT"
    if kind == "_rollback_gen":
        return "ROLLBACK"
    query = gen.gi_frame.f_locals["query"]
    return query.decode() if isinstance(query, bytes) else str(query)


def _is_begin(text: str) -> bool:
    """Whether a text begins a transaction, with its settings, and does no more."""
    parts = [part.strip() for part in text.split(";")]
    return parts[0].startswith("BEGIN") and all(part.startswith("SET ") for part in parts[1:])


def _break(conn: Any) -> None:
    conn.pgconn.finish()
    raise psycopg.OperationalError("server closed the connection unexpectedly")


def label(text: str) -> str:
    """Name a statement: the function of ours that it calls, else its first words."""
    found = _FUNCTION.search(text)
    return found[1] if found else " ".join(text.split())[:60]
