"""Prediction events: register tickers, open and fill outcomes, ask for the prices that are missing.

A batch is one transaction and never touches the network.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import structlog

from market import outcomes
from market.outcomes import MissingCalendarsError, Processed
from market.universe import sessions
from worker.context import LOCK_SECONDS, Context
from worker.queue import outbox
from worker.queue.outbox import Claim, End

log = structlog.get_logger()


def handle(context: Context, claims: Sequence[Claim]) -> None:
    """Process a batch of prediction events; when it raises, nothing of the batch happened."""
    started = time.monotonic()
    with context.tracer.span("predictions", claims):
        counts = context.retry("processing predictions", lambda: process(context, claims))
    seconds = time.monotonic() - started
    log.info(
        "predictions processed",
        **counts,
        first_id=claims[0].id,
        last_id=claims[-1].id,
        topic="prediction",
        key=claims[0].key,
        milliseconds=round(seconds * 1000, 1),
    )
    for verdict in ("done", "cancelled", "lost"):
        context.metrics.count_end("prediction", verdict, counts[verdict])
    for claim in claims if counts["done"] == len(claims) else ():
        if claim.waited is not None:
            context.metrics.insert_to_outcome.observe(claim.waited + seconds)
    if counts["lost"]:
        log.warning("lease lost, nothing changed", events=counts["lost"], topic="prediction")


def process(context: Context, claims: Sequence[Claim]) -> dict[str, int]:
    """Process a batch in one transaction; returns counts for the log.

    A calendar that was never loaded is loaded once. One that nobody knows is logged; its outcomes
    become unresolvable and name it.
    """
    try:
        return _process(context, claims)
    except MissingCalendarsError as missing:
        for name in missing.names:
            sessions.load(context.database, name)
        return _process(context, claims, check_calendars=False)


def _process(
    context: Context, claims: Sequence[Claim], *, check_calendars: bool = True
) -> dict[str, int]:
    with context.database.transaction(lock_seconds=LOCK_SECONDS) as conn:
        locked = outbox.lock(conn, claims)
        if not locked:
            return {"events": 0, "done": 0, "cancelled": 0, "lost": len(claims)}
        ids = sorted({int(claim.key) for claim in locked})
        batch = outcomes.process(
            conn, ids, context.market.backfill_days, check_calendars=check_calendars
        )
        if batch.wanting:
            # The tickers of bulk work wait as its predictions did.
            priority = max(claim.priority for claim in locked)
            conn.execute("SELECT ticker_enqueue(%s, %s, true)", [batch.wanting, priority])
        ends = [_end(claim, batch.predictions[int(claim.key)]) for claim in locked]
        finished = outbox.finish(conn, ends)
    verdicts = Counter(end.verdict for end in ends)
    return {
        "events": finished,
        "done": verdicts["done"],
        "cancelled": verdicts["cancelled"],
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
