"""Splits and dividends from files that grow with the clock: what is stored of them, what they change."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from market.prices import bars_table
from market.providers import Action, Answer, Kind, Request
from market.providers.csv_files import CsvFiles
from sql.database import Database
from tests.market.desk import Desk
from tests.support.clock import day, stopped_clock, utc
from tests.support.db import Conn, connect, value
from tests.support.market import HORIZONS, outcome, sessions, write_csv
from tests.support.providers import FakeProvider, serving

MOMENT = "2024-03-05 15:00+00"
BEFORE = utc("2024-05-16 22:00")
SPLIT = day("2024-05-20")
AFTER = utc("2024-05-21 22:00")
# The day after it, with the overlap.
WEEK = [day(f"2024-05-{n}") for n in (15, 16, 17, 20, 21, 22)]
ASKED = Request("ACME", WEEK[0], WEEK[-1], WEEK)


def traded(date: dt.date) -> float:
    """The close as traded, in cents: a quarter from the day of a 4:1 split on."""
    whole = 400.0 + date.toordinal() % 50
    return whole / 4 if date >= SPLIT else whole


class Exchange:
    """A folder with ACME's file as it is on a day; splits and dividends stand on their dates."""

    def __init__(self, conn: Conn, folder: Path) -> None:
        self.folder = folder
        self.dividends: dict[dt.date, float] = {}
        self._days = sessions(conn, "2023-01-03", "2024-06-28")

    def write(self, today: dt.date) -> CsvFiles:
        rows: list[dict[str, Any]] = [
            {
                "date": date.isoformat(),
                **dict.fromkeys(("open", "high", "low", "close"), traded(date)),
                "volume": 1000,
                "dividend": self.dividends.get(date, 0),
                "split": 4 if date == SPLIT else 0,
            }
            for date in self._days
            if date <= today
        ]
        write_csv(self.folder, "ACME", rows)
        return CsvFiles(self.folder)


@pytest.fixture
def exchange(conn: Conn, tmp_path: Path) -> Exchange:
    return Exchange(conn, tmp_path / "bars")


def live(url: str, exchange: Exchange, now: dt.datetime) -> dict[str, Any]:
    """What a worker does at `now` once ACME is due, with the file as it is that day."""
    desk = Desk(url, exchange.write(now.date()))
    with stopped_clock(url, now), connect(url) as conn:
        conn.execute("SELECT ticker_enqueue(ARRAY['ACME'], 0, false)")
    (told,) = desk.turn(now)
    assert told["verdict"] == "done", told
    return told


@pytest.fixture
def prediction(url: str, exchange: Exchange) -> int:
    """A prediction whose outcome is complete at BEFORE, on prices as they were before the split."""
    desk = Desk(url, exchange.write(BEFORE.date()))
    number = desk.predict(BEFORE, "ACME", MOMENT)
    (told,) = desk.turn(BEFORE)
    assert told["verdict"] == "done"
    return number


def actions(conn: Conn) -> list[tuple[Any, ...]]:
    rows = conn.execute("SELECT date, kind, value, provider FROM corporate_actions ORDER BY 1, 2")
    return [tuple(row.values()) for row in rows]


def test_the_clock_passes_a_split_and_no_return_changes(
    url: str, conn: Conn, exchange: Exchange, prediction: int
) -> None:
    before = outcome(conn, prediction, "ACME")
    assert before["is_complete"]
    assert before["price_at_prediction"] == traded(day("2024-03-05"))
    bars = value(conn, "SELECT count(*) FROM market_prices")
    assert actions(conn) == []

    told = live(url, exchange, AFTER)

    assert actions(conn) == [(SPLIT, "split", 4.0, "csv")]
    after = outcome(conn, prediction, "ACME")
    assert after["price_at_prediction"] == before["price_at_prediction"] / 4
    for n in HORIZONS:
        assert after[f"return_t{n}"] == before[f"return_t{n}"]
        assert after[f"correct_t{n}"] == before[f"correct_t{n}"]
    assert after["revision"].endswith("returns unchanged")
    assert (told["rebased"], told["revised"]) == (True, bars)
    # One transaction: prices, outcomes, the split, what was replaced, and the record of it.
    versions = conn.execute(
        "SELECT xmin::text FROM market_prices UNION SELECT xmin::text FROM prediction_outcomes"
        " UNION SELECT xmin::text FROM corporate_actions UNION SELECT xmin::text FROM market_price_revisions"
        " UNION (SELECT xmin::text FROM ingestion_audit ORDER BY id DESC LIMIT 1)"
    ).fetchall()
    assert len(versions) == 1
    replaced = "SELECT count(*) FROM market_price_revisions WHERE old_close = new_close * 4"
    assert value(conn, replaced) == bars


