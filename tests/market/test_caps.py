"""What one prediction may cost: its first symbols are processed, the rest is counted and not listed."""

import json
import string
from itertools import islice, product
from typing import Any

import pytest

from market import outcomes
from market.settings import MarketSettings
from sql.database import Database
from tests.support.context import context_of
from tests.support.db import Conn, value
from tests.support.market import BACKFILL_DAYS, process
from worker.handlers import predictions
from worker.queue import outbox
from worker.queue.enqueue import estimate

LISTED = 50
SYMBOLS = [
    "".join(letters) for letters in islice(product(string.ascii_uppercase, repeat=4), 100_000)
]
# Elements of every kind that is no symbol.
WORDS: dict[str, list[Any]] = {
    "words": [f"no symbol {n}" for n in range(200_000)],
    "one word": ["no symbol"] * 200_000,
    "long strings": [string.ascii_letters * 20_000] * 60,
    "numbers": list(range(20_000)),
    "lists": [[["AAPL"] * 50] * 20] * 200,
    "objects": [{"AAPL": "bullish" * 1000}] * 200,
    "nothing": [None] * 20_000,
}


def insert(conn: Conn, assets: Any, impact: Any = None) -> int:
    """A prediction as it stands, without a helper's ideas of it."""
    return int(
        value(
            conn,
            "INSERT INTO predictions (assets, market_impact, confidence, analysis_status, post_timestamp)"
            " VALUES (%s, %s, 0.5, 'completed', '2024-03-05 15:00+00') RETURNING id",
            [json.dumps(assets), json.dumps(impact)],
        )
    )


def work(database: Database, max_symbols: int = 100) -> list[dict[str, int]]:
    """Claim and process until no prediction event is ready; what each transaction did."""
    context = context_of(database, max_symbols=max_symbols)
    done = []
    while claims := outbox.claim(database, "prediction", "test", 500, 60):
        done.append(predictions.process(context, claims))
    return done


def result(conn: Conn, number: int) -> dict[str, Any]:
    return dict(
        value(
            conn,
            "SELECT result FROM outbox_history WHERE topic = 'prediction' AND key = %s",
            [str(number)],
        )
    )


def symbols_of(conn: Conn, number: int) -> set[str]:
    rows = conn.execute("SELECT symbol FROM prediction_outcomes WHERE prediction_id = %s", [number])
    return {row["symbol"] for row in rows}


def row_size(conn: Conn, number: int) -> int:
    return int(
        value(
            conn,
            "SELECT length(h::text) FROM outbox_history h WHERE key = %s AND topic = 'prediction'",
            [str(number)],
        )
    )


def test_the_first_symbols_of_a_prediction_are_processed(database: Database, conn: Conn) -> None:
    number = insert(conn, SYMBOLS, dict.fromkeys(SYMBOLS, "bullish"))
    work(database)
    assert symbols_of(conn, number) == set(SYMBOLS[:100])
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 100
    assert value(conn, "SELECT count(*) FROM outbox") == 100
    told = result(conn, number)
    assert told["outcomes"] == {"awaiting_prices": 100}
    assert len(told["skipped"]) == LISTED
    assert told["skipped"][0] == {
        "element": f'"{SYMBOLS[100]}"',
        "reason": "beyond the first 100 symbols",
    }
    assert told["skipped_count"] == len(SYMBOLS) - 100
    assert told["skipped_reasons"] == {"beyond the first 100 symbols": len(SYMBOLS) - 100}
    assert row_size(conn, number) < 10_000
    assert value(conn, "SELECT bool_and(prediction_sentiment = 'bullish') FROM prediction_outcomes")


@pytest.mark.parametrize("kind", WORDS)
def test_what_is_no_symbol_is_counted_and_not_listed_beyond_fifty(
    database: Database, conn: Conn, kind: str
) -> None:
    number = insert(conn, WORDS[kind])
    work(database)
    told = result(conn, number)
    assert told["outcomes"] == {}
    assert len(told["skipped"]) == LISTED
    assert told["skipped_count"] == len(WORDS[kind])
    assert max(len(entry["element"]) for entry in told["skipped"]) <= LISTED
    assert row_size(conn, number) < 10_000


def test_few_elements_are_listed_as_ever(database: Database, conn: Conn) -> None:
    number = insert(conn, ["AAPL", "no good", 5])
    work(database)
    assert result(conn, number)["skipped"] == [
        {"element": '"no good"', "reason": "not a symbol"},
        {"element": "5", "reason": "not a symbol"},
    ]
    assert "skipped_count" not in result(conn, number)


def test_symbols_count_once_however_they_are_spelled(database: Database, conn: Conn) -> None:
    spelled = [form for symbol in SYMBOLS[:100] for form in (symbol.lower(), f" {symbol} ", symbol)]
    number = insert(conn, ["no good", *spelled, *spelled])
    work(database)
    assert symbols_of(conn, number) == set(SYMBOLS[:100])
    assert result(conn, number)["skipped"] == [{"element": '"no good"', "reason": "not a symbol"}]
    assert "skipped_count" not in result(conn, number)


