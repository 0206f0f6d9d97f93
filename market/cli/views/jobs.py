"""Screens of jobs: `backfill`, `data-sync` and the like, `backfill-status`."""

from collections import Counter
from collections.abc import Sequence

from market.cli.display import Column, View
from market.cli.display.view import Row
from market.cli.views.words import MARKET, WORKER, count, counted


def _state(row: Row) -> str:
    if row["left"]:
        return "working" if row["workers"] else "waiting"
    return "failed" if row["failed"] else "done"


_COLUMNS = (
    Column("job", rank=0, kind="text"),
    Column("kind", rank=1),
    Column("state", rank=0, kind="state", value=_state),
    Column("symbols", rank=1),
    Column("done", rank=1, kind="count"),
    Column("failed", rank=1, kind="count"),
    Column("left", rank=1),
    Column("rows", "bars", rank=2),
    Column("rows_per_second", "bars/s", rank=4, kind="count"),
    Column("eta", "to go", rank=3),
    Column("range_from", "from", rank=3),
    Column("range_to", "to", rank=3),
    Column("providers", rank=5),
    Column("workers", "workers alive", rank=6),
    Column("waits_for", "waits for", rank=2, least=16),
    Column("created_at", "began", rank=2),
    Column("settled_at", "ended", rank=4),
)


def job(row: Row) -> View:
    """View of one job, also of a dry run, which has no number."""
    return View(_COLUMNS, summary=_sentence(row), next=_next(row))


def _sentence(row: Row) -> str:
    symbols, span = count(row["symbols"], "symbol"), f"{row['range_from']} to {row['range_to']}"
    if row["job"] is None:
        if not row["left"]:
            return f"Nothing to do: every session of {span} is stored."
        return f"Dry run: {row['left']:,} of {symbols} would be fetched, {span}."
    name = f"Job {row['job']} ({row['kind']})"
    if row["left"]:
        late = "" if row["workers"] else "; no worker is alive"
        failed = f", {row['failed']:,} failed" if row["failed"] else ""
        return f"{name}: {row['left']:,} of {symbols} left{failed}{late}."
    bars = count(row["rows"], "bar") + " stored"
    if row["failed"]:
        return f"{name} ended: {row['failed']:,} of {symbols} failed, {bars}."
    if not row["rows"]:
        return f"{name}: nothing to do, every session is stored."
    return f"{name} is done: {symbols}, {bars}."


def _next(row: Row) -> list[str]:
    if row["job"] is None:
        return []
    status = f"{MARKET} backfill-status {row['job']}"
    if row["left"]:
        return [f"{status} --watch"] if row["workers"] else [WORKER, f"{status} --watch"]
    if row["failed"]:
        return [f"{status} --symbols", f"{MARKET} backfill --resume {row['job']}"]
    return []


def listing(rows: Sequence[Row]) -> View:
    """View of the newest jobs."""
    states = Counter(map(_state, rows))
    parts = [(states["working"] + states["waiting"], "under way"), (states["failed"], "failed")]
    order = ("waiting", "working", "failed", "done")
    first = min(rows, key=lambda row: (order.index(_state(row)), -row["job"]), default=None)
    return View(
        _COLUMNS,
        sort=lambda row: (not row["left"], -row["job"]),
        summary=f"{count(len(rows), 'job')}: {counted(parts, 'all done')}." if rows else "",
        next=_next(first) if first else [],
        empty="No job: python -m market data-sync writes one.",
        record=False,
    )


def symbols(rows: Sequence[Row], number: int) -> View:
    """View of the symbols of a job."""
    order = ("failed", "parked", "cancelled", "working", "waiting", "done")
    states = Counter(row["state"] for row in rows)
    parts = [(states[name], name) for name in order if name in states]
    return View(
        [
            Column("symbol", rank=0),
            Column("state", rank=0),
            Column("rows", "bars", rank=1),
            Column("reason", "why", rank=1, least=16),
            Column("provider", rank=2),
            Column("settled_at", "ended", rank=3),
            Column("want_from", "from", rank=4),
        ],
        sort=lambda row: (
            order.index(row["state"]) if row["state"] in order else -1,
            row["symbol"],
        ),
        summary=f"Job {number}, {count(len(rows), 'symbol')}: {counted(parts)}." if rows else "",
        next=[f"{MARKET} backfill --resume {number}"] if states["failed"] else [],
        empty=f"Job {number} has no symbol.",
        record=False,
    )
