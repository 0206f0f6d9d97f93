"""Bars on their way into `market_prices`: the validator, and COPY with one upsert.

Every bar of every provider passes `validate`; what cannot be a bar is rejected with its
reason and the rest is used.
"""

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from market.providers import Bar
from sql.database import Connection, one

# Split-adjusted prices are rounded by their providers, each for itself.
_ROUNDING = 1e-3
# A price in pence among prices in pounds, or the other way round. No session of a listed
# company did this and came back.
_UNITS = (80.0, 125.0)


@dataclass(frozen=True)
class Validated:
    """Bars that may be stored, ascending by date, and one line for each that may not."""

    bars: list[Bar]
    rejected: list[str]


def validate(bars: Iterable[Bar], sessions: Sequence[dt.date]) -> Validated:
    """Keep bars of the given (settled) sessions whose numbers can be prices.

    Of two bars for a session the later one counts. Volume that cannot be one becomes None.
    A bar a hundred times off its neighbours (a unit error) is rejected; a step that lasts is not.
    """
    expected = frozenset(sessions)
    good: dict[dt.date, Bar] = {}
    rejected = []
    for bar in bars:
        fault = _fault(bar, expected)
        if fault:
            rejected.append(f"{bar.date}: {fault}")
        else:
            good[bar.date] = (
                bar if bar.volume is None or 0 <= bar.volume < 2**63 else bar._replace(volume=None)
            )
    ordered = [good[date] for date in sorted(good)]
    spikes = [n for n in range(len(ordered)) if _is_spike(ordered, n)]
    rejected += [
        f"{ordered[n].date}: close {ordered[n].close} is a hundred times off" for n in spikes
    ]
    for n in reversed(spikes):
        del ordered[n]
    return Validated(ordered, rejected)


def _is_spike(bars: Sequence[Bar], n: int) -> bool:
    """Whether the n-th close is out by a factor of a hundred on every side that there is."""
    sides = [side for side in (bars[max(0, n - 2) : n], bars[n + 1 : n + 3]) if side]
    return bool(sides) and all(all(_off(bars[n], bar) for bar in side) for side in sides)


def _off(bar: Bar, other: Bar) -> bool:
    low, high = sorted((bar.close or 0.0, other.close or 0.0))
    return _UNITS[0] * low < high < _UNITS[1] * low


def _fault(bar: Bar, sessions: frozenset[dt.date]) -> str | None:
    if bar.date not in sessions:
        return "no finished session of its calendar"
    if bar.close is None:
        return "no close"
    prices = [
        price
        for price in (bar.open, bar.high, bar.low, bar.close, bar.adjusted_close)
        if price is not None
    ]
    if not all(math.isfinite(price) and price > 0 for price in prices):
        return "a price that is not a positive number"
    if bar.high is not None and bar.low is not None:
        if bar.high < bar.low:
            return f"high {bar.high} below low {bar.low}"
        slack = bar.high * _ROUNDING
        for name, price in (("open", bar.open), ("close", bar.close)):
            if price is not None and not bar.low - slack <= price <= bar.high + slack:
                return f"{name} {price} outside {bar.low}..{bar.high}"
    return None


def basis_changed(conn: Connection, symbol: str, bars: Sequence[Bar]) -> bool:
    """Whether fetched closes disagree with stored ones of the same dates by more than rounding."""
    row = conn.execute(
        "SELECT bars_basis_changed(%s, %s::date[], %s::float8[]) AS changed",
        [symbol, [bar.date for bar in bars], [bar.close for bar in bars]],
    ).fetchone()
    return bool(row and row["changed"])


def store(
    conn: Connection,
    symbol: str,
    source: str,
    bars: Sequence[Bar],
    start: dt.date,
    end: dt.date,
    *,
    rebased: bool = False,
) -> dict[str, int]:
    """Store validated bars and the registry's metadata in the caller's transaction.

    start, end: the range that the provider answered for. rebased: the basis of the prices
    changed; stored bars of the range that are not among these go away. Returns the counts
    `inserted`, `updated` and `revised` (stored closes that changed).
    """
    conn.execute("SELECT bars_staging()")
    with conn.cursor().copy("COPY pg_temp.bar_staging FROM STDIN") as copy:
        for bar in bars:
            copy.write_row(bar)
    return one(
        conn, "SELECT * FROM bars_merge(%s, %s, %s, %s, %s)", [symbol, source, start, end, rebased]
    )


def count(conn: Connection, symbol: str) -> int:
    """Number of stored bars of a symbol."""
    return int(
        one(conn, "SELECT count(*) AS n FROM market_prices WHERE symbol = %s", [symbol])["n"]
    )


def stats(conn: Connection, symbol: str | None) -> list[dict[str, Any]]:
    """What is stored per symbol, or for one (in any case and spacing)."""
    return conn.execute(
        "SELECT * FROM price_stats WHERE %(symbol)s::text IS NULL OR symbol = normalize_symbol(%(symbol)s)"
        " ORDER BY symbol",
        {"symbol": symbol},
    ).fetchall()
