"""What the demo prints: the table of outcomes, the summary, and what to type next."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from market.horizons import HORIZONS
from sql.database import Database
from sql.visible import visible, visible_line

SHOW = """
SELECT p.id, p.post_timestamp, o.symbol, o.prediction_sentiment AS sentiment, o.entry_session,
       o.price_at_prediction AS entry, o.return_t1, o.correct_t1, o.return_t3, o.correct_t3,
       o.return_t7, o.correct_t7, o.return_t30, o.correct_t30, o.outcome_state,
       CASE WHEN o.outcome_state <> 'awaiting_prices'
            THEN extract(epoch FROM o.last_price_update - p.created_at)::float8 END AS seconds
FROM predictions p JOIN prediction_outcomes o ON o.prediction_id = p.id ORDER BY p.id, o.symbol
"""
_SUMMARY = """
SELECT 'T+' || h.sessions AS horizon, count(*) FILTER (WHERE h.correct IS NOT NULL) AS judged,
       count(*) FILTER (WHERE h.correct) AS correct,
       round(100.0 * count(*) FILTER (WHERE h.correct)
             / nullif(count(*) FILTER (WHERE h.correct IS NOT NULL), 0), 0)::float8 AS accuracy,
       avg(h.return_pct) FILTER (WHERE h.correct IS NOT NULL) AS mean_return
FROM prediction_outcomes o CROSS JOIN LATERAL outcome_horizons(o) h
GROUP BY h.sessions ORDER BY h.sessions
"""


def summary(console: Console, database: Database) -> None:
    """Print accuracy and mean return for each horizon."""
    with database.transaction() as conn:
        rows = conn.execute(_SUMMARY).fetchall()
    console.print("5. Did they come true? (· above: that session is still to come)")
    for row in rows:
        if row["judged"]:
            console.print(
                f"   {row['horizon']:>4}: {row['correct']} of {row['judged']} right ({row['accuracy']:.0f} %),"
                f" mean return {row['mean_return']:+.2f} %"
            )


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Draw the rows of SHOW, narrow enough for a terminal of 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("post, UTC", "symbol", "says"):
        shown.add_column(name, no_wrap=True)
    for name in ("entry", *(f"T+{n} %" for n in HORIZONS.values()), "took"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(
            f"{row['post_timestamp']:%m-%d %Hh}",
            Text(visible_line(row["symbol"])),
            Text(visible_line(row["sentiment"] or "-")),
            "…" if row["entry"] is None else f"{row['entry']:.2f}",
            *(_mark(row[f"return_{t}"], row[f"correct_{t}"]) for t in HORIZONS),
            "…" if row["seconds"] is None else f"{row['seconds']:.1f} s",
        )
    return shown


def _mark(value: float | None, correct: bool | None) -> str:
    if value is None:
        return "·"
    sign = {True: "[green]✓[/]", False: "[red]✗[/]", None: " "}[correct]
    return f"{value:+.1f} {sign}"


def next_steps(console: Console, url: str, *, stay: bool) -> None:
    """Print the commands to type next; url: without its password."""
    lines = ["", "What to type next"]
    if stay:
        lines += [
            f"   psql '{url}'",
            "     INSERT INTO predictions (assets, market_impact)",
            """       VALUES ('["AMD"]', '{"AMD": "bullish"}');""",
            "     SELECT * FROM prediction_outcomes ORDER BY id DESC LIMIT 5;",
            "     SELECT * FROM outbox_status;",
        ]
    lines += [
        "   and on your own database:",
        "     export DATABASE_URL=postgresql://…",
        "     ./dev worker migrate",
        "     ./dev worker",
    ]
    if stay:
        lines += ["", "Worker and database stay alive for you. Ctrl-C ends both."]
    for line in lines:
        console.print(visible(line), markup=False, soft_wrap=True)
