"""The sweep: finds work that has no event. Each part is one SQL function (60_sweep.sql).

One worker sweeps at a time (a transaction-level advisory lock), and any worker can. A part that
fails stops no other part.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import structlog

from market.universe import sessions
from sql.database import Database, error_line, is_away
from sql.schema import locks
from worker.metrics import Metrics
from worker.queue import outbox
from worker.settings import WorkerSettings

_HISTORY_DAYS = 30
# A year can be compared with the one before.
_RECORD_DAYS = 400
# How many ids one sweep looks at: the newest, and as many of the slow walk over all.
_FORGOTTEN_SPAN = 20_000
# The same for comparing predictions with their outcome rows, at some 20 us each.
_CHANGED_SPAN = 2_000
# For the length of a part's transaction: sweeping is one worker's at a time.
_OURS = f"pg_try_advisory_xact_lock({locks.KEY}, {locks.SWEEPING})"
_PARTS = ("forgotten", "changed", "closures", "due", "unfetched", "pruned", "records", "sync")

log = structlog.get_logger()


def once(
    database: Database, settings: WorkerSettings, *, dry_run: bool = False, sync: bool = True
) -> dict[str, Any] | None:
    """Sweep once; returns what each part found, or None while another worker sweeps.

    sync: also write the events of the daily sync; False where `worker/daily_sync.py` does it.
    dry_run does it all and rolls it back. Raises psycopg.Error when the database is away.
    """
    found: dict[str, Any] = {}
    parts: dict[str, tuple[Any, ...]] = {
        "forgotten": ("sweep_forgotten(%s)", _FORGOTTEN_SPAN),
        "changed": ("sweep_changed(%s, %s)", _CHANGED_SPAN, settings.worker_max_symbols),
        "closures": ("sweep_closures() + sweep_misplaced()",),
        "due": ("sweep_due()",),
        "unfetched": ("sweep_unfetched()",),
        "pruned": ("sweep_prune(%s)", _HISTORY_DAYS),
        # Payloads, and records of what was done, that are old enough.
        "records": (
            "sweep_payloads(%s) + sweep_records(%s) + sweep_jobs(%s)",
            settings.raw_retention_days,
            _RECORD_DAYS,
            _RECORD_DAYS,
        ),
    }
    if sync and settings.worker_daily_sync:
        parts["sync"] = ("sweep_sync()",)
    for part, (call, *arguments) in parts.items():
        try:
            with database.transaction() as conn:
                row = conn.execute(
                    f"SELECT {call} AS n WHERE {_OURS}".encode(), arguments or None
                ).fetchone()
                if row is None:
                    return None
                found[part] = row["n"]
                if dry_run:
                    conn.rollback()
        except psycopg.Error as error:
            if is_away(error):
                raise
            log.error("a part of the sweep failed", part=part, error=error_line(error))
            found[part] = None
    if not dry_run:
        with database.transaction() as conn:
            conn.execute("SELECT sweep_ended()")
        found["sessions"] = sum(sessions.ensure(database).values())
    return found


def holder(database: Database) -> str:
    """Who holds the lock of sweeping, as the end of a sentence; empty where nobody does any more."""
    with database.transaction(seconds=10) as conn:
        keeper = locks.keeper(conn, locks.SWEEPING)
    return f": {keeper}" if keeper else ""


def end_leases(database: Database, settings: WorkerSettings, *, dry_run: bool = False) -> int:
    """End the leases that are over and log whose they were; returns how many.

    For the command alone. A worker ends them with its heartbeat, which renews its own leases first:
    otherwise a worker resumed after a pause would expire its own leases.
    """
    with database.transaction(seconds=10) as conn:
        ended = outbox.expire(conn, settings.worker_max_crashes)
        if dry_run:
            conn.rollback()
            return len(ended)
    log_crashed(ended)
    return len(ended)


def log_crashed(ended: Sequence[Mapping[str, Any]]) -> None:
    """Log crashed events: whose lease ended without a verdict."""
    for event in ended:
        log.warning(
            "lease ended without a verdict",
            id=event["id"],
            topic=event["topic"],
            key=event["key"],
            leased_by=event["worker"],
            now=event["status"],
        )


def report(found: Mapping[str, Any], metrics: Metrics) -> None:
    """Count what a sweep found, and log it when there was anything."""
    for part in _PARTS:
        metrics.swept.labels(part).inc(found.get(part) or 0)
    if any(found.values()):
        log.info("swept", **found)
