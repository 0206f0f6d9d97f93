"""What each kind of channel gets: a Discord embed, Pushgateway metrics, or signed JSON. Pure.

A message's body is as `alerts_check` and `runs_ended` in SQL write it. Its texts may be a stranger's,
so they get no markup and mention nobody.
"""

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Body = Mapping[str, Any]

# Discord refuses what is longer: 256 of a title, 4,096 of a description, 1,024 of a field, 6,000 in all.
_TITLE, _DESCRIPTION, _FIELD = 250, 3_500, 800
_COLOURS = {"open": 0xD93025, "resolved": 0x188038, "success": 0x188038, "failure": 0xD93025}
_MARKUP = re.compile(r"([\\*_~`|\[\]()<>@#])")
_MENTION = re.compile(r"<@(?P<role>&?)(?P<id>\d{5,25})>|@everyone|@here")


def discord(body: Body) -> dict[str, Any]:
    """Return the JSON for a Discord webhook."""
    embed = _run_embed(body) if body["rule"] == "run" else _alerts_embed(body)
    return {**_mentions(body), "embeds": [{**embed, "timestamp": body["at"]}]}


def _run_embed(body: Body) -> dict[str, Any]:
    return {
        "title": _plain(f"{body['subject']}: {body['event']}", _TITLE),
        "color": _COLOURS[body["event"]],
        "fields": _fields(body),
    }


def _alerts_embed(body: Body) -> dict[str, Any]:
    alerts: Sequence[Body] = body["alerts"]
    state = "resolved" if body["state"] == "resolved" else "open"
    repeated = state == "open" and all(alert.get("repeated") for alert in alerts)
    subject = alerts[0]["subject"] if body["count"] == 1 else f"{body['count']} subjects"
    words = "resolved" if state == "resolved" else "still open" if repeated else "open"
    lines: list[str] = []
    rest, length = int(body["count"]), 0
    for alert in alerts:
        line = f"**{_plain(alert['subject'], 100)}**: {_plain(alert['text'], 500)}"
        if state == "open" and alert.get("mend"):
            line += f"\nTo mend it: {_plain(alert['mend'], 300)}"
        length += len(line)
        if length > _DESCRIPTION:
            break
        lines.append(line)
        rest -= 1
    if rest:
        lines.append(f"and {rest} more: python -m market alerts list")
    return {
        "title": _plain(f"{body['rule']}: {subject}: {words}", _TITLE),
        "description": "\n".join(lines),
        "color": _COLOURS[state],
        "fields": _fields(alerts[0]) if body["count"] == 1 else [],
    }


def _fields(of: Body) -> list[dict[str, Any]]:
    counters = ", ".join(f"{name} {value}" for name, value in of.get("counters", {}).items())
    seconds = of.get("seconds")
    values = {
        "Task": of.get("task"),
        "Duration": None if seconds is None else f"{seconds:g} s",
        "Queue": of.get("queue"),
        "Counters": counters,
        "Error": of.get("error"),
    }
    return [
        {"name": name, "value": _plain(str(value), _FIELD), "inline": name != "Error"}
        for name, value in values.items()
        if value
    ]


def _plain(text: str, most: int) -> str:
    """Return a text without markup, cut to a length."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return _MARKUP.sub(r"\\\1", cut)


def _mentions(body: Body) -> dict[str, Any]:
    """Return the mentions that the schedules ask for, and that nobody else is mentioned."""
    said = [body.get("mentions"), *(alert.get("mentions") for alert in body.get("alerts", ()))]
    texts = [text for each in said for text in (each if isinstance(each, list) else [each])]
    found = {
        match[0]: match for text in texts if text for match in _MENTION.finditer(str(text)[:500])
    }
    allowed: dict[str, Any] = {"parse": []}
    for text, match in found.items():
        if match["id"]:
            allowed.setdefault("roles" if match["role"] else "users", []).append(match["id"])
        elif text in {"@everyone", "@here"}:
            allowed["parse"] = ["everyone"]
    return {"content": " ".join(found)[:1_900], "allowed_mentions": allowed}


def pushgateway(body: Body) -> tuple[str, str]:
    """Return the end of the path and the metrics for the end of a run; each task is one group."""
    task, queue = _label(body["task"]), _label(str(body.get("queue") or "job"))
    labels = f'task="{task}",event="{body["event"]}",queue="{queue}"'
    lines = [
        "# TYPE quantmatrix_task_duration_seconds gauge",
        f"quantmatrix_task_duration_seconds{{{labels}}} {float(body['seconds']):g}",
    ]
    if body["event"] == "success":
        ended = dt.datetime.fromisoformat(body["at"]).timestamp()
        lines += [
            "# TYPE reckoner_task_last_success_timestamp_seconds gauge",
            f'reckoner_task_last_success_timestamp_seconds{{task="{task}"}} {ended:.3f}',
        ]
    return f"/task/{re.sub(r'[^A-Za-z0-9_-]', '_', body['task'])}", "\n".join([*lines, ""])


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def webhook(number: int, body: Body) -> bytes:
    """Return the JSON for a generic receiver. `id` is the same at each try."""
    kind = f"run.{body['event']}" if body["rule"] == "run" else f"alert.{body['state']}"
    alerts = [
        {name: value for name, value in alert.items() if name != "mentions"}
        for alert in body.get("alerts", ())
    ]
    content = {name: value for name, value in body.items() if name not in {"mentions", "alerts"}}
    document = {"id": f"alert-{number}", "type": kind, **content, "alerts": alerts}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def signature(secret: str, name: str, timestamp: int, content: bytes) -> dict[str, str]:
    """Return the headers of a signed message, as standardwebhooks.com describes them.

    The signature is HMAC-SHA256 of "id.timestamp.content"; a secret with `whsec_` is base64.
    """
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = secret.encode()
    signed = b".".join([name.encode(), str(timestamp).encode(), content])
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{digest}",
    }
