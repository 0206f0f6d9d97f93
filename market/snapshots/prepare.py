"""Computing a snapshot before its bars are stored, and storing it with them.

Nothing is computed inside the transaction that stores bars: it would hold locks, and outcomes would
wait. A snapshot that cannot be computed or stored costs no outcome: its symbol stays due.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from market.providers import Bar
from market.snapshots.benchmark import Benchmark, Compared
from market.snapshots.stored import Stored, read_after
from sql.database import Connection, error_line, is_external
from sql.logs import logger

Snapshot = Mapping[str, Any]  # columns of market_snapshot; without bars only symbol and bars_digest
Prepared = Snapshot | None  # None: it could not be computed, or nothing changes


def prepare(
    conn: Connection,
    symbol: str,
    bars: Sequence[Bar],
    start: dt.date,
    end: dt.date,
    benchmark: Benchmark,
    *,
    rebased: bool,
) -> Prepared:
    """Compute a symbol's snapshot as it will be once these bars are stored.

    The arguments are those of `market.prices.bars_table.store`. Only reads: the caller's transaction
    holds no lock that anybody waits for, and ends before that of the store. Raises psycopg.Error.
    """
    if not bars and not rebased:
        return None
    try:
        stored = read_after(conn, symbol, bars, start, end, rebased=rebased)
        compared = compared_with(conn, stored, benchmark)
        return computed(stored, compared)
    except Exception as error:
        if is_external(error):
            raise
        # A fault of the indicators is no fault of the bars. The sweep says it again.
        logger().warning("no snapshot computed", symbol=symbol, error=error_line(error))
        return None


def compared_with(conn: Connection, stored: Stored, benchmark: Benchmark) -> Compared:
    """Return the bars that a symbol is compared with: its own where it is the benchmark."""
    if stored.last is None:
        return Compared(benchmark.symbol, None, None, None)
    if stored.symbol == benchmark.symbol:
        return Compared(stored.symbol, stored.arrays(), stored.last, stored.digest)
    return benchmark.until(conn, stored.last)


def computed(stored: Stored, compared: Compared) -> Snapshot:
    """Compute the snapshot of these bars."""
    from market.indicators import ENGINE_VERSION, latest  # noqa: PLC0415 - see `stored`

    if stored.last is None:
        return {"symbol": stored.symbol, "bars_digest": None}
    bars = stored.arrays()
    return {
        "symbol": stored.symbol,
        "bars_digest": stored.digest,
        "as_of_date": stored.last.isoformat(),
        "current_price": float(bars.close[-1]),
        "bars": stored.bars,
        "benchmark": compared.symbol,
        "benchmark_as_of": compared.as_of and compared.as_of.isoformat(),
        "benchmark_digest": compared.digest,
        "engine_version": ENGINE_VERSION,
        "raw_analysis": {"first_bar": str(bars.dates[0]), "basis": "close adjusted for splits"},
        **latest(bars, compared.bars),
    }


def store(conn: Connection, snapshots: Sequence[Snapshot]) -> dict[str, str]:
    """Store snapshots in the caller's transaction; returns why not, by symbol.

    What is not stored stays due.
    """
    rows = conn.execute(
        "SELECT symbol, reason FROM snapshot_store(%s) WHERE NOT stored", [Jsonb(list(snapshots))]
    )
    return {row["symbol"]: row["reason"] for row in rows}
