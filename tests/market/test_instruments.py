"""Bars under the right name that are another instrument's."""

from collections.abc import Callable

import pytest

from market.providers import Answer, Kind, Request
from tests.market.desk import Desk
from tests.market.silence import DAY, NOW, OLD, Changing, state
from tests.support.db import Conn, value
from tests.support.market import outcome, ticker
from tests.support.providers import FakeProvider, plain_bars


def instrument(asset_type: str, price: float = 100.0) -> Callable[[Request], Answer]:
    """A good answer for an instrument of this type."""
    return lambda request: Answer(
        Kind.OK, plain_bars(request.sessions, lambda _: price), asset_type=asset_type
    )


@pytest.mark.parametrize(
    ("symbol", "asset_type", "is_refused"),
    [
        ("BTC-USD", "stock", True),
        ("BTC-USD", "etf", True),
        ("BTC/USD", "stock", True),
        ("BTC", "crypto", True),
        ("AAPL", "crypto", True),
        ("BTC-USD", "crypto", False),
        ("BTC/USD", "crypto", False),
        ("BTC", "etf", False),
        ("AAPL", "stock", False),
        ("BRK.B", "stock", False),
        ("^GSPC", "index", False),
    ],
)
def test_another_instruments_answer_is_refused(
    url: str, conn: Conn, symbol: str, asset_type: str, is_refused: bool
) -> None:
    desk = Desk(url, FakeProvider("remote", instrument(asset_type)))
    number = desk.predict(NOW, symbol, OLD)
    (told,) = desk.turn(NOW)
    row = ticker(conn, symbol)
    assert row["status"] == "active"
    if is_refused:
        assert told["result"] == "failed"
        assert "another instrument" in told["reason"]
        assert asset_type in told["reason"]
        assert value(conn, "SELECT count(*) FROM market_prices") == 0
        assert row["asset_type"] != asset_type
        assert state(conn, number, symbol) == "awaiting_prices"
    else:
        assert told["result"] == "fetched"
        assert row["asset_type"] == asset_type
        assert state(conn, number, symbol) == "complete"


def test_the_next_provider_may_have_the_right_instrument(url: str, conn: Conn) -> None:
    wrong, right = instrument("stock", 3.0), instrument("crypto", 50_000.0)
    desk = Desk(url, FakeProvider("a", wrong), FakeProvider("b", right))
    number = desk.predict(NOW, "BTC-USD", OLD)
    desk.turn(NOW)
    assert value(conn, "SELECT array_agg(DISTINCT source) FROM market_prices") == ["b"]
    assert outcome(conn, number, "BTC-USD")["price_t30"] == 50_000.0


def test_another_instrument_beside_stored_bars_changes_none_of_them(url: str, conn: Conn) -> None:
    """The name was given to another: what is stored stays as it is, and no basis changed."""
    provider = Changing("remote", instrument("crypto", 50_000.0))
    desk = Desk(url, provider)
    number = desk.predict(NOW, "BTC-USD", OLD)
    desk.turn(NOW)
    before = outcome(conn, number, "BTC-USD")
    provider.answer = instrument("etf", 40.0)
    desk.predict(NOW + 3 * DAY, "BTC-USD", NOW + 2 * DAY)
    (told,) = desk.turn(NOW + 3 * DAY)
    assert "another instrument" in told["reason"]
    assert outcome(conn, number, "BTC-USD") == before
    assert value(conn, "SELECT min(close) FROM market_prices") == 50_000.0
    assert ticker(conn, "BTC-USD")["asset_type"] == "crypto"
