"""Webhook events: send what waits for one subscription, in its order.

Why nothing is lost, repeated without end or out of order:

- The transaction that writes an outcome leaves a row in `outcome_changes`; the transaction that takes
  that row writes the messages and what the subscription was told. A kill undoes or keeps both.
- Messages have the order of their ids, and one event per subscription sends them: the first ones, and the
  next ones only after their answer. So the messages of a prediction arrive in order.
- When a worker dies between the answer and its record, the same messages are sent again with the same
  ids: at least once, and the receiver skips the ids that it knows.
- A receiver that fails gets its first messages again after a pause that doubles, up to an hour. What could
  not be sent for a day is dead, and stays visible in `subscription_status`; the rest goes on.
- A slow receiver holds one thread for a turn of some seconds, then waits behind the other events.
"""

import functools
import json
import time
from collections.abc import Sequence
from typing import Any

import structlog

from sql.database import one
from worker.alerts.bodies import signature
from worker.alerts.post import Tried, backoff, post
from worker.context import LOCK_SECONDS, Context
from worker.queue import outbox
from worker.queue.outbox import Claim, End

log = structlog.get_logger()

# Messages in one request, some 500 bytes each.
_BATCH = 100
# A turn of one subscription; then the others' events come first.
_TURN_SECONDS = 10.0


def handle(context: Context, claims: Sequence[Claim]) -> None:
    """Send messages to one subscription; a batch of this topic has one event."""
    [claim] = claims
    subscription = int(claim.key) if claim.key.isdigit() else 0
    ends, sent, goes_on = time.monotonic() + _TURN_SECONDS, 0, True
    tried: Tried | None = None
    while goes_on:
        batch = context.retry("reading messages", lambda: _read(context, subscription))
        if batch is None:
            context.retry("ending an event", lambda: _finish(context, claim))
            break
        tried = _send(subscription, batch)
        is_last = time.monotonic() >= ends or context.shutdown.requested.is_set()
        record = functools.partial(_record, context, claim, batch, tried, is_last=is_last)
        goes_on = context.retry("recording a try", record)
        sent += len(batch["ids"]) if tried.result == "sent" else 0
    log.log(
        20 if tried is None or tried.result == "sent" else 30,
        "outcomes sent",
        subscription=subscription,
        messages=sent,
        answer=tried.answer if tried else None,
    )


def _read(context: Context, subscription: int) -> dict[str, Any] | None:
    with context.database.transaction(10) as conn:
        query = "SELECT * FROM subscription_batch(%s, %s)"
        return conn.execute(query, [subscription, _BATCH]).fetchone()


def _send(subscription: int, batch: dict[str, Any]) -> Tried:
    name = f"outcomes-{subscription}-{batch['ids'][0]}-{batch['ids'][-1]}"
    document = {"id": name, "subscription": subscription, "events": batch["messages"]}
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    signed = signature(batch["secret"], name, int(time.time()), content)
    headers = {"Content-Type": "application/json", **signed}
    return post(batch["url"], content, headers, batch["failures"], (batch["secret"],))


def _record(
    context: Context, claim: Claim, batch: dict[str, Any], tried: Tried, *, is_last: bool
) -> bool:
    """Record a try; True where this turn goes on with the next messages."""
    is_sent = tried.result == "sent"
    # Whatever the answer: who mends the receiver within a day loses nothing.
    pause = 0.0 if is_sent else tried.seconds or backoff(batch["failures"] + 3)
    with context.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
        if not outbox.lock(conn, [claim]):
            return False
        row = one(
            conn,
            "SELECT subscription_tried(%s, %s::bigint[], %s, %s) AS next",
            [int(claim.key), batch["ids"] if is_sent else None, tried.answer, pause],
        )
        if row["next"] is not None and is_sent and not is_last:
            return True
        if row["next"] is None:
            outbox.finish(conn, [End(claim, "done", {"answer": tried.answer})])
        else:
            reason = "its turn is over" if is_sent else tried.answer
            outbox.delay(conn, claim, row["next"], reason)
    context.metrics.count_end("webhook", "done" if row["next"] is None else "delayed")
    return False


def _finish(context: Context, claim: Claim) -> None:
    with context.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
        if outbox.lock(conn, [claim]):
            outbox.finish(conn, [End(claim, "cancelled", {"reason": "nothing waits"})])
