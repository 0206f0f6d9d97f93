"""Alert events: send one message to one channel, and record what became of it.

A try holds no transaction. When its worker dies before the answer is recorded, the message is sent
again: at least once, with the same id. What fails for now is tried again for a day, with pauses of up
to an hour that cost the event no attempt; what cannot succeed is dead at once, and `requeue` tries it
again when its address is mended. A channel that answers 429 pauses for all of its messages.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

import structlog

from sql.database import one
from worker.alerts import bodies
from worker.alerts.post import Tried, post
from worker.context import LOCK_SECONDS, Context
from worker.queue import outbox
from worker.queue.outbox import Claim, End

log = structlog.get_logger()

_JSON = {"Content-Type": "application/json"}


def handle(context: Context, claims: Sequence[Claim]) -> None:
    """Send the message of one alert event; a batch of this topic has one event."""
    [claim] = claims
    number = int(claim.key) if claim.key.isdigit() else 0
    message = context.retry("reading a message", lambda: _read(context, number))
    if message is None or message["is_outdated"]:
        reason = "it is sent or gone" if message is None else "a newer value is sent"
        context.retry("ending a message", lambda: _cancel(context, claim, reason))
        return
    if message["paused_until"] is not None and not message["is_late"]:
        context.retry("delaying a message", lambda: _pause(context, claim, message))
        return
    addresses = _addresses(context, message)
    if len(addresses) > 1:
        context.retry("dividing a message", lambda: _divide(context, claim, message, addresses))
        return
    tried = _send(context, number, message, addresses)
    if tried.result == "later" and message["is_late"]:
        tried = Tried("gave up", f"for a day: {tried.answer}")
    context.retry("recording a try", lambda: _record(context, claim, number, tried))
    log.log(
        20 if tried.result == "sent" else 30,
        "message " + tried.result,
        message=number,
        channel=message["channel"],
        answer=tried.answer,
        tries=message["tries"] + 1,
    )


def _read(context: Context, number: int) -> dict[str, Any] | None:
    with context.database.transaction(10) as conn:
        return conn.execute("SELECT * FROM alert_message(%s)", [number]).fetchone()


def _addresses(context: Context, message: dict[str, Any]) -> Sequence[str]:
    """Return where a message goes; a channel of the settings may have several addresses."""
    if message["address"] is not None:
        return [message["address"].strip()]
    name, _, part = message["channel"].partition("@")
    found = context.alerts.addresses(name)
    if not part:
        return found
    return found[int(part) - 1 : int(part)] if part.isdigit() else []


def _send(
    context: Context, number: int, message: dict[str, Any], addresses: Sequence[str]
) -> Tried:
    channel, body, tries = message["channel"], message["body"], message["tries"]
    if not addresses:
        return Tried("gave up", f"channel {channel} has no address: {_remedy(channel)}")
    [address] = addresses
    if channel.startswith("discord:"):
        return post(address, json.dumps(bodies.discord(body)).encode(), _JSON, tries)
    if channel.startswith("pushgateway:"):
        path, metrics = bodies.pushgateway(body)
        base = address.rstrip("/")
        base = base if "/metrics/job/" in base else f"{base}/metrics/job/reckoner"
        return post(base + path, metrics.encode(), {"Content-Type": "text/plain"}, tries)
    content = bodies.webhook(number, body)
    given = context.alerts.alert_webhook_secret
    secret = given.get_secret_value() if given else ""
    signed = bodies.signature(secret, f"alert-{number}", int(time.time()), content)
    return post(address, content, {**_JSON, **signed}, tries, (secret,))


def _remedy(channel: str) -> str:
    """Say where the address of a channel belongs."""
    kind, _, name = channel.partition(":")
    if "#" in name or kind == "pushgateway":
        return f"the hooks of schedule {name.partition('#')[0]} have none any more"
    if kind == "webhook":
        return "set ALERT_WEBHOOK_URL"
    return f"set DISCORD_WEBHOOK_{name.partition('@')[0].upper()} for every worker"


def _cancel(context: Context, claim: Claim, reason: str) -> None:
    with context.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
        outbox.finish(conn, [End(claim, "cancelled", {"reason": reason})])


def _pause(context: Context, claim: Claim, message: dict[str, Any]) -> None:
    with context.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
        reason = f"channel {message['channel']} asked for a pause"
        outbox.delay(conn, claim, message["paused_until"], reason)


def _divide(
    context: Context, claim: Claim, message: dict[str, Any], addresses: Sequence[str]
) -> None:
    """Write a message for each address, so that one that fails repeats no other."""
    with context.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
        if not outbox.lock(conn, [claim]):
            return
        parts = [f"{message['channel']}@{n}" for n in range(1, len(addresses) + 1)]
        conn.execute(
            "SELECT alert_divide(%s, %s::text[])",
            [int(claim.key), parts],
        )
        outbox.finish(conn, [End(claim, "done", {"channels": parts})])


def _record(context: Context, claim: Claim, number: int, tried: Tried) -> None:
    with context.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
        if not outbox.lock(conn, [claim]):
            return
        row = one(
            conn,
            "SELECT alert_tried(%s, %s, %s, %s, %s) AS next",
            [number, tried.result, tried.answer, tried.seconds, tried.pauses],
        )
        if tried.result == "sent":
            outbox.finish(conn, [End(claim, "done", {"answer": tried.answer})])
            end = "done"
        elif tried.result == "later":
            outbox.delay(conn, claim, row["next"], tried.answer)
            end = "delayed"
        else:
            end = outbox.fail(conn, claim, tried.answer, 1) or "lost"
    context.metrics.count_end("alert", end)
