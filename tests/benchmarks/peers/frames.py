"""The same outcomes by pandas, polars and DuckDB: from CSV of pairs and bars to CSV of finished rows.

Each in its own idiom: the closes one, three, seven and thirty bars later stand beside each bar,
and an as-of join finds the first bar at or after the entry.
"""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl

HORIZONS = (1, 3, 7, 30)
PAIRS = (
    "SELECT prediction_id, symbol, prediction_date, prediction_sentiment, prediction_confidence,"
    " entry_session FROM prediction_outcomes"
)
BARS = "SELECT symbol, date, close FROM market_prices WHERE fetched_at IS NOT NULL"


def with_pandas(pairs: bytes, bars: bytes) -> bytes:
    """`merge_asof`, forward, by symbol."""
    left = pd.read_csv(io.BytesIO(pairs), parse_dates=["entry_session"])
    right = pd.read_csv(io.BytesIO(bars), parse_dates=["date"]).sort_values(["symbol", "date"])
    for n in HORIZONS:
        right[f"price_t{n}"] = right.groupby("symbol")["close"].shift(-n)
    found = pd.merge_asof(
        left.sort_values("entry_session"),
        right.sort_values("date"),
        left_on="entry_session",
        right_on="date",
        by="symbol",
        direction="forward",
    )
    columns = [*left.columns, "close", "is_complete", "outcome_state", "engine_version"]
    found["is_complete"], found["outcome_state"], found["engine_version"] = True, "complete", 1
    bullish = found["prediction_sentiment"] == "bullish"
    bearish = found["prediction_sentiment"] == "bearish"
    for n in HORIZONS:
        percent = (found[f"price_t{n}"] / found["close"] - 1) * 100
        right_so = percent.abs() <= 0.5
        right_so = right_so.mask(bullish, percent > 0.5).mask(bearish, percent < -0.5)
        found[f"return_t{n}"], found[f"correct_t{n}"] = percent, right_so
        found[f"pnl_t{n}"] = percent / 100 * 1000
        columns += [f"{name}_t{n}" for name in ("price", "return", "correct", "pnl")]
    return found[columns].to_csv(index=False, header=False).encode()


def with_polars(pairs: bytes, bars: bytes) -> bytes:
    """`join_asof`, forward, by symbol."""
    left = pl.read_csv(pairs, try_parse_dates=True).sort("entry_session")
    right = (
        pl.read_csv(bars, try_parse_dates=True)
        .sort("symbol", "date")
        .with_columns(
            pl.col("close").shift(-n).over("symbol").alias(f"price_t{n}") for n in HORIZONS
        )
        .sort("date")
    )
    found = left.join_asof(
        right,
        left_on="entry_session",
        right_on="date",
        by="symbol",
        strategy="forward",
        check_sortedness=False,  # it cannot be checked with `by`; both are sorted above
    )
    sentiment = pl.col("prediction_sentiment")
    columns = [pl.col(name) for name in left.columns] + [
        pl.col("close"), pl.lit(True).alias("c"), pl.lit("complete").alias("s"), pl.lit(1).alias("e")
    ]  # fmt: skip
    for n in HORIZONS:
        percent = (pl.col(f"price_t{n}") / pl.col("close") - 1) * 100
        correct = (
            pl.when(sentiment == "bullish")
            .then(percent > 0.5)
            .when(sentiment == "bearish")
            .then(percent < -0.5)
            .otherwise(percent.abs() <= 0.5)
        )
        columns += [
            pl.col(f"price_t{n}"),
            percent.alias(f"r{n}"),
            correct.alias(f"c{n}"),
            (percent / 100 * 1000).alias(f"p{n}"),
        ]
    text: str = found.select(columns).write_csv(include_header=False)
    return text.encode()


def with_duckdb(pairs: bytes, bars: bytes) -> bytes:
    """ASOF JOIN over `lead()` windows; it reads and writes CSV files, in a folder in memory if any."""
    shared = Path("/dev/shm")  # noqa: S108 - memory, where Linux has it
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        (Path(folder) / "pairs.csv").write_bytes(pairs)
        (Path(folder) / "bars.csv").write_bytes(bars)
        leads = ", ".join(
            f"lead(close, {n}) OVER (PARTITION BY symbol ORDER BY date) AS p{n}" for n in HORIZONS
        )
        results = ", ".join(
            f"p{n}, (p{n} / close - 1) * 100 AS r{n}, CASE prediction_sentiment"
            f" WHEN 'bullish' THEN (p{n} / close - 1) * 100 > 0.5"
            f" WHEN 'bearish' THEN (p{n} / close - 1) * 100 < -0.5"
            f" ELSE abs((p{n} / close - 1) * 100) <= 0.5 END AS c{n},"
            f" (p{n} / close - 1) * 100 / 100 * 1000 AS m{n}"
            for n in HORIZONS
        )
        with duckdb.connect() as engine:
            engine.execute(
                f"COPY (WITH b AS (SELECT *, {leads} FROM read_csv('{folder}/bars.csv'))"  # noqa: S608 - our folder
                " SELECT prediction_id, p.symbol, prediction_date, prediction_sentiment,"
                " prediction_confidence, entry_session, close, true AS is_complete,"
                f" 'complete' AS outcome_state, 1 AS engine_version, {results}"
                f" FROM read_csv('{folder}/pairs.csv') p ASOF JOIN b"
                " ON b.symbol = p.symbol AND p.entry_session <= b.date)"
                f" TO '{folder}/out.csv' (FORMAT csv, HEADER false)"
            )
        return (Path(folder) / "out.csv").read_bytes()


ENGINES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "pandas": with_pandas,
    "polars": with_polars,
    "DuckDB": with_duckdb,
}
