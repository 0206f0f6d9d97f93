"""Screens of snapshots: `snapshot`, `refresh-indicators`, `record-history`."""

from collections.abc import Iterator, Sequence
from typing import Any

from market.cli.display import Column, View
from market.cli.display.view import Row
from market.cli.views.words import MARKET, WORKER, count, counted, total

_STAGES = {"1": "basing", "2": "advancing", "3": "topping", "4": "declining"}
_BUCKETS = {
    "LEADING": "averages rise, the shorter above the longer",
    "LAGGING": "averages fall, the shorter below the longer",
    "NEUTRAL": "averages without an order",
    "UNKNOWN": "too few bars for an order of the averages",
}


def _number(value: Any, digits: int = 2) -> str:
    return f"{value:,.{digits}f}"


def _signed(value: Any) -> str:
    return f"{value:+.2f} %"


def _parts(row: Row, *parts: tuple[str, str]) -> Iterator[str]:
    """Yield `words value` of each key that has a value. A % in the words: the value has a sign."""
    for key, words in parts:
        if row.get(key) is not None:
            value = row[key]
            if words.endswith("%"):
                yield f"{words.removesuffix('%').strip()} {_signed(value)}".strip()
            else:
                yield f"{words} {_number(value) if isinstance(value, float) else value}".strip()


def _line(parts: Iterator[str] | Sequence[str]) -> str | None:
    return " \u00b7 ".join(parts) or None


def _group(title: str, keys: Sequence[str], text: Any, name: str = "") -> Column:
    """Make a line of the screen that says several keys."""
    return Column(name or title, title, rank=0, kind="text", value=text, of=keys, wrap=True)


def _price(row: Row) -> str | None:
    days = [(f"perf_{n}d", f"{n} d %") for n in (1, 3, 5, 20, 60, 120, 252)]
    return _line(_parts(row, *days))


def _periods(row: Row) -> str | None:
    return _line(
        _parts(row, ("perf_mtd", "month %"), ("perf_qtd", "quarter %"), ("perf_ytd", "year %"))
    )


_SMA = (5, 8, 10, 14, 20, 21, 50, 100, 150, 200)
_EMA = (8, 10, 21, 200)


def _averages(row: Row) -> str | None:
    parts = list(_parts(row, *((f"sma_{n}", f"{n}:") for n in _SMA)))
    return _line(["simple " + parts[0], *parts[1:]]) if parts else None


def _exponential(row: Row) -> str | None:
    parts = [
        part + (f" ({_signed(row[f'pct_dist_ema{n}'])})" if row.get(f"pct_dist_ema{n}") else "")
        for n in _EMA
        for part in _parts(row, (f"ema_{n}", f"{n}:"))
    ]
    return _line(["exponential " + parts[0], *parts[1:]]) if parts else None


def _order(row: Row) -> str | None:
    parts = [_BUCKETS.get(row["ma_bucket"] or "", "")]
    if row["ma_aligned"]:
        parts.append("aligned from 10 to 200")
    if row["trend_up_count"] is not None:
        parts.append(f"pivots: {row['trend_up_count']} higher lows,")
        parts[-1] += f" {row['trend_down_count']} lower highs"
    return _line([part for part in parts if part])


def _momentum(row: Row) -> str | None:
    return _line(
        _parts(
            row,
            ("rsi", "RSI"),
            ("macd", "MACD"),
            ("macd_signal", "signal"),
            ("macd_histogram", "histogram"),
            ("adx", "ADX"),
            ("plus_di", "+DI"),
            ("minus_di", "-DI"),
        )
    )


def _range(row: Row) -> str | None:
    named = (("range_pos_20d", "20 d"), ("range_pos_50d", "50 d"), ("range_pos_52w", "52 weeks"))
    places = [f"{words} {row[key]:.0f} %" for key, words in named if row.get(key) is not None]
    up, down = row["gaps_unfilled_up"], row["gaps_unfilled_down"]
    if up is not None:
        places.append(f"open gaps: {up} up, {down} down")
    return _line(places)


def _volatility(row: Row) -> str | None:
    parts = list(_parts(row, ("atr_value", "ATR")))
    if parts and row["atr_percent"] is not None:
        parts[0] += f" ({row['atr_percent']:.2f} % of the close)"
    if row["volatility_percentile"] is not None:
        parts.append(f"percentile {row['volatility_percentile']:.0f} of a year")
    parts += [word for key in ("volatility_level", "volatility_trend") if (word := row[key])]
    return _line(parts)


def _in_atr(row: Row) -> str | None:
    """Say how many ATR the close is from its averages."""
    named = [("atr_distance", "SMA 50")] + [(f"atr_dist_ema{n}", f"EMA {n}") for n in (8, 21, 200)]
    parts = [f"{words} {row[key]:+.2f}" for key, words in named if row.get(key) is not None]
    return _line(["in ATR from " + parts[0], *parts[1:]]) if parts else None


