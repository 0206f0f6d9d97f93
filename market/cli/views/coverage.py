"""Screens of coverage: `coverage`, `coverage SYMBOL`, `restore-coverage`."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from market import restore
from market.cli.display import Column, View
from market.cli.display.view import Row
from market.cli.views.words import MARKET, count, counted

_STATES = {"<=24h": "fresh", "24-48h": "behind", ">48h": "stale", "none": "missing"}


def rows_of(report: Row) -> list[dict[str, Any]]:
    """Return a row for each interval of a report: symbols by the age of their newest bar."""
    status = report["status"]
    return [
        {
            "interval": name,
            "symbols": report["symbols"],
            **{state: report[key]["freshness"][bucket] for bucket, state in _STATES.items()},
            "percent": status[f"{key}_pct"],
        }
        for name, key in (("1d", "daily"), ("5m", "m5"))
    ]


def sentence(report: Row) -> str:
    """Say how the bars are: the label and its reason."""
    status = report["status"]
    if status["label"] == "idle":
        return "Idle: no symbol is tracked."
    word = {"ok": "All well", "warning": "Warning"}.get(status["label"], status["label"].upper())
    if status["label"] == "ok" and report["daily"]["freshness"]["24-48h"]:
        word = "Not all yet"
    return f"{word}: {status['summary']}."


def intervals(rows: Sequence[Row]) -> View:
    """View of the two intervals; its columns are sessions and not hours."""
    next_ = [] if any(row["symbols"] for row in rows) else [f"{MARKET} register-tickers SPY"]
    if any(
        row["interval"] == "5m" and row["missing"] < row["symbols"] and not row["fresh"]
        for row in rows
    ):
        next_ = [f"{MARKET} backfill-5m"]
    return View(
        [
            Column("interval", rank=0),
            Column("fresh", rank=0, kind="count"),
            Column("behind", "1 behind", rank=0, kind="count"),
            Column("stale", "more behind", rank=0, kind="count"),
            Column("missing", rank=0, kind="count"),
            Column("percent", "% covered", rank=1, kind="number"),
            Column("symbols", rank=2, kind="count"),
        ],
        summary="Age of the newest bar in finished sessions." if rows else "",
        empty="No interval.",
        next=next_,
        record=False,
    )


def stale(rows: Sequence[Row], total: int) -> View:
    """View of stale and missing symbols. total: how many there are, listed or not."""
    more = total - len(rows)
    text = f"{count(total, 'symbol')} stale or missing"
    notes = [f"{more:,} more: the SQL function coverage_stale(NULL) lists all"] if more > 0 else []
    return View(
        [
            Column("symbol", rank=0),
            Column("last", "newest bar", rank=0, kind="day"),
            Column("sessions_behind", "behind", rank=1, kind="count"),
            Column("reason", "why", rank=0, least=16, wrap=True),
            Column("remedy", "then", rank=4, least=40),
            Column("bucket", rank=9, kind="text"),
        ],
        summary=f"{text}." if rows else "",
        next=_remedies(rows),
        notes=notes,
        empty="No symbol is stale or missing.",
        record=False,
    )


def _remedies(rows: Sequence[Row]) -> list[str]:
    """Return the two commands that mend most; statements are in the rows."""
    found: dict[str, int] = {}
    for row in rows:
        if (row["remedy"] or "").startswith("python"):
            found[row["remedy"]] = found.get(row["remedy"], 0) + 1
    return sorted(found, key=lambda each: -found[each])[:2]


def _last_5m(row: Row) -> dt.datetime | None:
    """Read the time of a JSON document."""
    return None if row["last_5m"] is None else dt.datetime.fromisoformat(row["last_5m"])


def symbol(row: Row) -> View:
    """View of one symbol."""
    state = _STATES[row["daily_bucket"] or "none"]
    behind = row["sessions_behind"]
    if not row["tracked"]:
        text = f"{row['symbol']} is not tracked."
    elif behind is None:
        text = f"{row['symbol']} is missing: {row['reason']}."
    elif behind:
        said = "" if state == "behind" else f"{state}: "
        text = f"{row['symbol']} is {said}{count(behind, 'session')} behind."
    else:
        text = f"{row['symbol']} is fresh: it has the session of {row['newest_session']}."
    return View(
        [
            Column("symbol", rank=0),
            Column("last_daily", "newest daily bar", rank=0, kind="day"),
            Column("newest_session", "newest session", rank=0, kind="day"),
            Column("sessions_behind", rank=0, kind="count"),
            Column("reason", "why", rank=1, least=16),
            Column("last_5m", "newest 5m bar", rank=1, kind="when", value=_last_5m),
            Column("m5_bars", "5m bars of the session", rank=1, kind="count"),
            Column("m5_expected", "room for", rank=2, kind="count"),
            Column("provider", rank=2),
            Column("calendar", rank=2, kind="text"),
            Column("daily_bucket", rank=3, kind="text"),
            Column("m5_bucket", rank=3, kind="text"),
            Column("backfill_error", "last error", rank=3, least=16),
        ],
        summary=text,
        next=[row["remedy"]] if (row["remedy"] or "").startswith("python") else [],
    )


def restored(rows: Sequence[Row], *, dry_run: bool = False) -> View:
    """View of the steps of a restore."""
    states = [row["state"] for row in rows]
    parts = [(states.count(name), name) for name in ("failed", "done", "running", "pending")]
    if dry_run:
        text = f"Dry run: {count(len(rows), 'step')} to run."
    else:
        number = rows[0]["restore"] if rows else ""
        text = f"Restore {number}: {counted(parts)} of {count(len(rows), 'step')}."
    open_ = {"running", "pending"} & set(states)
    return View(
        [
            Column("number", "#", rank=1, kind="text"),
            Column("step", rank=0),
            Column("state", rank=0, kind="state"),
            Column("what", rank=0, value=restore.detail, least=16, of=("result", "error")),
            Column("tries", rank=3),
            Column("took", rank=2, kind="duration", value=_took),
            Column("started_at", "began", rank=3),
            Column("finished_at", "ended", rank=4),
            Column("restore", rank=9),
        ],
        summary=text if rows else "",
        next=[f"{MARKET} restore-coverage"] if open_ else [f"{MARKET} coverage"],
        empty="No restore yet: python -m market restore-coverage begins one.",
        record=False,
    )


def _took(row: Row) -> Any:
    if row["started_at"] is None or row["finished_at"] is None:
        return None
    return row["finished_at"] - row["started_at"]
