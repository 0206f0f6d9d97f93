"""Screens of checks and of the database: `health-check`, `db check`, `audit`, `repair`, `backup`."""

from collections import Counter
from collections.abc import Sequence

from market.cli.display import Column, View
from market.cli.display.cells import size
from market.cli.display.view import Row
from market.cli.views.words import MARKET, count, counted, listed, total, verb

_ORDER = ("fail", "warn", "ok")


def checks(rows: Sequence[Row]) -> View:
    """View of checks: the verdict, failures first; those that are ok are folded."""
    states = Counter(row["state"] for row in rows)
    if states["fail"]:
        names = listed(row["check"] for row in rows if row["state"] == "fail")
        text = f"Unhealthy: {names} {verb(states['fail'], 'fails', 'fail')}"
    elif states["warn"]:
        text = f"Healthy, with {count(states['warn'], 'warning')}"
    else:
        text = f"Healthy: {verb(len(rows), 'the check is', f'all {len(rows)} checks are')} ok"
    return View(
        [
            Column("check", rank=0),
            Column("state", rank=0),
            Column("message", rank=0, kind="text"),
        ],
        sort=lambda row: _ORDER.index(row["state"]) if row["state"] in _ORDER else -1,
        summary=f"{text}." if rows else "",
        fold=lambda row: row["check"] if row["state"] == "ok" else None,
        folded="ok",
        empty="Nothing was checked.",
    )


def sizes(rows: Sequence[Row]) -> View:
    """View of the sizes in `db check`; tables without rows are folded."""
    return View(
        [
            Column("table", rank=0),
            Column("bytes", "size", rank=0, kind="bytes"),
            Column("index_bytes", "of it indexes", rank=2, kind="bytes"),
            Column("live_rows", "rows", rank=1),
            Column("dead_rows", "dead rows", rank=1, kind="count"),
            Column("last_vacuum", "vacuumed", rank=3),
        ],
        sort=lambda row: (-row["bytes"], row["table"]),
        summary=f"{count(len(rows), 'table')}, {size(total(rows, 'bytes'))}." if rows else "",
        fold=lambda row: None if row["live_rows"] or row["dead_rows"] else row["table"],
        folded="empty",
        empty="No table of ours.",
        record=False,
    )


def differences(rows: Sequence[Row], empty: str, *, is_left: bool = False) -> View:
    """View of differences from what this version expects, the dangerous ones first."""
    levels = Counter(row["level"] for row in rows)
    dangers = counted([(levels["danger"], "dangerous")], "none dangerous")
    left = " left" if is_left else ""
    return View(
        [
            Column("object", rank=0),
            Column("level", rank=0, kind="state"),
            Column("repair", rank=2, kind="state"),
            Column("difference", rank=1, least=16),
            Column("risk", rank=3, least=16),
        ],
        sort=lambda row: (row["level"] != "danger", row["object"]),
        summary=f"{count(len(rows), 'difference')}{left}, {dangers}." if rows else "",
        next=[] if is_left or not rows else [f"{MARKET} db repair", f"{MARKET} db repair --apply"],
        empty=empty,
    )


def repaired(row: Row) -> View:
    """View of what `db repair --apply` did."""
    if not row["differences_before"]:
        text = "Nothing to do: the database is as this version expects."
    else:
        done = counted([(row["applied"], "repaired"), (row["failed"], "failed")])
        text = f"{done}; {count(row['differences_after'], 'difference')} left."
    return View(
        [
            Column("applied", rank=0),
            Column("failed", rank=0),
            Column("differences_before", "before", rank=1),
            Column("differences_after", "after", rank=1),
        ],
        summary=text,
        record=False,
    )


def applied(rows: Sequence[Row]) -> View:
    """View of the statements that `db repair --apply` ran."""
    done = sum(row["result"] == "done" for row in rows)
    return View(
        [Column("object", rank=0), Column("result", rank=0, kind="state", least=16)],
        sort=lambda row: (row["result"] == "done", row["object"]),
        summary=f"{done:,} of {count(len(rows), 'statement')} done." if rows else "",
        empty="No statement was run.",
        record=False,
    )


def backed_up(row: Row) -> View:
    """View of `db backup`."""
    bytes_ = f", {size(row['bytes'])}" if row["bytes"] is not None else ""
    return View(
        [
            Column("backup", "kind", rank=0),
            Column("name", rank=0),
            Column("taken_at", "taken", rank=1),
            Column("bytes", "size", rank=1, kind="bytes"),
        ],
        summary=f"Backed up to {row['name']}{bytes_}.",
    )
