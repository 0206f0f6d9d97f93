"""Topic → what the market does with it. The only place where events and markets meet.

A handler does the work of its claims and ends them in the same transaction, guarded by
their leases: what another worker has taken over meanwhile is left alone and counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from market import outcomes
from market.outcomes import MissingCalendarsError, Processed
from market.prices import backfill, jobs
from market.prices.ingestion import Run
from market.providers import Provider
from market.settings import MarketSettings
from market.universe import sessions
from sql.database import Database
from worker.queue import outbox
from worker.queue.outbox import Claim, End

# Less than half of PostgreSQL's deadlock_timeout: where we and another program wait for each
# other's rows, it is we who give up and try again, long before one of the two is chosen to fail.
_LOCK_SECONDS = 0.4


@dataclass(frozen=True)
class Context:
    """What handlers work with. wait: sleeps for seconds, raises when the worker stops."""

    database: Database
    providers: Sequence[Provider]
    market: MarketSettings
    wait: Callable[[float], None]


def predictions(context: Context, claims: Sequence[Claim]) -> dict[str, int]:
    """Process a batch of prediction events in one transaction; returns counts for the log.

    Raises what the batch raises; nothing of it happened then.
    """
    try:
        return _predictions(context, claims)
    except MissingCalendarsError as missing:
        for name in missing.names:
            # One that nobody knows is logged; its outcomes become unresolvable and say which it was.
            sessions.load(context.database, name)
        return _predictions(context, claims, calendars_tried=True)


def _predictions(
    context: Context, claims: Sequence[Claim], *, calendars_tried: bool = False
) -> dict[str, int]:
    with context.database.transaction(lock_seconds=_LOCK_SECONDS) as conn:
        held = outbox.hold(conn, claims)
        if not held:
            return {"events": 0, "done": 0, "cancelled": 0, "lost": len(claims)}
        ids = sorted({int(claim.key) for claim in held})
        batch = outcomes.process(
            conn, ids, context.market.backfill_days, check_calendars=not calendars_tried
        )
        if batch.wanting:
            # Bulk work stays behind: its tickers wait as its predictions did.
            priority = max(claim.priority for claim in held)
            conn.execute("SELECT ticker_enqueue(%s, %s, true)", [batch.wanting, priority])
        ends = [_end(claim, batch.predictions[int(claim.key)]) for claim in held]
        finished = outbox.finish(conn, ends)
    return {
        "events": finished,
        "done": sum(end.verdict == "done" for end in ends),
        "cancelled": sum(end.verdict == "cancelled" for end in ends),
        "outcomes": sum(sum(done.states.values()) for done in batch.predictions.values()),
        "skipped": sum(len(done.skipped) for done in batch.predictions.values()),
        "tickers": len(batch.wanting),
        "lost": len(claims) - finished,
    }


def _end(claim: Claim, done: Processed) -> End:
    if done.reason:
        return End(claim, "cancelled", {"reason": done.reason})
    result: dict[str, Any] = {"outcomes": done.states}
    if done.skipped:
        result["skipped"] = done.skipped
    return End(claim, "done", result)


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

    def store(self, max_attempts: int) -> dict[str, Any]:
        """Write what was fetched, what follows from it, and the event's end; returns it for the log."""
        with self._context.database.transaction(300, lock_seconds=_LOCK_SECONDS) as conn:
            if not outbox.hold(conn, [self._claim]):
                return {"verdict": "lost", "outcome": "lease lost"}
            if self._plan is None:
                end = End(
                    self._claim, "cancelled", {"reason": "the symbol is not in ticker_registry"}
                )
                outbox.finish(conn, [end])
                return {"verdict": "cancelled", "outcome": "cancelled", **end.result}
            result = self._result
            last = self._claim.attempts + 1 >= max_attempts
            if isinstance(result, backfill.NoData) and last:
                result = result.nothing  # asked often enough: there is nothing to have
            run = Run(
                jobs.run_name(f"event {self._claim.id}", self._plan),
                self._context.market.raw_retention_days,
            )
            summary = backfill.store(conn, self._plan, result, run)
            told = {"outcome": summary.outcome, **summary.details}
            if settled := jobs.settle(conn, self._plan, result, summary, last=last):
                told["jobs"] = settled
            match result:
                case backfill.Deferred(until=until, reason=reason):
                    outbox.delay(conn, self._claim, until, reason)
                    return {"verdict": "delayed", **told}
                case backfill.Failed() if settled:
                    # It was a job that asked too much of the providers, and the job knows it now;
                    # what else needs the ticker must not find it parked for that.
                    outbox.finish(conn, [End(self._claim, "done", told)])
                    return {"verdict": "done", **told}
                case backfill.Failed(reason=reason) | backfill.NoData(reason=reason):
                    status = outbox.fail(conn, self._claim, reason, max_attempts)
                    return {"verdict": status or "lost", **told}
                case _:
                    outbox.finish(conn, [End(self._claim, "done", told)])
                    return {"verdict": "done", **told}
