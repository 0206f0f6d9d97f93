"""Random bars, holes, moments around closes and clocks: every column as the oracle says.

First a batch of predictions is processed, then time passes and bars arrive and the symbols
are filled; both times each row must be what plain Python computes one by one, and what it says
the same whether its prices are looked up or read with all others of its symbol.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sql.database import Database
from tests.support.clock import at
from tests.support.db import Conn
from tests.support.market import fill, insert_prediction, process, put_bars, set_fetched
from tests.support.oracle import Oracle, Session

SYMBOLS = {"ACME": "XNYS", "BTC-USD": "24/7"}
# An early close, two holidays and a change of the clocks are in these windows.
START, END = (
    {"XNYS": "2023-11-01", "24/7": "2023-11-01"},
    # The clock may run to the end of the longer one, and beyond.
    {"XNYS": "2024-03-28", "24/7": "2024-03-31"},
)
MOMENTS = 25  # moments lie in the first sessions, so that T+30 is inside the window

near_a_close = st.sampled_from(
    [dt.timedelta(microseconds=n) for n in (-1, 0, 1)]
    + [dt.timedelta(hours=n) for n in (-20, -6, -1, 1, 6, 20)]
)
# Not within seconds of the settling time: the database's clock runs on while the test does.
clock_offset = st.sampled_from([dt.timedelta(minutes=n) for n in (0, 29, 30, 31, 600)])
# Sessions after the first prediction's at which something becomes known or is given up.
turning_point = st.builds(
    lambda n, more: n + more,
    st.sampled_from([0, 1, 3, 7, 10, 11, 13, 17, 30, 32]),
    st.integers(-1, 1),
)
impact_word = st.sampled_from(["bullish", "BEARISH", "Neutral", "unsure", None])
price = st.one_of(
    st.sampled_from([100.0, 100.4, 99.6, 101.0, 99.0]),
    st.floats(0.0001, 1e6, allow_nan=False, allow_infinity=False),
)


@dataclass(frozen=True)
class Prediction:
    """What a random prediction says: around which close, and of which symbols what."""

    session: int
    offset: dt.timedelta
    symbols: tuple[str, ...]
    words: tuple[str | None, ...]
    confidence: float | None


predictions = st.builds(
    Prediction,
    session=st.integers(1, MOMENTS),
    offset=near_a_close,
    symbols=st.sampled_from([("ACME",), ("BTC-USD",), ("ACME", "BTC-USD"), ("acme", "ACME ")]),
    words=st.tuples(impact_word, impact_word),
    confidence=st.one_of(st.none(), st.floats(0, 1)),
)
bars_of_a_symbol = st.lists(st.one_of(price, st.none()), min_size=70, max_size=70)


@pytest.fixture
def windows(conn: Conn) -> dict[str, list[Session]]:
    """The sessions of each calendar's window."""
    return {
        calendar: [
            Session(row["session"], row["closes_at"])
            for row in conn.execute(
                "SELECT session, closes_at FROM market_sessions"
                " WHERE calendar = %s AND session BETWEEN %s AND %s ORDER BY session",
                [calendar, START[calendar], END[calendar]],
            )
        ]
        for calendar in START
    }


def forget(conn: Conn) -> None:
    """Delete what the example before left."""
    conn.execute(
        "DELETE FROM prediction_outcomes; DELETE FROM predictions; DELETE FROM market_prices;"
        " DELETE FROM ticker_registry; DELETE FROM outbox"
    )


def insert(
    conn: Conn, wanted: Prediction, windows: dict[str, list[Session]]
) -> dict[tuple[int, str], Oracle]:
    """Insert one prediction; returns the oracle of each row that it must get."""
    symbols = list(dict.fromkeys(symbol.strip().upper() for symbol in wanted.symbols))
    moment = windows[SYMBOLS[symbols[0]]][wanted.session].closes_at + wanted.offset
    impact = {
        symbol.lower(): word
        for symbol, word in zip(symbols, wanted.words, strict=False)
        if word is not None
    }
    number = insert_prediction(
        conn, list(wanted.symbols), impact, moment=moment, confidence=wanted.confidence
    )
    oracles = {}
    for symbol in symbols:
        word = (impact.get(symbol.lower()) or "").lower()
        sentiment = word if word in {"bullish", "bearish", "neutral"} else None
        sessions = windows[SYMBOLS[symbol]]
        oracles[number, symbol] = Oracle(sessions, moment, sentiment, wanted.confidence)
    return oracles


def stored(conn: Conn) -> dict[tuple[int, str], dict[str, Any]]:
    rows = conn.execute("SELECT * FROM prediction_outcomes").fetchall()
    return {(row["prediction_id"], row["symbol"]): row for row in rows}


