"""Prediction events: register tickers, open and fill outcomes, enqueue tickers without prices.

A batch is one transaction and never touches the network. Its cost is bounded by symbols, not by
predictions: events that do not fit are handed back, ready for the next batch.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from market import outcomes
from market.outcomes import Batch, MissingCalendarsError, Processed
from market.universe import sessions
from sql.database import Connection
from worker.context import Context
from worker.queue import outbox
from worker.queue.outbox import Claim, End

log = structlog.get_logger()


# The most symbols that one transaction processes, unless one prediction alone has more: 500
# predictions of 100 symbols would hold their lane, and each other's rows, for 20 seconds.
BUDGET = 2_000
# The priority of predictions of more than 20 symbols, set at their first claim: otherwise one writer
# of long lists would delay all other predictions and their tickers.
_BULK_PRIORITY = -1


def handle(context: Context, claims: Sequence[Claim]) -> int | None:
    """Process a batch of prediction events; an error rolls all of it back.

    Returns how many events to claim next where bulk work was handed back. Otherwise hundreds would
    be claimed only to be handed back again.
    """
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
    return 2 * counts["events"] + 1 if counts.get("bulk") else None


def process(context: Context, claims: Sequence[Claim]) -> dict[str, int]:
    """Process a batch in one transaction; returns counts for the log.

    Events whose symbols do not fit are handed back (`deferred`), those with more than 20 symbols at
    a lower priority. `bulk`: how many had that priority already. `hidden`: how many events are delayed
    because their predictions cannot be seen and may exist.

    A calendar that was never loaded is loaded once. One that cannot be loaded is recorded with its
    reason, which its outcomes repeat.
    """
    try:
        return _process(context, claims)
    except MissingCalendarsError as missing:
        for name in missing.names:
            sessions.ensure_one(context.database, name)
        return _process(context, claims, check_calendars=False)


def _process(
    context: Context, claims: Sequence[Claim], *, check_calendars: bool = True
) -> dict[str, int]:
    with context.database.transaction(lock_seconds=context.lock_seconds) as conn:
        locked = outbox.lock(conn, claims)
        if not locked:
            return {"events": 0, "done": 0, "cancelled": 0, "lost": len(claims)}
        priorities: dict[int, int] = {}
        for claim in locked:
            number = int(claim.key)
            priorities[number] = max(claim.priority, priorities.get(number, claim.priority))
        batch = outcomes.process(
            conn,
            sorted(priorities),
            context.market.backfill_days,
            check_calendars=check_calendars,
            max_symbols=context.max_symbols,
            budget=BUDGET,
            bulk=[number for number, priority in priorities.items() if priority < 0],
        )
        _enqueue_tickers(conn, batch, priorities)
        deferred = [claim for claim in locked if int(claim.key) in batch.deferred]
        if deferred:
            wide = [claim for claim in deferred if int(claim.key) in batch.wide]
            outbox.hand_back(conn, deferred, behind=wide, priority=_BULK_PRIORITY)
        hidden = [claim for claim in locked if int(claim.key) in batch.hidden]
        for claim in hidden:
            outbox.delay_hidden(conn, claim, batch.hidden[int(claim.key)])
        if hidden:
            # A plan of before ALTER ROLE … BYPASSRLS hides rows for as long as the session lives.
            conn.execute("DISCARD PLANS")
        ends = [
            _end(claim, batch.predictions[int(claim.key)])
            for claim in locked
            if int(claim.key) not in batch.deferred and int(claim.key) not in batch.hidden
        ]
        finished = outbox.finish(conn, ends)
    if hidden:
        reason = batch.hidden[int(hidden[0].key)]
        log.error("predictions cannot be seen", events=len(hidden), because=reason)
    verdicts = Counter(end.verdict for end in ends)
    return {
        "events": finished,
        "done": verdicts["done"],
        "cancelled": verdicts["cancelled"],
        "outcomes": sum(sum(done.states.values()) for done in batch.predictions.values()),
        "skipped": sum(done.skipped_total for done in batch.predictions.values()),
        "tickers": len(batch.waiting),
        "deferred": len(deferred),
        "bulk": sum(claim.priority < 0 for claim in deferred),
        "hidden": len(hidden),
        "lost": len(claims) - finished - len(deferred) - len(hidden),
    }


def _enqueue_tickers(conn: Connection, batch: Batch, priorities: Mapping[int, int]) -> None:
    """Write ticker events, each with the highest priority of the predictions that need it."""
    by_priority: dict[int, list[str]] = {}
    for symbol, numbers in batch.waiting.items():
        by_priority.setdefault(max(priorities[number] for number in numbers), []).append(symbol)
    for priority, symbols in sorted(by_priority.items()):
        conn.execute("SELECT ticker_enqueue(%s, %s, true)", [sorted(symbols), priority])
        new = sorted(batch.new.intersection(symbols))
        if (
            priority < 0 and new
        ):  # the registry's trigger wrote their events with the normal priority
            conn.execute("SELECT ticker_lower_priority(%s, %s)", [new, priority])


def _end(claim: Claim, done: Processed) -> End:
    if done.reason:
        return End(claim, "cancelled", {"reason": done.reason})
    result: dict[str, Any] = {"outcomes": done.states}
    if done.skipped:
        result["skipped"] = done.skipped
    if done.skipped_total > len(done.skipped):
        result["skipped_count"] = done.skipped_total
        result["skipped_reasons"] = dict(done.skipped_counts)
    return End(claim, "done", result)