@pytest.mark.parametrize("most", [1, 3, 60])
def test_the_setting_says_how_many(database: Database, conn: Conn, most: int) -> None:
    number = insert(conn, ["no good", "AAAA", "aaaa", *SYMBOLS[:70]])
    work(database, most)
    assert symbols_of(conn, number) == set(SYMBOLS[:most])
    reasons = result(conn, number)["skipped_reasons"] if 70 - most + 1 > LISTED else None
    assert reasons in (None, {"not a symbol": 1, f"beyond the first {most} symbols": 70 - most})


def test_symbols_behind_very_many_words_are_said_to_be_unread(
    database: Database, conn: Conn
) -> None:
    number = insert(conn, ["AAPL", *["no good"] * 9_998, "MSFT", "TSLA"])
    work(database)
    assert symbols_of(conn, number) == {"AAPL", "MSFT"}
    assert result(conn, number)["skipped_reasons"] == {
        "not a symbol": 9_998,
        "beyond the first 10000 elements": 1,
    }


def test_a_huge_impact_is_read_once_and_means_the_same(database: Database, conn: Conn) -> None:
    """Looked through for each symbol it took a hundred times as long."""
    impact = {f"k{n}": "bullish" for n in range(100_000)}
    named: dict[str, str] = {
        "aaaa": "Bearish",
        " AAAB ": "neutral",
        "AAAC": " BULLISH ",
        "AAAD": "nonsense",
        "aaae": "bearish",
        "AAAE": "bullish",
    }
    number = insert(conn, SYMBOLS[:100], impact | named)
    work(database)
    rows = conn.execute(
        "SELECT symbol, prediction_sentiment AS s FROM prediction_outcomes"
        " WHERE prediction_id = %s AND symbol < 'AAAG' ORDER BY symbol",
        [number],
    ).fetchall()
    assert [row["s"] for row in rows] == ["bearish", "neutral", "bullish", None, "bullish", None]
    again = insert(conn, SYMBOLS[:6], named)  # a small one is read another way
    work(database)
    same = conn.execute(
        "SELECT symbol, prediction_sentiment AS s FROM prediction_outcomes WHERE prediction_id = %s ORDER BY symbol",
        [again],
    ).fetchall()
    assert same == rows


def test_rows_from_before_the_limit_stay_until_their_symbol_is_no_longer_named(
    database: Database, conn: Conn
) -> None:
    number = insert(conn, SYMBOLS[:8])
    work(database)
    assert len(symbols_of(conn, number)) == 8
    with database.transaction() as inside:
        done = outcomes.process(inside, [number], BACKFILL_DAYS, max_symbols=3)
    assert done.predictions[number].states == {"awaiting_prices": 3}
    assert len(symbols_of(conn, number)) == 8
    assert value(conn, "SELECT sweep_changed(1000, 3)") == 0
    conn.execute(
        "UPDATE predictions SET assets = %s WHERE id = %s",
        [json.dumps([*SYMBOLS[:5], SYMBOLS[6], "NEW"]), number],
    )
    work(database, 3)
    assert symbols_of(conn, number) == {*SYMBOLS[:5], SYMBOLS[6]}


def test_the_sweep_asks_for_no_more_than_is_processed(database: Database, conn: Conn) -> None:
    number = insert(conn, SYMBOLS[:200])
    work(database)
    assert value(conn, "SELECT sweep_changed(1000)") == 0
    assert value(conn, "SELECT sweep_changed(1000, 150)") == 1  # the setting was raised
    work(database, 150)
    assert symbols_of(conn, number) == set(SYMBOLS[:150])


def test_enqueueing_counts_what_would_be_processed(database: Database, conn: Conn) -> None:
    insert(conn, SYMBOLS)
    conn.execute("DELETE FROM outbox")
    assert estimate(database, MarketSettings(), None).tickers == 100
    assert estimate(database, MarketSettings(), None, 7).tickers == 7


def test_a_story_has_an_end(database: Database, conn: Conn) -> None:
    number = insert(conn, [*SYMBOLS[:300], *WORDS["words"][:300]])
    work(database, 300)
    rows = conn.execute("SELECT * FROM explain_prediction(%s)", [number]).fetchall()
    assert len(symbols_of(conn, number)) == 300
    assert len({row["subject"] for row in rows if row["subject"].startswith("outcome ")}) == 50
    told = "\n".join(row["story"] for row in rows)
    assert len(rows) < 400
    assert "300 in all: 300 not a symbol" in told
    assert "250 more outcomes" in told


def test_a_single_string_is_no_list(database: Database, conn: Conn) -> None:
    number = insert(conn, "aapl")
    process(database, number)
    assert symbols_of(conn, number) == {"AAPL"}
