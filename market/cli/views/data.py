"""Screens of outcomes and of the data: `calculate-outcomes`, `auto-pipeline`, `stats` and stages."""

from collections.abc import Mapping, Sequence

from market.cli.display import Column, View, changed
from market.cli.display.cells import size
from market.cli.display.view import Row
from market.cli.views.words import MARKET, WORKER, count, counted, total
from market.outcomes import STATES


def calculated(row: Row) -> View:
    """View of `calculate-outcomes`."""
    outcomes, symbols = count(row["changed"], "outcome"), count(row["symbols"], "symbol")
    if not row["changed"]:
        text = "Nothing to do: no outcome changes by the stored prices."
    elif row["dry_run"]:
        text = f"Dry run: {outcomes} of {symbols} would change."
    else:
        text = f"{outcomes} of {symbols} changed."
    return View(
        [
            Column("symbols", rank=1),
            Column("changed", rank=0, of=["dry_run"]),
            *(changed(name, f"{name}_before", f"{name}_after", rank=2) for name in STATES),
        ],
        summary=text,
    )


def pipeline(row: Row) -> View:
    """View of `auto-pipeline`."""
    predictions = count(row["predictions"], "prediction")
    states = counted([(row[name], name.replace("_", " ")) for name in STATES])
    outcomes = f"{count(row['outcomes'], 'outcome')}: {states}" if row["outcomes"] else "no outcome"
    steps: list[str] = []
    if not row["predictions"]:
        text = "Nothing to do: no eligible prediction in these days."
    elif row["dry_run"]:
        text = f"Dry run: {count(row['left'], 'event')} of {predictions} would be processed."
        text = text if row["left"] else f"Nothing to do: {predictions}, {outcomes}."
    elif row["left"]:
        text = f"{count(row['left'], 'event')} of {predictions} left to process; {outcomes}."
        steps = [f"{WORKER} status"]
    else:
        text = f"{predictions} processed; {outcomes}."
    if row["parked"]:
        text = f"{count(row['parked'], 'event')} parked. {text}"
        steps = [f"{WORKER} status"]
    return View(
        [
            Column("predictions", rank=0, of=["dry_run"]),
            Column("left", "events left", rank=1),
            Column("parked", "events parked", rank=1),
            Column("outcomes", rank=1),
            *(Column(name, rank=2) for name in STATES),
        ],
        summary=text,
        next=steps,
    )


def tables(rows: Sequence[Row]) -> View:
    """View of `stats`."""
    return View(
        [
            Column("name", "table", rank=0),
            Column("rows", rank=1, kind="count"),
            Column("is_estimate", "estimated", rank=2),
            Column("bytes", "size", rank=1, kind="bytes"),
        ],
        sort=lambda row: (-(row["bytes"] or 0), row["name"]),
        summary=f"{count(len(rows), 'table')}, {size(total(rows, 'bytes'))}." if rows else "",
        fold=lambda row: None if row["rows"] else row["name"],
        folded="empty",
        empty="No table of ours.",
        record=False,
    )


def _by_state(states: Mapping[str | None, int]) -> str:
    known = [(states.get(name, 0), name.replace("_", " ")) for name in STATES]
    return counted([*known, (states.get(None, 0), "of another program")], "none yet")


def stages(rows: Sequence[Row], states: Mapping[str | None, int]) -> View:
    """View of `processing-stats`: a funnel; stages with nothing in them are folded.

    states: outcomes by state, each outcome once; another program's have none.
    """
    by_name = {row["stage"]: row for row in rows}

    def number(stage: str, key: str = "predictions") -> int:
        return (by_name[stage][key] or 0) if stage in by_name else 0

    on = number("waiting") + number("in flight")
    parts = [
        counted([(number("dead"), "dead"), (number("no event"), "without an event")], ""),
        f"{count(on, 'prediction')} under way" if on else "",
        f"{count(sum(states.values()), 'outcome')}: {_by_state(states)}",
    ]
    steps = []
    if number("dead"):
        steps = [f"{WORKER} status"]
    elif number("no event"):
        steps = [f"{WORKER} sweep"]
    return View(
        [
            Column("stage", rank=0),
            Column("predictions", rank=0, kind="count"),
            Column("outcomes", rank=0, kind="count"),
            Column("oldest", rank=1),
            Column("oldest_prediction", "oldest id", rank=2, kind="text"),
        ],
        summary=f"{'; '.join(filter(None, parts))}.",
        next=steps,
        fold=lambda row: (
            None
            if row["predictions"] or row["outcomes"]
            else row["stage"].removeprefix("no event, ")
        ),
        folded="nothing in",
        record=False,
    )


def outcomes(rows: Sequence[Row]) -> View:
    """View of `outcomes`: one row for each prediction, symbol and horizon."""
    judged = [row["correct"] for row in rows if row["correct"] is not None]
    text = f"{count(len(rows), 'outcome')}"
    if judged:
        text += f", {sum(judged):,} of {len(judged):,} judged are right ({sum(judged) / len(judged):.0%})"
    return View(
        [
            Column("prediction_id", "id", rank=1, kind="text"),
            Column("symbol", rank=0),
            Column("sentiment", "said", rank=0),
            Column("horizon", rank=0, value=lambda row: row["horizon"].replace("t", "T+")),
            Column("return_pct", "return %", rank=0, kind="percent"),
            Column("correct", "right", rank=0),
            Column("entry_session", "entry", rank=1, kind="day"),
            Column("exit_session", "exit", rank=3, kind="day"),
            Column("state", rank=2),
            Column("confidence", rank=3),
            Column("excess_pct", "excess %", rank=4, kind="percent"),
            Column("entry_price", "entry close", rank=5, kind="price"),
            Column("exit_price", "exit close", rank=5, kind="price"),
            Column("pnl_usd", "pnl USD", rank=6, kind="percent"),
            Column("sector", rank=6),
            Column("model", rank=6),
        ],
        summary=f"{text}." if rows else "",
        next=[f"{MARKET} accuracy-report"] if judged else [],
        empty="No outcome matches.",
        record=False,
    )
