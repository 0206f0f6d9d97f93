"""`worker enqueue`: events for predictions that were there before the trigger.

Two walks over the predictions, in bites of ten thousand ids: the first finds out what it
will cost, the second writes. Each bite is its own transaction, so it may be interrupted and
started again; what has an event or an outcome already is passed over.
"""

import datetime as dt
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.progress import Progress

from market.cli.console import drawing
from market.settings import MarketSettings
from sql.database import Database, one

_BITE = 10_000


@dataclass(frozen=True)
class Cost:
    """What events for all missing predictions ask of providers. seconds: at the provider's pace."""

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
) -> Cost:
    """Walk over the predictions and say what their events would cost; changes nothing."""
    first: dict[str, dt.date] = {}
    last: dict[str, dt.date] = {}
    seen = missing = 0
    bites = _bites(database, since, dry_run=True, what="counting", max_symbols=max_symbols)
    for bite in bites:
        seen, missing = seen + bite["seen"], missing + bite["missing"]
        columns = (bite[name] or [] for name in ("symbols", "first_days", "last_days"))
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
    database: Database, since: dt.datetime | None, *, dry_run: bool = False
) -> dict[str, int]:
    """Write the missing events of low priority; since: only posts of that moment or later (UTC).

    Returns counts before and after; a dry_run only counts. Progress goes to stderr when that
    is a terminal.
    """
    before, written = _waiting(database), 0
    if not dry_run:
        bites = _bites(database, since, dry_run=False, what="enqueueing")
        written = sum(bite["missing"] for bite in bites)
    return {"enqueued": written, "waiting_before": before, "waiting_after": _waiting(database)}


def _waiting(database: Database) -> int:
    with database.transaction() as conn:
        return int(one(conn, "SELECT count(*) AS n FROM outbox WHERE status <> 'dead'")["n"])


def _bites(
    database: Database,
    since: dt.datetime | None,
    *,
    dry_run: bool,
    what: str,
    max_symbols: int = 100,
) -> Iterator[dict[str, Any]]:
    with database.transaction() as conn:
        total = one(conn, "SELECT count(*) AS n FROM predictions")["n"]
    last = 0
    with Progress(
        console=drawing(sys.stderr),
        disable=not sys.stderr.isatty(),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task(what, total=total)
        while True:
            with database.transaction() as conn:
                bite = one(
                    conn,
                    "SELECT * FROM enqueue_predictions(%s, %s, %s, %s, %s)",
                    [last, _BITE, since, dry_run, max_symbols],
                )
            if not bite["seen"]:
                return
            yield bite
            last = bite["last_id"]
            progress.advance(task, bite["seen"])
