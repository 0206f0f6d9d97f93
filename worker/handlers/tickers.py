"""Ticker events: fetch what a symbol lacks, store it with the outcomes that follow, end the event.

The fetch is slow and holds no transaction; storing is one transaction and may be repeated.
"""

import time
from collections.abc import Sequence
from typing import Any

import structlog

from market.prices import backfill, jobs
from market.prices.ingestion import Run
from worker.context import LOCK_SECONDS, Context
from worker.queue import outbox
from worker.queue.outbox import Claim, End

log = structlog.get_logger()


def handle(context: Context, claims: Sequence[Claim]) -> None:
    """Work on one ticker event; a batch of this topic has one event."""
    [claim] = claims
    started = time.monotonic()
    work = TickerWork(context, claim)
    with context.tracer.span("ticker", claims):
        context.retry("planning a fetch", work.fetch)
        result = context.retry("storing prices", work.store)
    context.metrics.count_end("ticker", result["verdict"])
    context.metrics.bars_written.inc(result.get("inserted", 0) + result.get("updated", 0))
    log.info(
        "ticker processed",
        id=claim.id,
        topic=claim.topic,
        key=claim.key,
        **result,
        milliseconds=round((time.monotonic() - started) * 1000, 1),
    )


class TickerWork:
    """One ticker event in its two halves: `fetch` (slow, no transaction) and `store` (repeatable)."""

    def __init__(self, context: Context, claim: Claim) -> None:
        self._context = context
        self._claim = claim
        self._plan: backfill.Plan | None = None
        self._result: backfill.Result | None = None

    def fetch(self) -> None:
        """Find out what is missing and ask providers for it."""
        refetch = bool((self._claim.payload or {}).get("refetch"))
        days = self._context.market.backfill_days
        self._plan = backfill.prepare(
            self._context.database, self._claim.key, days, refetch=refetch
        )
        if self._plan is not None:
            self._result = backfill.fetch(
                self._context.database,
                self._context.providers,
                self._plan,
                self._context.wait,
                by_merit=self._context.market.chooses,
            )

    def store(self) -> dict[str, Any]:
        """Write what was fetched, what follows from it, and the event's end; returns it for the log."""
        with self._context.database.transaction(300, lock_seconds=LOCK_SECONDS) as conn:
            if not outbox.lock(conn, [self._claim]):
                return {"verdict": "lost", "outcome": "lease lost"}
            if self._plan is None:
                end = End(
                    self._claim, "cancelled", {"reason": "the symbol is not in ticker_registry"}
                )
                outbox.finish(conn, [end])
                return {"verdict": "cancelled", "outcome": "cancelled", **end.result}
            result = self._result
            last = self._claim.attempts + 1 >= self._context.max_attempts
            if isinstance(result, backfill.NoData) and last:
                result = result.nothing  # asked often enough: there is nothing to have
            run = Run(
                jobs.run_name(f"event {self._claim.id}", self._plan),
                self._context.market.raw_retention_days,
            )
            summary = backfill.store(conn, self._plan, result, run)
            done = {"outcome": summary.outcome, **summary.details}
            if settled := jobs.settle(conn, self._plan, result, summary, last=last):
                done["jobs"] = settled
            match result:
                case backfill.Deferred(until=until, reason=reason):
                    outbox.delay(conn, self._claim, until, reason)
                    return {"verdict": "delayed", **done}
                case backfill.Failed() if settled:
                    # It was a job that asked too much of the providers, and the job knows it now;
                    # what else needs the ticker must not find it parked for that.
                    outbox.finish(conn, [End(self._claim, "done", done)])
                    return {"verdict": "done", **done}
                case backfill.Failed(reason=reason) | backfill.NoData(reason=reason):
                    status = outbox.fail(conn, self._claim, reason, self._context.max_attempts)
                    return {"verdict": status or "lost", **done}
                case _:
                    outbox.finish(conn, [End(self._claim, "done", done)])
                    return {"verdict": "done", **done}
