"""Rows of schedules, ticks, tasks and runs, and their views, for the tests of screens."""

import datetime as dt
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from market.cli.display import View
from market.cli.views import alerts
from market.cli.views import schedules as views

Row = dict[str, Any]
NOW = dt.datetime.now(dt.UTC)
LONG = "paused by operations until 2026-07-09 12:00:00+00: the new disk is not there before noon"
_STATES = ("on", "off", "paused", "fault", "late", "waiting")
_STATUSES = ("queued", "running", "ok", "error", "cancelled", "skipped")


def schedule(n: int) -> Row:
    state = _STATES[n % 6]
    skipped = n % 4 == 1
    return {
        "name": f"nightly-five-minute-bars-{n}" if n % 3 else f"s{n}",
        "state": state,
        "task": "refresh_index_constituents",
        "trigger": ("XNYS close + 45 minutes", "*/15 9-17 * * MON-FRI")[n % 2],
        "timezone": "America/Argentina/Buenos_Aires",
        "next_tick_at": NOW + dt.timedelta(minutes=n) if state in {"on", "paused"} else None,
        "last_tick_at": NOW - dt.timedelta(minutes=n),
        "last_verdict": "skipped" if skipped else "queued",
        "last_run_status": None if skipped else _STATUSES[n % 6],
        "last_run": None if skipped else 2_000_000_000 + n,
        "why": LONG if state in {"paused", "fault"} or skipped else None,
        "paused_until": NOW + dt.timedelta(days=1) if state == "paused" else None,
        "skip_next": n % 2,
        "priority": 0,
        "params": {"n_days": 5, "symbols": ["AAPL", "BRK-B"]},
        "notes": "Enable it to store five-minute bars.",
        "version": n + 1,
        "updated_at": NOW - dt.timedelta(days=n),
        "updated_by": "ann",
    }


def tick(n: int) -> Row:
    return {
        "tick_at": NOW - dt.timedelta(hours=n),
        "verdict": ("queued", "skipped")[n % 2],
        "reason": LONG if n % 2 else None,
        "run": None if n % 2 else n,
        "status": None if n % 2 else _STATUSES[n % 6],
        "error": LONG if n % 6 == 3 else None,
    }


def previewed(n: int) -> Row:
    at = NOW + dt.timedelta(hours=n)
    return {"tick_at": at, "there": at.replace(tzinfo=None), "beside": ["coverage"] * (n % 3)}


def change(n: int) -> Row:
    return {
        "name": f"s{n}",
        "change": ("create", "update", "delete")[n % 3],
        "field": ("trigger", "safety", "trigger")[n % 3],
        "before": (None, {"retries": 1}, "0 5 * * *")[n % 3],
        "after": ("0 5 * * *", {"retries": 2, "backoff_s": 60}, None)[n % 3],
    }


def task(n: int) -> Row:
    return {
        "task": f"refresh_index_constituents_{n}",
        "summary": "Bring constituents, bars, indicators and history up to date.",
        "parameters": ["n_days (integer: sessions back; 5 by default)"] * (n % 3),
        "last_status": _STATUSES[n % 6],
        "last_finished_at": NOW - dt.timedelta(hours=n),
        "last_run": n,
        "last_error": LONG if n % 6 == 3 else None,
    }


def run(n: int) -> Row:
    status = _STATUSES[n % 6]
    over = status not in {"queued", "running"}
    return {
        "id": 2_000_000_000 + n,
        "task_name": "refresh_index_constituents",
        "status": status,
        "schedule": "constituents" if n % 2 else None,
        "tick_at": NOW if n % 2 else None,
        "trigger": "schedule" if n % 2 else "manual",
        "actor": "schedule" if n % 2 else "ann",
        "params": {"index": "SP500"},
        "counters": {"done": 7, "total": 500, "inserted": 3},
        "error": LONG if status == "error" else None,
        "queued_at": NOW - dt.timedelta(minutes=n),
        "started_at": NOW - dt.timedelta(minutes=n),
        "finished_at": NOW if over else None,
        "took": dt.timedelta(seconds=n * 77),
        "eta": dt.timedelta(minutes=3) if status == "running" else None,
        "attempt": 1,
        "failures": n % 2,
        "worker": "host.example.org:12345:ab12",
        "event_id": n,
        "parent_id": None,
        "progress_at": NOW,
        "cancel_reason": None,
    }


def alert(n: int) -> Row:
    state = ("open", "silenced", "resolved")[n % 3]
    return {
        "rule": ("run_failed", "coverage_degraded", "provider_quota")[n % 3],
        "subject": f"nightly-five-minute-bars-{n}",
        "state": state,
        "text": LONG,
        "mend": "python -m market runs show 17",
        "opened_at": NOW - dt.timedelta(hours=n),
        "last_seen_at": NOW,
        "resolved_at": NOW if state == "resolved" else None,
        "last_sent_at": NOW - dt.timedelta(hours=n),
        "count": n,
        "silenced_until": NOW + dt.timedelta(days=1) if state == "silenced" else None,
        "silence_reason": "ann: a new disk" if state == "silenced" else None,
    }


def one(view: Callable[[Row], View]) -> Callable[[Sequence[Row]], View]:
    """The view of a command whose screen is one row."""
    return lambda rows: view(dict(rows[0]))


def _nth(row: Callable[[int], Row], first: int) -> Callable[[int], Row]:
    """The same rows, from this number on."""
    return lambda n: row(first + n)


# Command, row, view, and with how many rows: a `Screen` of test_screens.py.
SCREENS: list[tuple[str, Callable[[int], Row], Callable[[Sequence[Row]], View], tuple[int, ...]]]
SCREENS = [
    ("schedules list", schedule, views.listing, (0, 1, 500)),
    *[
        (f"schedules {name}", _nth(schedule, first), one(views.schedule), (1,))
        for first, name in enumerate(["create", "update", "show", "pause", "resume", "skip-next"])
    ],
    ("schedules show", tick, views.ticks, (0, 1, 500)),
    ("schedules delete", schedule, one(lambda row: views.said(f"{row['name']} is deleted.")), (1,)),
    ("schedules run-now", run, one(views.run), (1,)),
    ("schedules preview", previewed, lambda rows: views.preview(rows, "30 1 * * *", "UTC"), (0, 1, 500)),
    ("schedules import", change, lambda rows: views.imported(rows, applied=False), (0, 1, 500)),
    ("tasks", task, views.tasks, (1, 500)),
    ("run-task", lambda n: run(n + 1), one(views.run), (1,)),
    *[
        (f"alerts {name}", alert, partial(alerts.listing, everything=name != "list"), (0, 1, 500))
        for name in ("list", "silence", "unsilence", "resolve")
    ],
    ("runs list", run, views.runs, (0, 1, 500)),
    ("runs show", lambda n: run(n + 3), one(views.run), (1,)),
    ("runs cancel", lambda n: run(n + 4), one(views.run), (1,)),
]  # fmt: skip
