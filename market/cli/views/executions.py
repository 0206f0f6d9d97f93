"""Screens of fills: `import-fills` and `execution-report`."""

from collections.abc import Callable
from typing import Any

from market.cli.display import Column, View, changed
from market.cli.display.view import Row
from market.cli.views.words import MARKET, count, counted

_SHOWN = 20


def imported(row: Row, file: str) -> View:
    """View of `import-fills`: one row, and a line for each fill that is refused."""
    fills = count(row["fills"], "fill")
    if row["refused"]:
        text = f"{row['refused']:,} of {fills} refused, nothing stored."
    elif not row["fills"]:
        text = f"Nothing to do: {file} has no fill."
    else:
        verb = "would be stored" if row["dry_run"] else "stored"
        known = f", {row['unchanged']:,} known already" if row["unchanged"] else ""
        text = f"{'Dry run: ' if row['dry_run'] else ''}{row['added']:,} of {fills} {verb}{known}."
    notes = [_refusal(each) for each in row["errors"][:_SHOWN]]
    left = row["refused"] - len(notes)
    if left > 0:
        notes.append(f"and {count(left, 'more')}" if left == 1 else f"and {left:,} more")
    if row["ignored"]:
        notes.append(f"not columns of fills, left out: {', '.join(row['ignored'])}")
    return View(
        [
            Column("fills", rank=0, kind="count", of=["errors", "ignored", "dry_run"]),
            Column("added", rank=0, kind="count"),
            Column("unchanged", rank=0, kind="count"),
            Column("refused", rank=0, kind="count"),
            changed("stored", "before", "after", "stored fills", rank=0, kind="count"),
        ],
        summary=text,
        notes=notes,
        next=[f"{MARKET} execution-report"] if row["added"] and not row["dry_run"] else [],
    )


def _refusal(error: Row) -> str:
    order = f", order {error['order_id']}" if error["order_id"] else ""
    return f"line {error['line']}{order}: {error['reason']}"


def costs(whole: Row | None, by: str | None, horizon: str) -> View:
    """View of `execution-report`. whole: the line of all fills; None: there are none."""
    at = horizon.replace("t", "T+")
    return View(
        [
            Column("group", by or "", rank=0, kind="text"),
            Column("fills", rank=0, kind="count", of=["priced", "weeks", "interval"]),
            Column("mean_bps", "mean bps", rank=0, kind="percent"),
            Column(
                "mean_low_bps",
                "95 %",
                rank=1,
                kind="text",
                value=_span("mean"),
                of=["mean_high_bps"],
            ),
            Column("median_bps", "median", rank=1, kind="percent"),
            Column(
                "median_low_bps",
                "its 95 %",
                rank=4,
                kind="text",
                value=_span("median"),
                of=["median_high_bps"],
            ),
            Column("cost", rank=1, kind="price", of=["slippage_cost", "commission"]),
            Column("currency", "in", rank=1, kind="text"),
            Column(
                "range_cost",
                "of range %",
                rank=2,
                kind="count",
                value=_share("range_cost"),
                of=["range_low", "range_high"],
            ),
            Column("outside", rank=5, kind="count", value=_unless_zero("outside"), of=["ranged"]),
            Column("weighted_bps", "by value", rank=3, kind="percent"),
            Column(
                "known",
                f"{at} known",
                rank=5,
                kind="count",
                value=_unless_zero("known"),
                of=["predicted"],
            ),
            Column("right", "right %", rank=4, kind="count", value=_share("right")),
            Column("return_bps", f"{at} bps", rank=4, kind="percent"),
        ],
        summary=_sentence(whole) if whole else "",
        notes=_notes(whole) if whole else [],
        next=[f"{MARKET} execution-report --by currency"]
        if whole and whole["currency"] == "mixed" and by != "currency"
        else [],
        empty=f"No fill matches; {MARKET} import-fills FILE stores some.",
    )


def _sentence(whole: Row) -> str:
    fills = count(whole["fills"], "fill")
    if whole["mean_bps"] is None:
        return f"{fills}, none with an expected price."
    text = f"{fills} cost {whole['mean_bps']:+.2f} bps on average"
    if whole["mean_low_bps"] is not None:
        text += f" (95 %: {_span('mean')(whole)})"
    else:
        text += f" ({count(whole['weeks'], 'week')}: too few for an interval)"
    if whole["cost"] is not None:
        money = "" if whole["currency"] == "not given" else f" {whole['currency']}"
        text += f", {whole['cost']:,.2f}{money} with fees"
    return f"{text}."


def _notes(whole: Row) -> list[str]:
    left_out = counted(
        [
            (
                whole["fills"] - whole["priced"],
                "fill without an expected price",
                "fills without an expected price",
            ),
            (
                whole["outside"],
                "fill outside of its session's range",
                "fills outside of their session's range",
            ),
        ],
        "",
    )
    legend = (
        "bps: positive is a cost to that side. 95 %: whole weeks are drawn anew; none below 10 weeks. of"
        " range: 0 is the session's best price for the side, 100 its worst."
    )
    return [*([f"{left_out}."] if left_out else []), legend]


def _span(name: str) -> Callable[[Row], Any]:
    def text(row: Row) -> str | None:
        low, high = row[f"{name}_low_bps"], row[f"{name}_high_bps"]
        return None if low is None or high is None else f"{low:+.2f} to {high:+.2f}"

    return text


def _share(key: str) -> Callable[[Row], Any]:
    return lambda row: None if row[key] is None else 100 * row[key]


def _unless_zero(key: str) -> Callable[[Row], Any]:
    """Return the value of a column that vanishes where it is zero in every row."""
    return lambda row: row[key] or None
