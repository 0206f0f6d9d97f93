"""Screens of five-minute bars: `backfill-5m`."""

from collections.abc import Sequence

from market.cli.display import Column, View
from market.cli.display.view import Row
from market.cli.views.words import MARKET, fetch_sentence

# Results that are no failure: another worker's fetch is none either.
WELL = ("fetched", "would fetch", "up to date", "busy")


def filled(rows: Sequence[Row], *, dry_run: bool) -> View:
    """View of `backfill-5m`."""
    text, bad = fetch_sentence(rows, WELL, dry_run=dry_run)
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
