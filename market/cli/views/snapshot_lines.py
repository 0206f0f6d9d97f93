"""The lines of `market snapshot`: each says several indicators in words that fit 80 columns."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from market.cli.display import Column
from market.cli.display.view import Row
from market.cli.views.words import count

STAGES = {"1": "basing", "2": "advancing", "3": "topping", "4": "declining"}
_BUCKETS = {
    "LEADING": "averages rise, the shorter above the longer",
    "LAGGING": "averages fall, the shorter below the longer",
    "NEUTRAL": "averages without an order",
    "UNKNOWN": "too few bars for an order of the averages",
}


def number(value: Any, digits: int = 2) -> str:
    """Format a price."""
    return f"{value:,.{digits}f}"


def _joined(parts: Iterable[str]) -> str | None:
    return " \u00b7 ".join(part for part in parts if part) or None


def _values(
    row: Row, prefix: str, names: Sequence[Any], form: str, unit: str = ""
) -> Iterator[str]:
    """Yield `name value` for each that has a value. prefix: of the keys. unit: behind the last."""
    known = [(name, row[f"{prefix}{name}"]) for name in names if row[f"{prefix}{name}"] is not None]
    for n, (name, value) in enumerate(known, 1):
        yield f"{name} {value:{form}}{unit if n == len(known) else ''}"


def _group(key: str, title: str, of: Sequence[str], text: Callable[[Row], str | None]) -> Column:
    """Make a line of the screen that says several keys; an empty title continues a group."""
    return Column(key, title or " ", rank=0, kind="text", value=text, of=of, wrap=True)


def _changes(*names: str) -> Callable[[Row], str | None]:
    return lambda row: _joined(_values(row, "perf_", names, "+.2f", " %"))


def _periods(row: Row) -> str | None:
    return _joined(
        name.upper() for name in _values(row, "perf_", ("mtd", "qtd", "ytd"), "+.2f", " %")
    )


def _simple(row: Row) -> str | None:
    values = _joined(_values(row, "sma_", (10, 20, 50, 100, 200), ",.2f"))
    return f"SMA {values}" if values else None


def _exponential(row: Row) -> str | None:
    parts = [
        f"{n} {number(row[f'ema_{n}'])} ({row[f'pct_dist_ema{n}']:+.1f} %)"
        for n in (8, 21, 200)
        if row[f"ema_{n}"] is not None and row[f"pct_dist_ema{n}"] is not None
    ]
    return f"EMA {_joined(parts)}" if parts else None


def _order(row: Row) -> str | None:
    aligned = "aligned from 10 to 200" if row["ma_aligned"] else ""
    return _joined([_BUCKETS.get(row["ma_bucket"] or "", ""), aligned])


def _pivots(row: Row) -> str | None:
    up, down = row["trend_up_count"], row["trend_down_count"]
    if up is None or down is None:
        return None
    return f"{count(up, 'higher low')} and {count(down, 'lower high')} at the last pivots"


def _strength(row: Row) -> str | None:
    parts = [f"RSI {row['rsi']:.1f}"] if row["rsi"] is not None else []
    if row["adx"] is not None:
        parts.append(f"ADX {row['adx']:.1f} (+DI {row['plus_di']:.1f}, -DI {row['minus_di']:.1f})")
    return _joined(parts)


def _macd(row: Row) -> str | None:
    if row["macd"] is None:
        return None
    parts = [f"MACD {row['macd']:,.3f}"]
    if row["macd_signal"] is not None:
        parts += [f"signal {row['macd_signal']:,.3f}", f"histogram {row['macd_histogram']:+,.3f}"]
    return _joined(parts)


def _range(row: Row) -> str | None:
    named = (("range_pos_20d", "20 d"), ("range_pos_50d", "50 d"), ("range_pos_52w", "52 weeks"))
    return _joined(f"{words} {row[key]:.0f} %" for key, words in named if row[key] is not None)


def _gaps(row: Row) -> str | None:
    up, down = row["gaps_unfilled_up"], row["gaps_unfilled_down"]
    return None if up is None else f"open gaps of 120 bars: {up} up, {down} down"


def _volatility(row: Row) -> str | None:
    parts = []
    if row["atr_value"] is not None:
        parts.append(f"ATR {row['atr_value']:,.2f} ({row['atr_percent']:.2f} %)")
    if row["volatility_percentile"] is not None:
        parts.append(f"percentile {row['volatility_percentile']:.0f} of a year")
    words = [row[key].lower() for key in ("volatility_level", "volatility_trend") if row[key]]
    return _joined([*parts, ", ".join(words)])


def _in_atr(row: Row) -> str | None:
    """Say how many ATR the close is from its averages."""
    named = [("atr_distance", "SMA 50")] + [(f"atr_dist_ema{n}", f"EMA {n}") for n in (8, 21, 200)]
    parts = [f"{words} {row[key]:+.1f}" for key, words in named if row[key] is not None]
    return f"ATRs from {_joined(parts)}" if parts else None


def _demark(side: str) -> Callable[[Row], str | None]:
    def text(row: Row) -> str | None:
        if row[f"td_{side}_setup"] is None:
            return None
        parts = [f"{side} setup {row[f'td_{side}_setup']} of 9"]
        if row[f"td_{side}_complete"]:
            parts[0] += ", perfected" if row[f"td_perfect_{side}"] else ", not perfected"
        if row[f"td_{side}_countdown"]:
            parts.append(f"countdown {row[f'td_{side}_countdown']} of 13")
        return _joined(parts)

    return text


def _stage(row: Row) -> str | None:
    label = row["stage_label"]
    parts = [f"{label}, {STAGES[label]}" if label in STAGES else "unknown"]
    if row["stage_dist_pct"] is not None:
        parts.append(f"30-week average {row['stage_slope_pct'] or 0:+.1f} % in 5 weeks")
        parts.append(f"close {row['stage_dist_pct']:+.1f} %")
    return _joined(parts)


def _mansfield(row: Row) -> str | None:
    value = row["rs_mansfield_pct"]
    return (
        None if value is None else f"strength against {row['benchmark']} {value:+.1f} % (Mansfield)"
    )


def _company(row: Row) -> str | None:
    return _joined(str(row[key]) for key in ("name", "sector", "industry") if row[key])


COLUMNS = [
    _group("company", "company", ("name", "sector", "industry"), _company),
    _group(
        "short",
        "change",
        ("perf_1d", "perf_3d", "perf_5d", "perf_20d"),
        _changes("1d", "3d", "5d", "20d"),
    ),
    _group("long", "", ("perf_60d", "perf_120d", "perf_252d"), _changes("60d", "120d", "252d")),
    _group("periods", "", ("perf_mtd", "perf_qtd", "perf_ytd"), _periods),
    _group(
        "simple", "trend", [f"sma_{n}" for n in (5, 8, 10, 14, 20, 21, 50, 100, 150, 200)], _simple
    ),
    _group(
        "exponential",
        "",
        [*(f"ema_{n}" for n in (8, 10, 21, 200)), *(f"pct_dist_ema{n}" for n in (8, 21, 200))],
        _exponential,
    ),
    _group("order", "", ("ma_aligned", "ma_bucket"), _order),
    _group("pivots", "", ("trend_up_count", "trend_down_count"), _pivots),
    _group("strength", "momentum", ("rsi", "adx", "plus_di", "minus_di"), _strength),
    _group("MACD", "", ("macd", "macd_signal", "macd_histogram"), _macd),
    _group("range", "range", ("range_pos_20d", "range_pos_50d", "range_pos_52w"), _range),
    _group("gaps", "", ("gaps_unfilled_up", "gaps_unfilled_down"), _gaps),
    _group(
        "volatility",
        "volatility",
        (
            "atr_value",
            "atr_percent",
            "volatility_level",
            "volatility_percentile",
            "volatility_trend",
        ),
        _volatility,
    ),
    _group("ATR", "", ("atr_distance", *(f"atr_dist_ema{n}" for n in (8, 21, 200))), _in_atr),
    *(
        _group(
            f"td_{side}",
            title,
            (
                *(f"td_{side}_{each}" for each in ("setup", "complete", "countdown")),
                f"td_perfect_{side}",
            ),
            _demark(side),
        )
        for side, title in (("buy", "DeMark"), ("sell", ""))
    ),
    _group("stage", "stage", ("stage_label", "stage_dist_pct", "stage_slope_pct"), _stage),
    _group("mansfield", "", ("rs_mansfield_pct",), _mansfield),
    Column("analysis_timestamp", "computed", rank=1),
    Column(
        "bars",
        "from bars",
        rank=1,
        of=(
            *(
                "symbol",
                "analysis_type",
                "as_of_date",
                "as_of_timestamp",
                "expiry_timestamp",
                "is_due",
            ),
            *(
                "due_reason",
                "current_price",
                "benchmark",
                "benchmark_as_of",
                "market_cap",
                "engine_version",
            ),
        ),
    ),
]
