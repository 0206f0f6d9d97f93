"""Screens of the universe: `constituents refresh`, `constituents show`, `tracked`, `import-holdings`."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence

from market.cli.display import Column, View, changed
from market.cli.display.view import Row
from market.cli.views.words import MARKET, count, counted, listed, total, verb

_REFRESH = f"{MARKET} constituents refresh"


def refreshed(rows: Sequence[Row], *, dry_run: bool) -> View:
    """View of `constituents refresh`: those that were not refreshed first."""
    failed = [row["index"] for row in rows if row["result"] != "refreshed"]
    moves = counted(
        [
            (total(rows, "inserted"), "is new", "are new"),
            (total(rows, "reactivated"), "returned"),
            (total(rows, "inactivated"), "left"),
        ],
        empty="no member changed",
    )
    done = len(rows) - len(failed)
    sentence = f"{count(done, 'index', 'indexes')} refreshed: {moves}." if done else ""
    if failed:
        sentence = f"{listed(failed)} {verb(len(failed), 'was', 'were')} not refreshed. {sentence}"
    return View(
        [
            Column("index", rank=0),
            Column("result", rank=0, kind="state"),
            changed("members_after", "members_before", "members_after", "members", rank=0),
            Column("inserted", "new", rank=1, kind="count"),
            Column("reactivated", "returned", rank=1, kind="count"),
            Column("inactivated", "left", rank=1, kind="count"),
            Column("provider_used", "from", rank=1, kind="text"),
            Column("said", "not used", rank=9, kind="text"),
            Column("registered", rank=3, kind="count"),
            Column("fetched", "on the list", rank=4, kind="count"),
            Column("fallback_used", "fallback", rank=5, kind="yes"),
            Column("payload", rank=6, kind="text"),
        ],
        sort=lambda row: (row["result"] == "refreshed", row["index"]),
        summary=f"{'Dry run: ' if dry_run else ''}{sentence.strip()}" if rows else "",
        # The error line has what was said of the others.
        notes=[
            f"{row['index']} is from {row['provider_used']}, because of {row['said']}"
            for row in rows
            if row["said"] and row["result"] == "refreshed"
        ],
        next=[f"{MARKET} tracked --new"] if total(rows, "registered") and not dry_run else [],
        empty="No index: INSERT INTO market_indexes adds one.",
        record=False,
    )


def indexes(rows: Sequence[Row]) -> View:
    """View of `constituents show`: the indexes whose refresh fails first."""
    failing = [row["name"] for row in rows if row["failure"]]
    never = [row["name"] for row in rows if not row["members"] and not row["failure"]]
    if failing:
        text = f"{listed(failing)} cannot be refreshed."
    elif never:
        text = f"{listed(never)} {verb(len(never), 'has', 'have')} no members yet."
    else:
        text = f"{count(len(rows), 'index', 'indexes')}, {count(total(rows, 'members'), 'member')}."
    worst = failing or never
    return View(
        [
            Column("name", "index", rank=0),
            Column("members", rank=0, kind="count"),
            Column("refreshed_at", "refreshed", rank=1, kind="when"),
            Column("provider", "from", rank=1, kind="text"),
            Column("failure", rank=9, kind="text"),
            Column("failed_since", "failing since", rank=2, kind="when"),
            Column("known_since", "known since", rank=2, kind="day"),
            Column("former", "left", rank=3, kind="count"),
            Column("title", rank=4, kind="text"),
        ],
        sort=lambda row: (row["failure"] is None, row["name"]),
        summary=text if rows else "",
        notes=[f"{row['name']}: {row['failure']}" for row in rows if row["failure"]],
        next=[f"{_REFRESH} {worst[0]}" if len(worst) == 1 else _REFRESH] if worst else [],
        empty="No index: INSERT INTO market_indexes adds one.",
        record=False,
    )


def members(rows: Sequence[Row], state: Row, date: dt.date | None) -> View:
    """View of `constituents show INDEX`: its members, and how far that can be relied on."""
    name, known = state["name"], state["known_since"]
    notes = []
    if state["failure"]:
        since = state["failed_since"]  # NULL where somebody wrote the failure by hand
        notes.append(
            f"The refresh fails{f' since {since:%Y-%m-%d %H:%M}' if since else ''}: {state['failure']}"
        )
    if known is None:
        empty = f"No member of {name} is known yet."
    elif date is not None and date < known.date():
        empty = f"Members of {name} are known since {known.date()}, not on {date}."
    else:
        empty = f"{name} had no member."
    when = f"on {date}" if date else "now"
    return View(
        [
            Column("symbol", rank=0),
            Column("name", rank=1, kind="text", least=12),
            Column("sector", rank=2, kind="text", least=10),
            Column("industry", rank=3, kind="text", least=10),
            Column("since", rank=2, kind="day"),
            Column("until", "left", rank=3, kind="day"),
            Column("source", "from", rank=5, kind="text"),
        ],
        summary=f"{name} has {count(len(rows), 'member')} {when}; known since {known.date()}."
        if rows and known
        else "",
        notes=notes,
        next=[f"{_REFRESH} {name}"] if state["failure"] or known is None else [],
        empty=empty,
        record=False,
    )


def tracked(rows: Sequence[Row], *, new: bool) -> View:
    """View of `tracked`: symbols without bars and with faults first."""
    bare = sum(not row["record_count"] for row in rows)
    failed = sum(bool(row["backfill_error"]) for row in rows)
    reasons = Counter(each.partition(":")[0] for row in rows for each in row["reasons"])
    why = listed(f"{number:,} {_WORDS.get(name, name)}" for name, number in reasons.most_common())
    text = f"{count(len(rows), 'symbol')} {verb(len(rows), 'is', 'are')} followed: {why}."
    if bare and not new:
        text = f"{text} {bare:,} without any bar."
    return View(
        [
            Column("symbol", rank=0),
            Column("reasons", rank=0, kind="list"),
            Column("record_count", "bars", rank=1, kind="count"),
            Column("last_date", "newest", rank=1, kind="day"),
            Column("gaps_detected", "gaps", rank=2, kind="count"),
            Column("backfill_error", "fault", rank=2, kind="text", least=16),
            Column("first_date", "oldest", rank=3, kind="day"),
            Column("asset_class", "kind", rank=4, kind="text"),
            Column("date_added", "since", rank=4, kind="day"),
            Column("backfill_status", "fetch", rank=5, kind="state"),
            Column("last_backfill", "fetched", rank=5, kind="when"),
            Column("validation_rate", "valid", rank=6, kind="number"),
            Column("active", rank=9, kind="yes"),
        ],
        sort=lambda row: (not row["backfill_error"], bool(row["record_count"]), row["symbol"]),
        summary=text if rows else "",
        next=[f"{MARKET} backfill-all-missing"] if bare and failed else [],
        empty="Every tracked symbol has bars." if new else "No symbol is followed.",
    )


_WORDS = {
    "prediction": "by a prediction",
    "index": "by an index",
    "held": "held",
    "manual": "by hand",
}


def imported(rows: Sequence[Row], *, dry_run: bool) -> View:
    """View of `import-holdings`: what changed first, what stayed folded."""
    done = Counter(row["change"] for row in rows)
    text = counted([(done[each], each) for each in ("added", "changed", "removed")], "no change")
    accounts = len({row["account"] for row in rows})
    return View(
        [
            Column("symbol", rank=0),
            Column("change", rank=0, kind="state"),
            changed("after", "before", "after", "quantity", rank=0),
            Column("account", rank=1, kind="text"),
        ],
        sort=lambda row: (row["change"] == "same", row["account"], row["symbol"]),
        summary=f"{'Dry run: ' if dry_run else ''}{count(len(rows), 'holding')} in"
        f" {count(accounts, 'account')}: {text}."
        if rows
        else "",
        fold=lambda row: row["symbol"] if row["change"] == "same" else None,
        folded="as before",
        empty="No holding.",
        record=False,
    )
