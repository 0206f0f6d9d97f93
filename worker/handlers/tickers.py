"""Ticker events: fetch missing prices, store them with the outcomes that follow, end the event.

The fetch is slow and holds no transaction. Storing is one transaction and may be repeated.
"""

import time
from collections.abc import Sequence
from typing import Any

import structlog

from market.prices import backfill, jobs
from market.prices.ingestion import Run
from market.snapshots import Prepared
from worker.context import Context
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
        context.retry("computing a snapshot", work.snapshot)
        summary = context.retry("storing prices", work.store)
    context.metrics.count_end("ticker", summary["verdict"])
    context.metrics.bars_written.inc(summary.get("inserted", 0) + summary.get("updated", 0))
    log.info(
        "ticker processed",
        id=claim.id,
        topic=claim.topic,
        key=claim.key,
        **summary,
        milliseconds=round((time.monotonic() - started) * 1000, 1),
    )


class TickerWork:
    """One ticker event in three steps: `fetch` and `snapshot` (slow), `store` (repeatable)."""

    def __init__(self, context: Context, claim: Claim) -> None:
        self._context = context
        self._claim = claim
        self._plan: backfill.Plan | None = None
        self._result: backfill.Result | None = None
        self._snapshot: Prepared = None

    def fetch(self) -> None:
        """Plan what is missing, and fetch it from providers."""
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

    def snapshot(self) -> None:
        """Compute the snapshot of the bars as they will be, while no lock is held."""
        if self._plan is None or not isinstance(self._result, backfill.Fetched):
            return
        with self._context.database.transaction() as conn:
            self._snapshot = backfill.snapshot(
                conn, self._plan, self._result, self._context.benchmark
            )

    def store(self) -> dict[str, Any]:
        """Store the result, the outcomes that follow and the event's end; returns the log's fields.

        `verdict`: how the event ended, or lost, delayed, failed. `result`: of the fetch.
        """
        with self._context.database.transaction(
            300, lock_seconds=self._context.lock_seconds
        ) as conn:
            if not outbox.lock(conn, [self._claim]):
                return {"verdict": "lost", "result": "lease lost"}
            if self._plan is None:
                end = End(
                    self._claim, "cancelled", {"reason": "the symbol is not in ticker_registry"}
                )
                outbox.finish(conn, [end])
                return {"verdict": "cancelled", "result": "cancelled", **end.result}
            result = self._result
            last = self._claim.attempts + 1 >= self._context.max_attempts
            if isinstance(result, backfill.NoData) and last:
                result = result.nothing  # no attempt is left: the range counts as empty
            run = Run(
                jobs.run_name(f"event {self._claim.id}", self._plan),
                self._context.market.raw_retention_days,
            )
            summary = backfill.store(conn, self._plan, result, run, self._snapshot)
            details = dict(summary.details)
            if settled := jobs.settle(conn, self._plan, result, summary, last=last):
                details["jobs"] = settled
            shown = {"result": summary.result, **details}
            # `outcome` is the key that explain_ticker reads, also in the history of earlier versions.
            done = End(self._claim, "done", {"outcome": summary.result, **details})
            match result:
                case backfill.Deferred(until=until, reason=reason):
                    outbox.delay(conn, self._claim, until, reason)
                    return {"verdict": "delayed", **shown}
                case backfill.Failed() if settled:
                    # The job recorded the failure. A dead event would also stop predictions that
                    # need the ticker's newest prices.
                    outbox.finish(conn, [done])
                    return {"verdict": "done", **shown}
                case backfill.Failed(reason=reason) | backfill.NoData(reason=reason):
                    status = outbox.fail(conn, self._claim, reason, self._context.max_attempts)
                    return {"verdict": status or "lost", **shown}
                case _:
                    outbox.finish(conn, [done])
                    return {"verdict": "done", **shown}
