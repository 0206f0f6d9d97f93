"""The views `outcome_facts` and `event_paths` as pandas frames, read by COPY.

The views' comments (`\\d+ outcome_facts`) and `outcomes_frame` define the columns. The views have
everything that a report needs, so that SQL and a notebook give the same numbers.
"""

import datetime as dt
import io
from collections.abc import Sequence
from typing import Any, LiteralString

import pandas as pd
import psycopg

from market.horizons import HORIZONS

# Booleans come as 0 and 1, so that NULL stays apart from false in CSV. Moments and confidences are what
# somebody wrote: infinity, a year that no calendar here has, NaN, of which pandas can read none.
_FACTS = """
COPY (
    SELECT prediction_id, symbol, horizon, sessions,
           CASE WHEN moment >= '1900-01-01' AND moment < '2200-01-01' THEN moment END AS moment,
           CASE WHEN prediction_date BETWEEN '1900-01-01' AND '2199-12-31' THEN prediction_date END
               AS prediction_date,
           CASE WHEN entry_session BETWEEN '1900-01-01' AND '2199-12-31' THEN entry_session END AS entry_session,
           exit_session, sentiment, direction,
           CASE WHEN confidence > '-Infinity' AND confidence < 'Infinity' THEN confidence END AS confidence,
           confidence_tier, sector, model, state,
           entry_price, exit_price, return_pct, total_return_pct, correct::integer AS correct,
           bullish_correct::integer AS bullish_correct, pnl_usd, benchmark_return_pct, excess_pct,
           total_excess_pct, asset_class, CASE WHEN %(with_source)s THEN source END AS source
    FROM outcome_facts
    WHERE horizon = ANY (%(horizons)s)
      AND (%(min_confidence)s::float8 IS NULL OR confidence >= %(min_confidence)s)
      AND (%(since)s::date IS NULL OR prediction_date >= %(since)s)
      AND (%(until)s::date IS NULL OR prediction_date <= %(until)s)
) TO STDOUT (FORMAT csv, HEADER)
"""
_PATHS = """
COPY (
    SELECT p.symbol, p.entry_session, p.session_offset, p.path_pct FROM event_paths p
    WHERE (%(since)s::date IS NULL OR p.entry_session >= %(since)s)
    ORDER BY 1, 2, 3
) TO STDOUT (FORMAT csv, HEADER)
"""
# A larger number is no price, no return and no sum of money; its square would be infinite.
_LARGEST = 1e100
_WORDS = (
    "symbol",
    "horizon",
    "sentiment",
    "confidence_tier",
    "sector",
    "model",
    "state",
    "asset_class",
    "source",
)
_RETURNS = (
    "return_pct",
    "total_return_pct",
    "pnl_usd",
    "benchmark_return_pct",
    "excess_pct",
    "total_excess_pct",
)
_DAYS = ("prediction_date", "entry_session", "exit_session")