def test_a_dividend_leaves_every_close_as_it_was(
    url: str, conn: Conn, exchange: Exchange, prediction: int
) -> None:
    exchange.dividends = {day("2023-11-10"): 2.0}
    live(url, exchange, utc("2024-05-17 12:00"))
    query = "SELECT date, close FROM market_prices WHERE date <= '2024-05-16' ORDER BY date"
    closes = conn.execute(query).fetchall()
    before = outcome(conn, prediction, "ACME")

    exchange.dividends[day("2024-05-17")] = 4.0
    live(url, exchange, utc("2024-05-17 22:00"))

    assert conn.execute(query).fetchall() == closes
    assert outcome(conn, prediction, "ACME") == before
    assert ("2024-05-17", "dividend", 4.0) in [(str(d), kind, v) for d, kind, v, _ in actions(conn)]
    lower = (
        "SELECT count(*) FROM market_prices WHERE adjusted_close < close AND date < '2024-05-17'"
    )
    assert value(conn, lower) == len(closes)
    assert value(conn, "SELECT count(*) FROM market_price_revisions") == 0


def test_a_split_states_earlier_dividends_per_share_of_today(
    url: str, conn: Conn, exchange: Exchange, prediction: int
) -> None:
    assert prediction
    exchange.dividends = {day("2024-05-17"): 4.0}
    live(url, exchange, utc("2024-05-17 22:00"))
    assert actions(conn) == [(day("2024-05-17"), "dividend", 4.0, "csv")]

    live(url, exchange, AFTER)

    assert actions(conn) == [
        (day("2024-05-17"), "dividend", 1.0, "csv"),
        (SPLIT, "split", 4.0, "csv"),
    ]


def test_values_are_as_told_and_two_of_a_day_are_one(database: Database, conn: Conn) -> None:
    ratio, cash = day("2024-05-13"), day("2024-05-14")
    with database.transaction() as inside:
        told = [
            Action(ratio, "split", 3.0),
            Action(cash, "dividend", 0.3),
            Action(cash, "dividend", 0.5),
        ]
        first = bars_table.store_actions(inside, "ACME", "csv", told, ratio, cash, rebased=False)
        again = bars_table.store_actions(inside, "ACME", "other", told, ratio, cash, rebased=False)
    assert (first, again) == (2, 0)
    assert actions(conn) == [(ratio, "split", 3.0, "csv"), (cash, "dividend", 0.8, "csv")]


def test_what_a_provider_takes_back_goes_and_what_another_told_stays(
    url: str, conn: Conn, exchange: Exchange, prediction: int
) -> None:
    assert prediction
    conn.execute(
        "INSERT INTO corporate_actions (symbol, date, kind, value, provider, first_seen_at, updated_at)"
        " VALUES ('ACME', '2024-05-14', 'dividend', 9, 'csv', now(), now()),"
        "        ('ACME', '2024-05-15', 'dividend', 9, 'other', now(), now())"
    )
    live(url, exchange, AFTER)
    assert [row[0] for row in actions(conn)] == [day("2024-05-15"), SPLIT]


def test_who_knows_no_actions_takes_nothing_from_what_others_told(
    url: str, conn: Conn, exchange: Exchange, prediction: int
) -> None:
    assert prediction
    exchange.dividends = {day("2024-05-21"): 1.0}
    live(url, exchange, AFTER)
    query = (
        "SELECT date, close, adjusted_close, has_split, has_dividend FROM market_prices"
        " WHERE date <= '2024-05-21' ORDER BY date"
    )
    before = conn.execute(query).fetchall()
    assert sum(row["has_split"] + row["has_dividend"] for row in before) == 2

    adjusted = serving(lambda date: traded(date) / (1 if date >= SPLIT else 4))
    # Neither adjusted closes nor anything else that it could know of dividends.
    bare = [bar._replace(adjusted_close=None) for bar in adjusted(ASKED).bars]
    plain = FakeProvider("plain", Answer(Kind.OK, bare))
    with stopped_clock(url, AFTER + dt.timedelta(days=1)), connect(url) as inside:
        inside.execute("SELECT ticker_enqueue(ARRAY['ACME'], 0, false)")
    (told,) = Desk(url, plain).turn(AFTER + dt.timedelta(days=1))

    assert (told["verdict"], told["inserted"], told["rebased"]) == ("done", 1, False)
    assert plain.asked[0].sessions == ASKED.sessions
    assert conn.execute(query).fetchall() == before
