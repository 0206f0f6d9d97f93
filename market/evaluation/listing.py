"""The outcomes behind a number of a report, row by row."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sql.database import Connection
from sql.rows import Rows, fetch_rows

# Moments are what somebody wrote: infinity, or a year that Python has not.
_LIST = """
SELECT prediction_id, symbol, horizon,
       CASE WHEN moment >= '1900-01-01' AND moment < '2200-01-01' THEN moment END AS moment,
       CASE WHEN prediction_date BETWEEN '1900-01-01' AND '2199-12-31' THEN prediction_date END
           AS prediction_date,
       CASE WHEN entry_session BETWEEN '1900-01-01' AND '2199-12-31' THEN entry_session END
           AS entry_session,
       exit_session, sentiment, confidence, confidence_tier, sector, model, state, entry_price,
       exit_price, return_pct, total_return_pct, correct, bullish_correct, pnl_usd,
       benchmark_return_pct, excess_pct, total_excess_pct, asset_class, source
FROM outcome_facts
WHERE horizon = ANY (%(horizons)s)
  AND (%(min_confidence)s::float8 IS NULL OR confidence >= %(min_confidence)s)
  AND (%(since)s::date IS NULL OR prediction_date >= %(since)s)
  AND (%(until)s::date IS NULL OR prediction_date <= %(until)s)
  AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY outcome_facts.prediction_id DESC, symbol, sessions LIMIT %(most)s
"""


def outcomes(
    conn: Connection,
    *,
    horizons: Sequence[str],
    min_confidence: float | None,
    since: dt.date | None,
    until: dt.date | None,
    benchmark: str,
    symbol: str | None = None,
    state: str | None = None,
    most: int | None = None,
) -> Rows:
    """List outcomes, the newest predictions first; the filters are those of `outcomes_frame`.

    symbol: upper case. state: known, pending or unresolvable. most: rows; None: all.
    """
    conn.execute("SELECT set_config('reckoner.benchmark_symbol', %s, true)", [benchmark])
    return fetch_rows(
        conn,
        _LIST,
        {
            "horizons": list(horizons),
            "min_confidence": min_confidence,
            "since": since,
            "until": until,
            "symbol": symbol,
            "state": state,
            "most": most,
        },
    )


_ANY = """
SELECT EXISTS (
    SELECT FROM our_outcomes
    WHERE (%(min_confidence)s::float8 IS NULL OR prediction_confidence >= %(min_confidence)s)
      AND (%(since)s::date IS NULL OR prediction_date >= %(since)s)
      AND (%(until)s::date IS NULL OR prediction_date <= %(until)s)
) AS found
"""


def is_any(
    conn: Connection,
    *,
    min_confidence: float | None,
    since: dt.date | None,
    until: dt.date | None,
    **_: Any,
) -> bool:
    """Tell whether any outcome passes the filters; every outcome has all horizons."""
    filters = {"min_confidence": min_confidence, "since": since, "until": until}
    return bool(fetch_rows(conn, _ANY, filters)[0]["found"])