def outcomes_frame(
    conn: psycopg.Connection[Any],
    *,
    horizons: Sequence[str] = tuple(HORIZONS),
    min_confidence: float | None = None,
    since: dt.date | None = None,
    until: dt.date | None = None,
    benchmark: str = "SPY",
    with_source: bool = True,
) -> pd.DataFrame:
    """Return one row per prediction, symbol and horizon, ordered by them.

    horizons: of t1, t3, t7, t30. min_confidence: 0..1, and up. since, until: UTC dates of the
    moment, both included. benchmark: the symbol to compare with; without bars its columns are
    NaN. with_source: whether to look up the source of each post, which else is NaN. Raises
    psycopg.Error.

    | column | type | meaning, unit |
    |---|---|---|
    | prediction_id | int64 | predictions.id |
    | symbol | category | upper case, as the prediction wrote it |
    | horizon, sessions | category, int64 | t1, t3, t7, t30; trading sessions after the entry |
    | moment | datetime64, UTC | when the text was published; NaT: outside of 1900 to 2199 |
    | prediction_date | datetime64 | the moment's UTC date; NaT likewise |
    | entry_session, exit_session | datetime64 | trading days of the symbol's calendar; NaT: outside of it |
    | sentiment | category | bullish, bearish, neutral; NaN: none for this symbol |
    | direction | float64 | 1, -1, 0 for neutral, NaN without a sentiment |
    | confidence | float64 | the prediction's own, 0..1; NaN: none given, or no finite one |
    | confidence_tier | category | 0.0-0.5, 0.5-0.6, …, 0.9-1.0 (1.0 belongs to it), not given, out of range |
    | sector, model | category | NaN where it is not filled, or the source has no such column |
    | state | category | known, pending, unresolvable |
    | entry_price, exit_price | float64 | closes adjusted for splits, the listing's currency |
    | return_pct | float64 | price return, percent; NaN: not known |
    | total_return_pct | float64 | with dividends reinvested, percent; NaN: not known |
    | correct | boolean | whether the sentiment came true; NA: not judged |
    | bullish_correct | boolean | whether "bullish" would have; NA: no return yet |
    | pnl_usd | float64 | of a long position of $1,000, US dollars |
    | benchmark_return_pct | float64 | the benchmark's price return over the same sessions, percent |
    | excess_pct | float64 | return_pct less benchmark_return_pct, percentage points |
    | total_excess_pct | float64 | the same of total returns; without one the price return counts |
    | asset_class | category | stock, etf, crypto, index, commodity, currency |
    | source | category | where the text comes from; NaN where it is not filled |
    """
    parameters = {
        "horizons": list(horizons),
        "min_confidence": min_confidence,
        "since": since,
        "until": until,
        "with_source": with_source,
    }
    with conn.transaction():
        conn.execute("SELECT set_config('reckoner.benchmark_symbol', %s, true)", [benchmark])
        frame = _copy(conn, _FACTS, parameters)
    for name in _DAYS:
        frame[name] = pd.to_datetime(frame[name], format="%Y-%m-%d")
    frame["moment"] = pd.to_datetime(frame["moment"], format="ISO8601", utc=True)
    for name in ("correct", "bullish_correct"):
        frame[name] = frame[name].astype("boolean")
    # No report can place a return without an entry or a day, which another program may have taken away.
    odd = frame["entry_session"].isna() | frame["prediction_date"].isna()
    frame.loc[odd, [*_RETURNS, "correct", "bullish_correct"]] = None
    states = frame["state"].cat.add_categories(
        ["unresolvable"] if "unresolvable" not in frame["state"].cat.categories else []
    )
    frame["state"] = states.mask(odd & (states == "known"), "unresolvable")
    return frame.sort_values(["prediction_id", "symbol", "sessions"], ignore_index=True)


def paths_frame(conn: psycopg.Connection[Any], since: dt.date | None = None) -> pd.DataFrame:
    """Return event_paths: symbol, entry_session, session_offset (-10..30), path_pct (percent)."""
    frame = _copy(conn, _PATHS, {"since": since})
    frame["entry_session"] = pd.to_datetime(frame["entry_session"], format="%Y-%m-%d")
    return frame


def _copy(
    conn: psycopg.Connection[Any], query: LiteralString, parameters: dict[str, Any]
) -> pd.DataFrame:
    buffer = io.BytesIO()
    with conn.cursor() as cursor, cursor.copy(query, parameters) as copy:
        for chunk in copy:
            buffer.write(chunk)
    buffer.seek(0)
    # NA and NAN are symbols; only an empty field is NULL.
    types = _types(buffer)
    numbers = [name for name, kind in types.items() if kind == "float64"]
    frame = pd.read_csv(
        buffer,
        keep_default_na=False,
        na_values={name: ["", "NaN"] if name in numbers else [""] for name in types},
        dtype=types,
    )
    # What another program may have written into an outcome, a price or a confidence.
    frame[numbers] = frame[numbers].where(frame[numbers].abs() < _LARGEST)
    return frame


def _types(buffer: io.BytesIO) -> dict[str, str]:
    """Choose types by the header: words are categories, days and moments text, others numbers."""
    names = buffer.readline().decode().strip().split(",")
    buffer.seek(0)
    types = dict.fromkeys(names, "float64")
    types |= dict.fromkeys(("prediction_id", "sessions", "session_offset"), "int64")
    types |= dict.fromkeys(_WORDS, "category")
    types |= dict.fromkeys((*_DAYS, "moment"), "str")
    return {name: types[name] for name in names}
