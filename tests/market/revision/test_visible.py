"""Prices that change after they were stored: which rows are written, and when others see them."""

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from market.prices import backfill
from tests.market.desk import Desk
from tests.market.revision.remote import (
    AT_T3,
    AT_T7,
    ENTRY,
    T3,
    Remote,
    refetch,
    refresh,
    returns,
)
from tests.support.clock import at, clock
from tests.support.db import Conn, connect, value
from tests.support.market import BACKFILL_DAYS, outcome
from tests.support.waiting import never, until

OUTCOMES = "SELECT string_agg(DISTINCT xmin::text, ' ') FROM prediction_outcomes"
BARS = "SELECT string_agg(DISTINCT xmin::text, ' ') FROM market_prices"


def test_restated_volume_changes_bars_and_no_outcome(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    row, written = outcome(conn, prediction, "ACME"), value(conn, OUTCOMES)
    remote.volume = 2345
    told = refetch(desk, AT_T3 + dt.timedelta(hours=1))
    bars = value(conn, "SELECT count(*) FROM market_prices")
    assert (told["updated"], told["revised"], told["inserted"]) == (bars, 0, 0)
    assert value(conn, "SELECT array_agg(DISTINCT volume) FROM market_prices") == [2345]
    assert outcome(conn, prediction, "ACME") == row
    assert value(conn, OUTCOMES) == written


def test_volume_restated_in_the_overlap_changes_only_those_bars(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    before = outcome(conn, prediction, "ACME")
    remote.volume = 2345
    told = refresh(desk, AT_T7)
    assert (told["rebased"], told["revised"]) == (False, 0)
    assert value(conn, "SELECT count(*) FROM market_prices WHERE volume = 2345") < 20
    row = outcome(conn, prediction, "ACME")
    assert returns(row)[:2] == returns(before)[:2]
    assert row["revision"] is None


def test_equal_bars_are_not_written_again(desk: Desk, conn: Conn, prediction: int) -> None:
    bars, row = value(conn, BARS), value(conn, OUTCOMES)
    told = refetch(desk, AT_T3 + dt.timedelta(hours=1))
    assert (told["inserted"], told["updated"], told["outcomes"]) == (0, 0, 0)
    assert value(conn, BARS) == bars
    assert value(conn, OUTCOMES) == row
    assert outcome(conn, prediction, "ACME")["revision"] is None


@contextmanager
def watched(url: str, look: str, parameters: list[Any]) -> Iterator[list[Any]]:
    """Another connection that takes snapshot after snapshot; yields what it saw."""
    seen: list[Any] = []
    over = threading.Event()

    def watch() -> None:
        with connect(url) as conn:
            while not over.is_set():
                row = conn.execute(look.encode(), parameters).fetchone()
                assert row is not None
                seen.append(tuple(row.values()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        until("somebody watches", lambda: seen)
        yield seen
        count = len(seen)
        until("the end is seen", lambda: len(seen) > count + 1)
    finally:
        over.set()
        thread.join(10)


def test_nobody_ever_sees_prices_without_their_outcomes(
    url: str, prediction: int, remote: Remote
) -> None:
    """The basis changes to and fro, while another connection compares in single snapshots."""
    look = (
        "SELECT o.price_at_prediction AS entry, e.close AS its_bar, o.price_t3 AS t3, h.close AS t3_bar,"
        " count(*) FILTER (WHERE p.close > 200) IN (0, count(*)) AS is_pure FROM prediction_outcomes o"
        " JOIN market_prices e ON e.symbol = o.symbol AND e.date = %s"
        " JOIN market_prices h ON h.symbol = o.symbol AND h.date = %s"
        " JOIN market_prices p ON p.symbol = o.symbol"
        " WHERE o.prediction_id = %s GROUP BY 1, 2, 3, 4"
    )
    with watched(url, look, [ENTRY, T3, prediction]) as seen, clock(url, AT_T3) as database:
        for turn in range(13):  # odd: it ends on the other basis, which is then surely seen
            remote.shares = 4.0 if turn % 2 == 0 else 1.0
            with at(database) as conn:
                plan = backfill.plan(conn, "ACME", BACKFILL_DAYS, refetch=True)
            assert plan is not None
            result = backfill.fetch(database, [remote], plan, never)
            with at(database) as conn:
                backfill.store(conn, plan, result)
    torn = [row for row in seen if row[0] != row[1] or row[2] != row[3] or not row[4]]
    assert torn == []
    assert len({entry for entry, *_ in seen}) == 2
