"""Screens of five-minute bars: `backfill-5m`."""

from collections import Counter
from collections.abc import Sequence

from market.cli.display import Column, View
from market.cli.display.view import Row
from market.cli.views.words import MARKET, count, counted, total

# Results that are no failure: another worker's fetch is none either.
WELL = ("fetched", "would fetch", "up to date", "busy")


def filled(rows: Sequence[Row], *, dry_run: bool) -> View:
    """View of `backfill-5m`."""
    found = Counter(row["result"] for row in rows)
    good, bad = found["fetched"], sum(found[name] for name in found if name not in WELL)
    if dry_run:
        text = "Nothing to do: every session is stored."
        if found["would fetch"]:
            sessions = count(total(rows, "sessions"), "session")
            text = f"Dry run: {sessions} of {count(found['would fetch'], 'symbol')} to fetch."
    elif not good and not bad:
        text = "Nothing to do: every session is stored."
    else:
        stored = counted(
            [
                (total(rows, "inserted"), "new bar", "new bars"),
                (total(rows, "updated"), "changed bar", "changed bars"),
            ],
            "no new bar",
        )
        failed = f"{bad:,} of {count(len(rows), 'symbol')} not fetched" if bad else ""
        done = f"{count(good, 'symbol')} fetched: {stored}" if good else ""
        text = "; ".join(filter(None, [failed, done])) + "."
    return View(
        [
            Column("symbol", rank=0),
            Column("result", "state", rank=0, kind="state"),
            Column("sessions", rank=1),
            Column("bars", rank=1, kind="count"),
            Column("inserted", "new", rank=1),
            Column("updated", "changed", rank=2),
            Column("missing", rank=2),
            Column("reason", "why", rank=1, least=16),
            Column("rejected", rank=3),
            Column("provider", rank=3),
            Column("from", rank=4),
            Column("to", rank=4),
            Column("revised", rank=5),
            Column("first_revised", rank=5, least=16),
        ],
        sort=lambda row: (row["result"] in WELL, row["symbol"]),
        summary=text,
        next=[f"{MARKET} providers"] if bad else [],
        record=False,
        empty=f"No symbol is tracked yet: {MARKET} backfill-5m -s SYMBOL.",
    )