def _demark(row: Row) -> str | None:
    if row["td_buy_setup"] is None:
        return None
    parts = []
    for side in ("buy", "sell"):
        text = f"{side} setup {row[f'td_{side}_setup']} of 9"
        if row[f"td_{side}_complete"]:
            text += ", perfected" if row[f"td_perfect_{side}"] else ", not perfected"
        parts.append(text)
        if row[f"td_{side}_countdown"]:
            parts.append(f"{side} countdown {row[f'td_{side}_countdown']} of 13")
    return _line(parts)


def _stage(row: Row) -> str | None:
    label = row["stage_label"]
    parts = [f"{label}, {_STAGES[label]}" if label in _STAGES else "unknown"]
    parts += _parts(
        row,
        ("stage_dist_pct", "close against its 30 weeks %"),
        ("stage_slope_pct", "the 30 weeks in five weeks %"),
        ("rs_mansfield_pct", f"strength against {row['benchmark']} %"),
    )
    return _line(parts)


def _company(row: Row) -> str | None:
    return _line([str(row[key]) for key in ("name", "sector", "industry") if row.get(key)])


_VOLATILITY = ("atr_value", "atr_percent", "volatility_level", "volatility_percentile", "volatility_trend")  # fmt: skip
_COLUMNS = [
    _group("company", ("name", "sector", "industry"), _company),
    _group("change", [f"perf_{n}d" for n in (1, 3, 5, 20, 60, 120, 252)], _price),
    _group("so far", ("perf_mtd", "perf_qtd", "perf_ytd"), _periods),
    _group("trend", [f"sma_{n}" for n in _SMA], _averages),
    _group(
        " ",
        [*(f"ema_{n}" for n in _EMA), *(f"pct_dist_ema{n}" for n in (8, 21, 200))],
        _exponential,
        "exponential",
    ),
    _group("  ", ("ma_aligned", "ma_bucket", "trend_up_count", "trend_down_count"), _order, "order"),
    _group(
        "momentum",
        ("rsi", "macd", "macd_signal", "macd_histogram", "adx", "plus_di", "minus_di"),
        _momentum,
    ),
    _group(
        "range",
        ("range_pos_20d", "range_pos_50d", "range_pos_52w", "gaps_unfilled_up", "gaps_unfilled_down"),
        _range,
    ),
    _group("volatility", _VOLATILITY, _volatility),
    _group("   ", ("atr_distance", *(f"atr_dist_ema{n}" for n in (8, 21, 200))), _in_atr, "atr"),
    _group(
        "DeMark",
        [f"td_{s}_{k}" for s in ("buy", "sell") for k in ("setup", "complete", "countdown")]
        + ["td_perfect_buy", "td_perfect_sell"],
        _demark,
    ),
    _group("stage", ("stage_label", "stage_dist_pct", "stage_slope_pct", "rs_mansfield_pct"), _stage),
    Column("analysis_timestamp", "computed", rank=1),
    Column("bars", "from bars", rank=1, of=(
        "symbol", "analysis_type", "as_of_date", "as_of_timestamp", "expiry_timestamp", "is_due",
        "due_reason", "current_price", "benchmark", "benchmark_as_of", "market_cap", "engine_version",
    )),
]  # fmt: skip


def _said(row: Row) -> str:
    """Say in a sentence where the symbol stands."""
    parts = []
    if row["stage_label"] in _STAGES:
        parts.append(f"stage {row['stage_label']} ({_STAGES[row['stage_label']]})")
    if row["ma_bucket"] not in {None, "UNKNOWN", "NEUTRAL"}:
        parts.append(row["ma_bucket"].lower())
    if row["rsi"] is not None:
        parts.append(f"RSI {row['rsi']:.0f}")
    closed = f"{row['symbol']} closed at {_number(row['current_price'])} on {row['as_of_date']}"
    return f"{closed}: {', '.join(parts)}." if parts else f"{closed}."


def snapshot(row: Row) -> View:
    """View of `snapshot`."""
    notes, steps = [], []
    if row["is_due"]:
        notes.append(f"Not of the bars that are stored: {row['due_reason']}.")
        steps = [f"{MARKET} refresh-indicators --symbols {row['symbol']}"]
    if row["benchmark_as_of"] is None:
        benchmark = row["benchmark"]
        notes.append(f"Without bars of {benchmark}, stage and strength are not known.")
        steps.append(f"{MARKET} fetch-prices -s {benchmark} -d 3650")
    if row["bars"] < 200:
        notes.append(f"{count(row['bars'], 'bar')}: what needs more of them is left out.")
    return View(_COLUMNS, summary=_said(row), notes=notes, next=steps)


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
        empty="Every snapshot was recorded before.",
        record=False,
    )
