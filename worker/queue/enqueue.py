"""Events for predictions that are older than the trigger: their cost, and writing them.

Two walks over the predictions in chunks of ten thousand ids: the first estimates the cost, the
second writes. Each chunk is its own transaction, so the walk may be interrupted and started again;
predictions that have an event or an outcome are passed over.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from market.settings import MarketSettings
from sql.database import Database, one

_CHUNK = 10_000
# Below every id of a prediction, which may be negative.
_BEFORE_ALL = -(2**63)

# Called after each chunk with the predictions seen so far, and with their total.
Advance = Callable[[int, int], None]


def _silent(_seen: int, _total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Cost:
    """The cost of events for all missing predictions. seconds: at the provider's pace."""

    predictions: int
    would_enqueue: int
    tickers: int
    new_tickers: int
    requests: int
    provider: str
    seconds: float

    def __str__(self) -> str:
        pace = f", at least {dt.timedelta(seconds=round(self.seconds))} at its pace"
        return (
            f"{self.would_enqueue} of {self.predictions} predictions wait; they name {self.tickers} tickers,"
            f" {self.new_tickers} of them new: about {self.requests} requests to {self.provider}"
            f"{pace if self.seconds >= 1 else ''}"
        )


def estimate(
    database: Database,
    settings: MarketSettings,
    since: dt.datetime | None,
    max_symbols: int = 100,
    advance: Advance = _silent,
) -> Cost:
    """Estimate what the events of all missing predictions cost; changes nothing."""
    first: dict[str, dt.date] = {}
    last: dict[str, dt.date] = {}
    seen = missing = 0
    for chunk in _chunks(database, since, advance, dry_run=True, max_symbols=max_symbols):
        seen, missing = seen + chunk["seen"], missing + chunk["missing"]
        columns = (chunk[name] or [] for name in ("symbols", "first_days", "last_days"))
        for symbol, first_day, last_day in zip(*columns, strict=True):
            first[symbol] = min(first_day, first.get(symbol, first_day))
            last[symbol] = max(last_day, last.get(symbol, last_day))
    provider = settings.provider_names[0]
    with database.transaction() as conn:
        cost = one(
            conn,
            "SELECT c.*, (c.requests * extract(epoch FROM coalesce(p.spacing, '0')))::float8 AS seconds"
            " FROM enqueue_cost(%s::text[], %s::date[], %s::date[], %s) c"
            " LEFT JOIN reckoner_providers p ON p.name = %s",
            [
                list(first),
                list(first.values()),
                [last[s] for s in first],
                settings.backfill_days,
                provider,
            ],
        )
    return Cost(predictions=seen, would_enqueue=missing, provider=provider, **cost)


def enqueue(
    database: Database,
    since: dt.datetime | None,
    advance: Advance = _silent,
    *,
    dry_run: bool = False,
) -> dict[str, int]:
    """Write the missing events with low priority; returns counts before and after.

    since: only posts of that moment or later (UTC). dry_run: only count.
    """
    before, written = _waiting(database), 0
    if not dry_run:
        chunks = _chunks(database, since, advance, dry_run=False)
        written = sum(chunk["missing"] for chunk in chunks)
    return {"enqueued": written, "waiting_before": before, "waiting_after": _waiting(database)}


def _waiting(database: Database) -> int:
    with database.transaction() as conn:
        return int(one(conn, "SELECT count(*) AS n FROM outbox WHERE status <> 'dead'")["n"])


def _chunks(
    database: Database,
    since: dt.datetime | None,
    advance: Advance,
    *,
    dry_run: bool,
    max_symbols: int = 100,
) -> Iterator[dict[str, Any]]:
    with database.transaction() as conn:
        total = one(conn, "SELECT count(*) AS n FROM predictions")["n"]
    last, seen = _BEFORE_ALL, 0
    while True:
        with database.transaction() as conn:
            chunk = one(
                conn,
                "SELECT * FROM enqueue_predictions(%s, %s, %s, %s, %s)",
                [last, _CHUNK, since, dry_run, max_symbols],
            )
        if not chunk["seen"]:
            return
        yield chunk
        last, seen = chunk["last_id"], seen + chunk["seen"]
        advance(seen, total)