def check(
    conn: Conn,
    oracles: dict[tuple[int, str], Oracle],
    now: dt.datetime,
    closes: dict[str, dict[dt.date, float]],
    fetched: tuple[dt.date, dt.date],
) -> None:
    """Compare every row with its oracle, column by column."""
    rows = stored(conn)
    assert rows.keys() == oracles.keys()
    for key, oracle in oracles.items():
        expected = oracle.look(now, closes[key[1]], fetched)
        found = {name: rows[key][name] for name in expected}
        near = {
            name: pytest.approx(wanted, rel=1e-9, abs=1e-9) if type(wanted) is float else wanted
            for name, wanted in expected.items()
        }
        assert found == near, key


def check_both_ways(database: Database, now: dt.datetime) -> None:
    """What rows say must not depend on whether prices were looked up or a symbol's closes read once."""
    with at(database, now) as inside:
        differing = inside.execute(
            "WITH k AS (SELECT array_agg(ROW(prediction_id, symbol, prediction_date, prediction_sentiment,"
            "   prediction_confidence, entry_session, outcome_reason)::outcome_key) AS keys"
            "   FROM prediction_outcomes GROUP BY symbol),"
            " each AS (SELECT w.* FROM k, unnest(keys) u, outcome_rows(ARRAY[u::outcome_key]) w),"
            # So many that reading them once is what costs less.
            " many AS (SELECT w.* FROM k, outcome_rows(ARRAY("
            "   SELECT u::outcome_key FROM unnest(keys) u, generate_series(1, 20))) w)"
            " (SELECT * FROM each EXCEPT SELECT * FROM many)"
            " UNION ALL (SELECT * FROM many EXCEPT SELECT * FROM each)"
        ).fetchall()
    assert differing == []


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    wanted=st.lists(predictions, min_size=1, max_size=6),
    values=st.tuples(bars_of_a_symbol, bars_of_a_symbol),
    share=st.integers(0, 70),
    first=st.tuples(turning_point, clock_offset),
    later=st.tuples(st.integers(0, 30), clock_offset),
    fetched_until=st.integers(0, 60),
)
def test_every_column_is_what_the_oracle_says(
    database: Database,
    conn: Conn,
    windows: dict[str, list[Session]],
    wanted: list[Prediction],
    values: tuple[list[float | None], list[float | None]],
    share: int,
    first: tuple[int, dt.timedelta],
    later: tuple[int, dt.timedelta],
    fetched_until: int,
) -> None:
    forget(conn)
    oracles: dict[tuple[int, str], Oracle] = {}
    for one in wanted:
        oracles |= insert(conn, one, windows)
    everything = {
        symbol: {
            session.date: close
            for session, close in zip(windows[calendar], closes, strict=False)
            if close is not None
        }
        for (symbol, calendar), closes in zip(SYMBOLS.items(), values, strict=True)
    }
    # Some bars are there when the predictions come, the others arrive until the second look.
    at_first = {symbol: dict(list(closes.items())[:share]) for symbol, closes in everything.items()}
    axis = windows["XNYS"]
    fetched = (axis[0].date, axis[min(fetched_until, len(axis) - 1)].date)
    for symbol in SYMBOLS:
        set_fetched(conn, symbol, *fetched)
        put_bars(conn, symbol, at_first[symbol])

    clock = max(wanted[0].session + first[0], 0)
    now = axis[min(clock, len(axis) - 1)].closes_at + first[1]
    numbers = sorted({number for number, _ in oracles})
    process(database, *numbers, moment=now)
    check(conn, oracles, now, at_first, fetched)
    check_both_ways(database, now)

    open_rows = {
        key: oracle
        for key, oracle in oracles.items()
        if stored(conn)[key]["outcome_state"] in {"awaiting_prices", "maturing"}
    }
    ended = {key: row for key, row in stored(conn).items() if key not in open_rows}
    for symbol in SYMBOLS:
        put_bars(conn, symbol, everything[symbol])
    now = max(now, axis[min(clock + later[0], len(axis) - 1)].closes_at + later[1])
    check_both_ways(database, now)
    for symbol in SYMBOLS:
        fill(database, symbol, now)

    after = stored(conn)
    assert {key: after[key] for key in ended} == ended, "what had ended was touched"
    conn.execute(
        "DELETE FROM prediction_outcomes WHERE (prediction_id, symbol) IN"
        " (SELECT * FROM unnest(%s::integer[], %s::text[]))",
        [[key[0] for key in ended], [key[1] for key in ended]],
    )
    check(conn, open_rows, now, everything, fetched)
