"""The sweep: finds work that has no event. Each part is one SQL function (60_sweep.sql).

Any worker sweeps, one at a time: a transaction-level advisory lock decides. A part that fails does
not stop the others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import structlog
from psycopg.rows import dict_row

from market.snapshots import Benchmark, refresh
from market.universe import sessions
from sql.away import is_away
from sql.database import Database, error_line, trying
from sql.schema import locks
from worker import retention
from worker.faults import Faults
from worker.metrics import Metrics
from worker.queue import outbox
from worker.settings import WorkerSettings

# Ids that one sweep checks: the newest, and as many of the slow walk over all.
_FORGOTTEN_SPAN = 20_000
# The same for comparing predictions with their outcome rows, at some 20 us each.
_CHANGED_SPAN = 2_000
# The same for comparing outcomes with their bars, at some 40 us each.
_RESTATED_SPAN = 1_000
# The same for comparing snapshots with their bars, at 0.6 ms a symbol with ten years.
_SNAPSHOTS_SPAN = 50
# For computing what is due; the rest waits for the next sweep.
SNAPSHOTS_SECONDS = 5.0
# Held for a part's transaction, so that one worker sweeps at a time.
_OURS = "sweep_turn()"
# Who has that turn.
_HOLDER = "SELECT pid, role, app FROM lock_holders() WHERE number = lock_number('sweeping') LIMIT 1"
log = structlog.get_logger()


def once(
    database: Database,
    settings: WorkerSettings,
    *,
    dry_run: bool = False,
    sync: bool = True,
    faults: Faults | None = None,
    channels: Sequence[str] = (),
    benchmark: Benchmark | None = None,
) -> dict[str, Any] | None:
    """Sweep once; returns each part's count, or None while another worker sweeps.

    sync: also write the events of the daily sync; False where `worker/daily_sync.py` does it.
    dry_run: do it all and roll it back. faults: where parts that fail are noted. benchmark: also
    find snapshots whose bars changed, and compute those that are due. Raises psycopg.Error when the
    database is away. channels: where alerts go that name no channel.
    """
    found: dict[str, Any] = {}
    faults = faults or Faults()
    parts: dict[str, tuple[Any, ...]] = {
        # First, because the others write rows that need numbers. No rollback takes a number back.
        "sequences": (
            "(SELECT count(*) FROM sequences_behind() WHERE is_ours)"
            if dry_run
            else "sequences_mend()",
        ),
        "forgotten": ("sweep_forgotten(%s)", _FORGOTTEN_SPAN),
        "changed": ("sweep_changed(%s, %s)", _CHANGED_SPAN, settings.worker_max_symbols),
        "closures": ("sweep_closures() + sweep_misplaced()",),
        # Outcomes whose bars changed while they were computed, or behind our backs.
        "restated": ("sweep_refill() + sweep_restated(%s)", _RESTATED_SPAN),
        "due": ("sweep_due()",),
        # Also what another program holds by SQL.
        "unfetched": ("sweep_unfetched() + (SELECT count(*) FROM tracked_register())",),
        **retention.parts(settings),
        # Runs that nobody works on any more, and schedules whose calendar is loaded now.
        "runs": ("sweep_runs() + sweep_schedules()",),
        # Messages about what is wrong; after the other parts, which mend some of it.
        "alerts": ("alerts_check(%s::text[])", [*channels]),
        # Messages about outcomes, for those who subscribed.
        "webhooks": ("outcomes_announce()",),
    }
    if benchmark is not None:
        parts["snapshots"] = (
            "snapshots_walk(%s, %s, %s)",
            _SNAPSHOTS_SPAN,
            refresh.engine_version(),
            benchmark.symbol,
        )
    if sync and settings.worker_daily_sync:
        parts["sync"] = ("sweep_sync()",)
    for part, (call, *arguments) in parts.items():
        try:
            rows = _ask(database, f"SELECT {call} AS n WHERE {_OURS}", arguments, dry_run=dry_run)
            if not rows:
                return None
            found[part] = rows[0]["n"]
            faults.note(f"sweeping ({part})", None)
        except psycopg.Error as error:
            if is_away(database, error):
                raise
            log.error("a part of the sweep failed", part=part, error=error_line(error))
            faults.note(f"sweeping ({part})", error_line(error))
            found[part] = None
    if not dry_run:
        _ask(database, "SELECT sweep_ended()", [], dry_run=False)
        if benchmark is not None:
            done = refresh.due(database, benchmark, seconds=SNAPSHOTS_SECONDS)
            found["computed"] = done.stored
            for symbol, reason in done.failed.items():
                log.warning("snapshot stays due", symbol=symbol, reason=reason)
        found["sessions"] = sum(sessions.ensure(database).values())
    return found


def _ask(
    database: Database, query: str, values: Sequence[Any], *, dry_run: bool
) -> list[dict[str, Any]]:
    """Run one statement as a transaction of its own; returns its rows."""
    if dry_run:
        with database.transaction() as conn, trying(conn, dry_run=True):
            return conn.execute(query.encode(), values or None).fetchall()
    # In one message: a sweep has a dozen, and an idle worker sends at most one a second
    # (tests/benchmarks/idle.py).
    return database.at_once(query, values, dict_row, seconds=60)


def holder(database: Database) -> str:
    """Return the holder of the sweeping lock.

    As the end of a sentence; empty when the lock is free.
    """
    with database.transaction(seconds=10) as conn:
        row = conn.execute(_HOLDER).fetchone()
    if row is None:
        return ""
    return f": {locks.Keeper(row['pid'], row['role'] or '?', row['app'], is_stranger=False)}"


def end_leases(database: Database, settings: WorkerSettings, *, dry_run: bool = False) -> int:
    """End leases whose time is over, and log their events; returns how many.

    Only for the command. A worker ends them with its heartbeat, which renews its own leases first:
    otherwise a worker resumed after a pause would expire its own leases.
    """
    with database.transaction(seconds=10) as conn, trying(conn, dry_run=dry_run):
        ended = outbox.expire(conn, settings.worker_max_crashes)
    if not dry_run:
        log_crashed(ended)
    return len(ended)


def log_crashed(ended: Sequence[Mapping[str, Any]]) -> None:
    """Log crashed events, whose lease ended without a verdict."""
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
    """Count the findings of a sweep, and log them when there are any."""
    for part, count in found.items():
        metrics.swept.labels(part).inc(count or 0)
    if any(found.values()):
        log.info("swept", **found)
