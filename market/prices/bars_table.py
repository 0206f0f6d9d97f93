"""Daily bars, splits and dividends in the database: storing them by whole columns, and counting them.

Columns, because one statement for thousands of bars costs less than a statement for each.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from market.providers import Action, Bar
from sql.columns import Dates, Floats, Integers
from sql.database import Connection, one
from sql.rows import Rows, fetch_rows


def store(
    conn: Connection,
    symbol: str,
    source: str,
    bars: Sequence[Bar],
    start: dt.date,
    end: dt.date,
    *,
    rebased: bool = False,
    payload_id: int | None = None,
) -> dict[str, int]:
    """Store validated bars, ascending, their coverage, and the registry's metadata.

    All in the caller's transaction. start, end: the range that the provider answered for.
    rebased: the basis of the prices changed; stored bars of the range that are not among these are
    deleted. payload_id: the answer that they were read from. Replaced bars are kept in
    `market_price_revisions`. Returns the counts `inserted`, `updated` and `revised` (stored closes
    that changed).
    """
    columns = list(zip(*bars, strict=True)) or [()] * len(Bar._fields)
    dates, opens, highs, lows, closes, adjusted_closes, volumes, *_ = columns
    return one(
        conn,
        "SELECT * FROM bars_merge(p_symbol => %s, p_source => %s, p_payload_id => %s, p_from => %s,"
        " p_to => %s, p_rebased => %s, p_dates => %s, p_opens => %s, p_highs => %s, p_lows => %s,"
        " p_closes => %s, p_adjusted_closes => %s, p_volumes => %s, p_splits => %s,"
        " p_dividends => %s)",
        [
            symbol,
            source,
            payload_id,
            start,
            end,
            rebased,
            Dates(dates),
            *map(Floats, (opens, highs, lows, closes, adjusted_closes)),
            Integers(volumes),
            Dates(bar.date for bar in bars if bar.has_split),
            Dates(bar.date for bar in bars if bar.has_dividend),
        ],
    )


def flag(conn: Connection, symbol: str, left_out: Mapping[dt.date, str]) -> None:
    """Flag stored bars with the names of the fields that were left out of them."""
    if left_out:
        conn.execute(
            "SELECT bars_flag(%s, %s::date[], %s::text[])",
            [symbol, list(left_out), list(left_out.values())],
        )


def store_actions(
    conn: Connection,
    symbol: str,
    source: str,
    actions: Sequence[Action],
    start: dt.date,
    end: dt.date,
    *,
    rebased: bool,
) -> int:
    """Store the splits and dividends of a range; returns how many are new or changed."""
    row = one(
        conn,
        "SELECT actions_merge(p_symbol => %s, p_provider => %s, p_dates => %s::date[], p_kinds => %s,"
        " p_values => %s::float8[], p_from => %s, p_to => %s, p_rebased => %s) AS changed",
        [
            symbol,
            source,
            [action.date for action in actions],
            [action.kind for action in actions],
            [action.value for action in actions],
            start,
            end,
            rebased,
        ],
    )
    return int(row["changed"])


def count(conn: Connection, symbol: str) -> int:
    """Count the stored bars of a symbol."""
    return int(
        one(conn, "SELECT count(*) AS n FROM market_prices WHERE symbol = %s", [symbol])["n"]
    )


def stats(conn: Connection, symbol: str | None) -> Rows:
    """Summarise what is stored per symbol, or for one (in any case and spacing)."""
    return fetch_rows(
        conn,
        "SELECT * FROM price_stats WHERE %(symbol)s::text IS NULL OR symbol = normalize_symbol(%(symbol)s)"
        " ORDER BY symbol",
        {"symbol": symbol},
    )


def completeness(conn: Connection, symbol: str) -> dict[str, Any]:
    """List a registered symbol's sessions without a bar, with the grade of its answers."""
    return one(
        conn,
        "SELECT currency, sessions, validation_rate, gap_count, gaps FROM symbol_stats WHERE symbol = %s",
        [symbol],
    )
