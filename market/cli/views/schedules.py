"""Screens of schedules, their ticks, tasks and runs."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any

from market.cli.display import Column, View
from market.cli.display.view import Row
from market.cli.views.words import MARKET, WORKER, count, counted

# What needs attention first.
_STATES = ("fault", "late", "waiting", "paused", "on", "off")
_RUNS = ("error", "running", "queued", "cancelled", "skipped", "ok")


def listing(rows: Sequence[Row]) -> View:
    """View of all schedules, those that do not run first."""
    states = Counter(row["state"] for row in rows)
    failed = sum(row["last_run_status"] == "error" for row in rows)
    trouble = counted(
        [(states[state], state) for state in _STATES[:4]] + [(failed, "failed last")],
        "all as they should",
    )
    return View(
        [
            Column("name", rank=0),
            Column("state", rank=0, kind="state"),
            Column("trigger", rank=2),
            Column("next_tick_at", "next", rank=0, kind="when"),
            Column("last_run_status", "last run", rank=1, kind="state", value=_last),
            Column("task", rank=4),
            Column("timezone", "zone", rank=5),
            Column("last_tick_at", "last tick", rank=4, kind="when"),
            Column("why", rank=3, least=20),
            Column("skip_next", "to skip", rank=5, value=lambda row: row["skip_next"] or None),
        ],
        sort=lambda row: (_STATES.index(row["state"]), _failed_last(row), row["name"]),
        summary=f"{count(len(rows), 'schedule')}: {trouble}." if rows else "",
        next=[f"{MARKET} schedules show {_first(rows)}"] if rows else [],
        empty="No schedule. python -m market schedules create makes one.",
        record=False,
    )


def _last(row: Row) -> Any:
    return "skipped" if row["last_verdict"] == "skipped" else row["last_run_status"]


def _failed_last(row: Row) -> bool:
    return bool(row["last_run_status"] != "error")


def _first(rows: Sequence[Row]) -> str:
    worst = min(rows, key=lambda row: (_STATES.index(row["state"]), _failed_last(row), row["name"]))
    return str(worst["name"])


def schedule(row: Row) -> View:
    """View of one schedule."""
    return View(
        [
            Column("state", rank=0, kind="state", of=["name"]),
            Column("why", rank=0, wrap=True),
            Column("task", rank=0),
            Column("params", "parameters", rank=0, kind="pairs"),
            Column("trigger", rank=0),
            Column("timezone", "zone", rank=0),
            Column("next_tick_at", "next tick", rank=0, kind="when"),
            Column("last_tick_at", "last tick", rank=0, kind="when"),
            Column("last_verdict", rank=0, kind="state"),
            Column("last_run", rank=0, kind="text"),
            Column("last_run_status", rank=0, kind="state"),
            Column("paused_until", rank=0, kind="when"),
            Column("skip_next", "to skip", rank=0, value=lambda row: row["skip_next"] or None),
            Column("priority", rank=0, value=lambda row: row["priority"] or None),
            Column("notes", rank=0, wrap=True),
            Column("version", rank=0, kind="text"),
            Column("updated_at", "changed", rank=0, kind="when"),
            Column("updated_by", "by", rank=0),
        ],
        summary=f"{row['name']}: {_in_words(row)}.",
        next=_next(row),
    )


def _in_words(row: Row) -> str:
    return {
        "on": f"on, {row['trigger']}",
        "off": "off, it has no ticks",
        "paused": str(row["why"]),
        "fault": f"its ticks cannot be computed: {row['why']}",
        "late": "its tick is over and no worker looks",
        "waiting": f"no next tick of {row['trigger']} is known yet",
    }[row["state"]]


def _next(row: Row) -> list[str]:
    name = row["name"]
    return {
        "paused": [f"{MARKET} schedules resume {name}"],
        "fault": [f"{MARKET} schedules update {name} --set FIELD=VALUE"],
        "late": [WORKER],
        "off": [f"{MARKET} schedules update {name} --set enabled=true"],
    }.get(row["state"], [f"{MARKET} schedules preview {name}"])


def ticks(rows: Sequence[Row]) -> View:
    """View of a schedule's last ticks."""
    skipped = sum(row["verdict"] == "skipped" for row in rows)
    return View(
        [
            Column("tick_at", "tick", rank=0, kind="when"),
            Column("verdict", rank=0, kind="state"),
            Column("run", rank=1, kind="text"),
            Column("status", rank=0, kind="state"),
            Column("reason", rank=0, least=24, wrap=True),
            Column("error", rank=1, least=16, wrap=True),
        ],
        summary=f"{count(len(rows), 'tick')}, {skipped or 'none'} skipped." if rows else "",
        empty="No tick was due yet.",
        record=False,
    )


