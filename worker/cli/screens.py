"""What `sweep`, `requeue` and `enqueue` say of the one row that they return: pure, without a terminal."""

from collections.abc import Mapping
from typing import Any

from market.cli.display import View
from worker.cli.words import changes, counted

# What each part of a sweep counts, in words.
_PARTS = {
    "crashed": ("crashed event requeued", "crashed events requeued"),
    "forgotten": ("forgotten prediction", "forgotten predictions"),
    "changed": ("changed prediction", "changed predictions"),
    "closures": ("outcome of a moved session", "outcomes of moved sessions"),
    "snapshots": ("snapshot of other bars", "snapshots of other bars"),
    "computed": ("snapshot computed", "snapshots computed"),
    "due": ("symbol is due", "symbols are due"),
    "unfetched": ("symbol without prices", "symbols without prices"),
    "pruned": ("old event deleted", "old events deleted"),
    "records": ("old record deleted", "old records deleted"),
    "coverage": ("old snapshot deleted", "old snapshots deleted"),
    "partitions": ("month of five-minute bars dropped", "months of five-minute bars dropped"),
    "alerts": ("message about alerts", "messages about alerts"),
    "webhooks": ("message about outcomes", "messages about outcomes"),
    "sync": ("symbol of the daily sync", "symbols of the daily sync"),
    "sessions": ("session loaded", "sessions loaded"),
}


def swept(row: Mapping[str, Any]) -> View:
    """Say what a sweep found and wrote."""
    found = [counted(row[part], *words) for part, words in _PARTS.items() if row.get(part)]
    failed = [part for part in _PARTS if part in row and row[part] is None]
    did = "Would sweep" if row["dry_run"] else "Swept"
    said = f"{did}: {', '.join(found)}." if found else "Nothing to do."
    if failed:
        said = f"FAILED: {', '.join(failed)}. {said if found else ''}".strip()
    return View(
        summary=said,
        notes=changes({"events": (row["events_before"], row["events_after"])}),
        next=_next(row, bool(found)),
        record=True,
    )


def requeued(row: Mapping[str, Any], what: str) -> View:
    """Say what was requeued, and how many events are ready and dead now."""
    many = row.get("redriven")
    did = "Would requeue" if row["dry_run"] else "Requeued"
    if many is None:
        event = row.get("event")
        said = f"{did} {what}{f' as event {event}' if event and what != f'event {event}' else ''}."
    else:
        said = (
            f"{did} {counted(many, 'dead event')}."
            if many
            else "Nothing to do: no such dead event."
        )
    return View(
        summary=said,
        notes=changes(
            {name: (row[f"{name}_before"], row[f"{name}_after"]) for name in ("ready", "dead")}
        ),
        next=_next(row, many != 0),
    )


def enqueued(row: Mapping[str, Any]) -> View:
    """Say how many predictions got an event."""
    if row["dry_run"]:
        some, did = row["would_enqueue"], "Would write"
    else:
        some, did = row["enqueued"], "Wrote"
    said = (
        f"{did} {counted(some, 'event')} for as many predictions."
        if some > 1
        else f"{did} 1 event."
    )
    return View(
        summary=said if some else "Nothing to do: every prediction has an event or an outcome.",
        notes=changes({"waiting": (row["waiting_before"], row["waiting_after"])}),
        next=_next(row, bool(some)),
    )


def _next(row: Mapping[str, Any], changed: bool) -> list[str]:
    return ["python -m worker status"] if changed and not row["dry_run"] else []
