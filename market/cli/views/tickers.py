"""Screens of the registry: `register-tickers`, `ticker-registry`, `set-ticker`, `remap-ticker`."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from market.cli.display import Column, View, changed
from market.cli.display.view import Row
from market.cli.views.words import MARKET, count, counted, verb


def trouble(row: Row) -> str:
    """Say in a word or two what is wrong with a ticker; empty where nothing is."""
    bars = row["bars"] if "bars" in row else row.get("total_price_records")
    if row["status"] == "invalid":
        return "invalid"
    if row["status"] != "active":
        return ""
    if row.get("backfill_status") == "failed" or row.get("backfill_error"):
        return "not fetched"
    return "" if bars else "without bars"


def why(row: Row) -> Any:
    """Return the reason for the state of a ticker."""
    if row["status"] == "active":
        return row.get("backfill_error") or row.get("status_reason")
    return row.get("status_reason") or row.get("backfill_error")


def by_trouble(row: Row) -> tuple[bool, bool, str]:
    """Sort tickers: trouble first, then what is fetched."""
    return (not trouble(row), row["status"] != "active", row["symbol"])


def summary(rows: Sequence[Row], bars: str) -> str:
    """Answer whether the tickers are well."""
    if not rows:
        return ""
    found = Counter(filter(None, map(trouble, rows)))
    stored = count(sum(row[bars] or 0 for row in rows), "bar")
    if not found:
        well = verb(len(rows), "it is well", "all are well")
        return f"{count(len(rows), 'ticker')}, {stored}: {well}."
    bad = sum(found.values())
    words = counted([(n, name) for name, n in found.items()])
    return (
        f"{bad:,} of {count(len(rows), 'ticker')} {verb(bad, 'needs', 'need')} attention: {words}."
    )


def _next(rows: Sequence[Row]) -> list[str]:
    bad = sorted((row for row in rows if trouble(row)), key=by_trouble)
    if not bad:
        return []
    first = bad[0]["symbol"]
    if trouble(bad[0]) == "invalid":
        return [f"{MARKET} remap-ticker {first} SYMBOL --dry-run"]
    return [f"{MARKET} fetch-prices -s {first}"]


def registry(rows: Sequence[Row]) -> View:
    """View of `ticker-registry`."""
    return View(
        [
            Column("symbol", rank=0),
            Column("status", "state", rank=0, kind="state"),
            Column("total_price_records", "bars", rank=1, kind="count"),
            Column("price_data_end", "newest", rank=1),
            Column("why", rank=1, value=why, least=16),
            Column("price_data_start", "oldest", rank=3),
            Column("asset_type", "kind", rank=4, kind="text"),
            Column("calendar", rank=4),
            Column("backfill_status", "fetch", rank=5, kind="state"),
            Column("first_seen_date", "first seen", rank=6, kind="day"),
            Column("source_prediction_id", "prediction", rank=6, kind="text"),
        ],
        sort=by_trouble,
        summary=summary(rows, "total_price_records"),
        next=_next(rows),
        empty="No ticker.",
    )


def registered(rows: Sequence[Row], *, dry_run: bool) -> View:
    """View of `register-tickers`."""
    done = Counter(row["result"] for row in rows)
    did = "would be registered" if dry_run else "registered"
    parts = [
        (done["registered"], did),
        (done["known"], "known already"),
        (done["rejected"], "not a symbol"),
    ]
    order = ("rejected", "registered", "known")
    return View(
        [Column("symbol", rank=0), Column("result", rank=0, kind="state")],
        sort=lambda row: order.index(row["result"]),
        summary=f"{'Dry run: ' if dry_run else ''}{counted(parts)}."
        if done["registered"] or done["rejected"]
        else "Nothing to do: all are known already.",
        record=False,
    )


def status_set(row: Row) -> View:
    """View of `set-ticker`."""
    symbol, before, after = row["symbol"], row["status_before"], row["status_after"]
    follows = counted(
        [
            (row["outcomes_changed"], "outcome changed", "outcomes changed"),
            (row["events_cancelled"], "event cancelled", "events cancelled"),
        ],
        "no outcome changed",
    )
    if row["dry_run"]:
        text = f"Dry run: {symbol} would be {after}, it is {before}; {follows}."
    elif before == after and not row["outcomes_changed"]:
        text = f"Nothing to do: {symbol} was {after} already; its reason is written."
    else:
        text = f"{symbol} is {after} now, it was {before}; {follows}."
    return View(
        [
            Column("symbol", rank=0, of=["dry_run"]),
            changed("status", "status_before", "status_after", rank=0, kind="state"),
            Column("predictions", rank=1),
            Column("outcomes", rank=1),
            Column("outcomes_changed", "changed", rank=1),
            changed("unresolvable", "unresolvable_before", "unresolvable_after", rank=1),
            Column("events_cancelled", rank=2),
        ],
        summary=text,
        next=[] if row["dry_run"] else [f"{MARKET} price-stats {symbol}"],
    )


def destroys(row: Row) -> str:
    """Say what a remap takes away without a replacement; empty where nothing is lost."""
    if not row["bars_set_aside"] or row["bars_taken"]:
        return ""
    lost = [count(row["bars_set_aside"], "bar")]
    if (complete := row["complete_before"] - row["complete_after"]) > 0:
        lost.append(count(complete, "complete outcome"))
    return (
        f"{row['new']} has no prices here: {row['old']} would lose {' and '.join(lost)}"
        f" until a provider answers for {row['provider_after']}"
    )


def remapped(row: Row) -> View:
    """View of `remap-ticker`."""
    old, new = row["old"], row["new"]
    bars = counted(
        [
            (row["bars_set_aside"], "bar set aside", "bars set aside"),
            (row["bars_taken"], "bar taken", "bars taken"),
        ],
        "no bar",
    )
    outcomes = count(row["outcomes_changed"], "outcome")
    if row["dry_run"]:
        loss = destroys(row)
        text = f"{old} would take the prices of {new}: {bars}, {outcomes} changed"
        text = f"Dry run: {loss or text}."
    elif row["provider_before"] == row["provider_after"] and not row["outcomes_changed"]:
        text = f"Nothing to do: providers know {old} as {row['provider_after']} already."
    else:
        text = f"{old} takes the prices of {new} now: {bars}, {outcomes} changed."
    return View(
        [
            Column("old", rank=0, of=["dry_run"]),
            Column("new", rank=0),
            changed("provider", "provider_before", "provider_after", "provider's symbol", rank=1),
            changed("calendar", "calendar_before", "calendar_after", rank=2),
            Column("outcomes", rank=1),
            Column("outcomes_changed", "changed", rank=1),
            changed("complete", "complete_before", "complete_after", rank=1),
            Column("bars_set_aside", rank=1),
            Column("bars_taken", rank=1),
        ],
        summary=text,
        next=[f"{MARKET} remap-ticker {old} {new}"]
        if row["dry_run"]
        else [f"{MARKET} price-stats {old}"],
    )