def preview(rows: Sequence[Row], trigger: str, timezone: str) -> View:
    """View of the next ticks of a trigger."""
    return View(
        [
            Column(
                "tick_at",
                "in UTC",
                rank=0,
                value=lambda row: f"{row['tick_at']:%a %Y-%m-%d %H:%M:%S}",
            ),
            Column(
                "there",
                f"in {timezone}",
                rank=0,
                value=lambda row: f"{row['there']:%a %Y-%m-%d %H:%M:%S}",
            ),
            Column("beside", "due beside it", rank=1, kind="list", least=12),
        ],
        summary=f"{_words(trigger)}, {timezone}: the next {count(len(rows), 'tick')}."
        if rows
        else "",
        empty=f"No tick of {trigger} is known: its calendar is not loaded, or it is never due.",
        record=False,
    )


def _words(trigger: str) -> str:
    """Say a cron line in words; another trigger is words already."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only a preview needs it

    try:
        words = CronSim(trigger, dt.datetime.now(dt.UTC)).explain()
    except CronSimError:
        return trigger
    return f"{trigger} ({words[0].lower()}{words[1:]})"


def imported(rows: Sequence[Row], *, applied: bool) -> View:
    """View of what an import changes, or changed."""
    kinds = Counter({row["name"]: row["change"] for row in rows}.values())
    done = counted([(kinds["create"], "made" if applied else "to make"),
                    (kinds["update"], "changed" if applied else "to change"),
                    (kinds["delete"], "deleted" if applied else "to delete")])  # fmt: skip
    return View(
        [
            Column("name", rank=0),
            Column("change", rank=0),
            Column("field", rank=0),
            Column("before", rank=1, kind="text", least=12, value=lambda row: _text(row["before"])),
            Column("after", rank=1, kind="text", least=12, value=lambda row: _text(row["after"])),
        ],
        summary=f"{done}." if rows else "",
        empty="Nothing to change: the schedules are as the file says.",
        record=False,
    )


def _text(value: Any) -> str | None:
    """Show a field's value without braces."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in sorted(value.items())) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return None if value is None else str(value)


def said(sentence: str) -> View:
    """View that says what happened, without the rest of the row."""
    return View(summary=sentence)


def tasks(rows: Sequence[Row]) -> View:
    """View of the tasks."""
    failed = sum(row["last_status"] == "error" for row in rows)
    return View(
        [
            Column("task", rank=0),
            Column("last_status", "last run", rank=0, kind="state"),
            Column("last_finished_at", "ended", rank=2, kind="when"),
            Column("summary", rank=1, least=20),
            Column("parameters", rank=4, kind="list"),
            Column("last_error", rank=3, least=20),
        ],
        sort=lambda row: (row["last_status"] != "error", row["task"]),
        summary=f"{count(len(rows), 'task')}, {failed or 'none'} of them failed last.",
        next=[f"{MARKET} run-task TASK --wait"],
    )


def runs(rows: Sequence[Row]) -> View:
    """View of runs, the newest first."""
    states = Counter(row["status"] for row in rows)
    return View(
        [
            Column("id", rank=0, kind="text"),
            Column("task_name", "task", rank=0),
            Column("status", rank=0, kind="state"),
            Column("schedule", rank=2),
            Column("started_at", "began", rank=1, kind="when"),
            Column("took", rank=2, kind="duration"),
            Column("error", rank=2, least=20),
            Column("counters", rank=4, kind="pairs"),
            Column("actor", "by", rank=5),
        ],
        summary=f"{count(len(rows), 'run')}: {counted([(states[s], s) for s in _RUNS])}."
        if rows
        else "",
        next=[f"{MARKET} runs show {rows[0]['id']}"] if rows else [],
        empty="No run yet.",
        record=False,
    )


def run(row: Row) -> View:
    """View of one run."""
    sentence = {
        "queued": f"Run {row['id']} of {row['task_name']} waits for a worker.",
        "running": f"Run {row['id']} of {row['task_name']} is under way.",
        "ok": f"Run {row['id']} of {row['task_name']} ended well.",
    }.get(row["status"], f"Run {row['id']} of {row['task_name']}: {row['status']}.")
    over = row["status"] not in {"queued", "running"}
    return View(
        [
            Column("status", rank=0, kind="state", of=["id", "task_name", "progress_at"]),
            Column("error", rank=0, wrap=True),
            Column("counters", rank=0, kind="pairs"),
            Column("eta", "to go", rank=0, kind="duration"),
            Column("took", rank=0, kind="duration"),
            Column("params", "parameters", rank=0, kind="pairs"),
            Column("queued_at", "queued", rank=0, kind="when"),
            Column("started_at", "began", rank=0, kind="when"),
            Column("finished_at", "ended", rank=0, kind="when"),
            Column("schedule", rank=0),
            Column("tick_at", "tick", rank=0, kind="when"),
            Column("trigger", "started by", rank=0),
            Column("actor", "by", rank=0),
            Column("worker", rank=0),
            Column("attempt", rank=0),
            Column("failures", rank=0, value=lambda row: row["failures"] or None),
            Column("cancel_reason", rank=0, wrap=True),
            Column("parent_id", "step of run", rank=0, kind="text"),
            Column("event_id", "event", rank=0, kind="text"),
        ],
        summary=sentence,
        next=[] if over else [f"{MARKET} runs show {row['id']} --watch"],
    )
