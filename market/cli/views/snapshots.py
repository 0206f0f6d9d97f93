"""Screens of snapshots: `snapshot`, `refresh-indicators`, `record-history`."""

from collections.abc import Sequence

from market.cli.display import Column, View
from market.cli.display.view import Row
from market.cli.views.snapshot_lines import COLUMNS, STAGES, number
from market.cli.views.words import MARKET, WORKER, count, counted, total


def _said(row: Row) -> str:
    """Say in a sentence where the symbol stands."""
    parts = []
    if row["stage_label"] in STAGES:
        parts.append(f"stage {row['stage_label']} ({STAGES[row['stage_label']]})")
    if row["ma_bucket"] not in {None, "UNKNOWN", "NEUTRAL"}:
        parts.append(row["ma_bucket"].lower())
    if row["rsi"] is not None:
        parts.append(f"RSI {row['rsi']:.0f}")
    closed = f"{row['symbol']} closed at {number(row['current_price'])} on {row['as_of_date']}"
    return f"{closed}: {', '.join(parts)}." if parts else f"{closed}."


def snapshot(row: Row) -> View:
    """View of `snapshot`."""
    notes, steps = [], []
    if row["is_due"]:
        notes.append(f"Due: {row['due_reason']}. The next sweep of a worker computes it anew.")
        steps = [f"{MARKET} refresh-indicators --symbols {row['symbol']}"]
    elif row["benchmark_as_of"] is None:
        benchmark = row["benchmark"]
        notes.append(f"Without bars of {benchmark}, stage and strength are not known.")
        steps.append(f"{MARKET} fetch-prices -s {benchmark} -d 3650")
    if row["bars"] < 200:
        notes.append(f"{count(row['bars'], 'bar')}: what needs more of them is left out.")
    return View(COLUMNS, summary=_said(row), notes=notes, next=steps)


def refreshed(row: Row) -> View:
    """View of `refresh-indicators`."""
    if row["dry_run"]:
        text = f"Dry run: {count(row['symbols'], 'snapshot')} would be computed."
    elif not row["symbols"]:
        text = "Nothing to do: no symbol has bars of ours, or none is due."
    else:
        text = f"{row['stored']:,} of {count(row['symbols'], 'snapshot')} computed."
    if row["failed"]:
        text = f"{row['failed']:,} failed: {row['first_failed']}. {text}"
    return View(
        [
            Column("symbols", rank=0, of=["dry_run", "first_failed"]),
            Column("stored", "computed", rank=0),
            Column("failed", rank=0),
            Column("due_before", "due before", rank=1),
            Column("due_after", "due after", rank=1),
        ],
        summary=text,
        next=[f"{WORKER} sweep"] if row["failed"] else [],
    )


def recorded(rows: Sequence[Row], *, dry_run: bool) -> View:
    """View of `record-history`."""
    new, left = total(rows, "recorded"), total(rows, "due")
    did = "would be recorded" if dry_run else "recorded"
    said = counted(
        [
            (total(rows, "already"), "was recorded before", "were recorded before"),
            (left, "is due and is computed first", "are due and are computed first"),
            (total(rows, "never"), "was never computed", "were never computed"),
        ],
        "",
    )
    text = f"{count(new, 'snapshot')} {did}" if new else "Nothing to record"
    return View(
        [
            Column("as_of", "day", rank=0, kind="day"),
            Column("recorded", rank=0, kind="count"),
            Column("already", "before", rank=1, kind="count"),
            Column("due", rank=1, kind="count"),
            Column("never", "never computed", rank=1, kind="count"),
        ],
        summary=f"{'Dry run: ' if dry_run else ''}{text}{'; ' if said else ''}{said}.",
        next=[f"{MARKET} refresh-indicators --due"] if left else [],
        empty="Nothing to record: each snapshot was recorded before, or computed after its day.",
        record=False,
    )
