"""The newest session for many symbols at once: what is stored, and what is left for its own fetch."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from market.prices import backfill
from market.prices.bulk import TopUp, top_up
from market.providers import Bar, Provider, Request
from market.providers.polygon import Polygon
from market.providers.twelve_data import TwelveData
from sql.database import Database
from tests.providers.vendor import Asked, Said, Vendor
from tests.providers.words import KEY, new_york, twelve_series
from tests.support.clock import at, stopped_clock, utc
from tests.support.db import Conn, connect, value
from tests.support.market import cover, put_bars, uncover_after
from tests.support.providers import FakeProvider, serving
from tests.support.waiting import never
from worker.metrics import Counted, Metrics

THURSDAY, FRIDAY = dt.date(2024, 5, 16), dt.date(2024, 5, 17)
SYMBOLS = ["AAPL", "BRK.B", "MSFT"]
SPELLED = {"AAPL": "AAPL", "BRK.B": "BRK.B", "MSFT": "MSFT"}


@pytest.fixture
def friday(url: str) -> Iterator[Database]:
    """Friday evening; all symbols have every session until Thursday, at 100."""
    with stopped_clock(url, utc("2024-05-16 22:00")) as database:
        for symbol in [*SYMBOLS, "BTC-USD"]:
            with at(database) as conn:
                conn.execute("SELECT registry_register(ARRAY[%s], ARRAY[NULL::int])", [symbol])
                plan = backfill.plan(conn, symbol, 30)
            assert plan is not None
            first = FakeProvider("first", serving(lambda _: 100.0))
            result = backfill.fetch(database, [first], plan, never)
            with at(database) as conn:
                backfill.store(conn, plan, result)
    with stopped_clock(url, utc("2024-05-17 22:00")) as database:
        yield database


def market(before: float = 100.0, **closes: float) -> Any:
    """Polygon's grouped days: Thursday at `before`, Friday at these closes."""

    def says(asked: Asked) -> Said:
        thursday = asked.path.endswith(f"{THURSDAY}")
        day, stamp = (THURSDAY, before) if thursday else (FRIDAY, None)
        rows = [
            {"T": name, "v": 1000.0, "o": price, "c": price, "h": price, "l": price}
            | {"t": new_york(day) - 3_600_000 + 16 * 3_600_000, "vw": price, "n": 9}
            for name, close in closes.items()
            for price in [stamp or close]
        ]
        return Said({"status": "OK", "adjusted": True, "resultsCount": len(rows), "results": rows})

    return says


def polygon(http: httpx.Client, vendor: Vendor) -> Polygon:
    return Polygon(http, vendor.url, KEY, is_paid=False)


def go(database: Database, *providers: Provider, symbols: list[str] = SYMBOLS) -> TopUp:
    return top_up(database, providers, FRIDAY, symbols, never)


def friday_closes(url: str) -> dict[str, tuple[float, str]]:
    with connect(url) as conn:
        rows = conn.execute(
            "SELECT symbol, close, source FROM market_prices WHERE date = %s ORDER BY symbol",
            [FRIDAY],
        )
        return {row["symbol"]: (row["close"], row["source"]) for row in rows}


def test_two_requests_top_a_whole_universe_up(
    friday: Database, url: str, conn: Conn, http: httpx.Client, vendor: Vendor
) -> None:
    vendor.says = market(**{"AAPL": 101.0, "BRK.B": 102.0, "MSFT": 103.0, "ZZZZ": 1.0})
    done = go(friday, polygon(http, vendor))
    assert sorted(done.stored) == SYMBOLS
    assert done.left == []
    assert friday_closes(url) == {
        "AAPL": (101.0, "polygon"),
        "BRK.B": (102.0, "polygon"),
        "MSFT": (103.0, "polygon"),
    }
    assert [asked.path[-10:] for asked in vendor.log] == [f"{THURSDAY}", f"{FRIDAY}"]
    assert value(conn, "SELECT minute_used FROM provider_quotas WHERE name = 'polygon'") == 2
    # Thursday's bars are those that were there.
    assert value(
        conn, "SELECT array_agg(DISTINCT source) FROM market_prices WHERE date < %s", [FRIDAY]
    ) == ["first"]
    assert (
        value(
            conn,
            "SELECT min(covered_to) FROM ticker_registry, coverage_span(symbol, '1d')"
            " WHERE symbol <> 'BTC-USD'",
        )
        == FRIDAY
    )
    # And nobody asks again for what is there.
    again = go(friday, polygon(http, vendor))
    assert again.stored == {}
    assert len(vendor.log) == 2


def test_a_split_is_left_for_a_fetch_of_the_whole_history(
    friday: Database, url: str, http: httpx.Client, vendor: Vendor
) -> None:
    # What is stored is at 100; after a 4:1 split Polygon has Thursday at 25.
    vendor.says = market(25.0, AAPL=25.5)
    done = go(friday, polygon(http, vendor), symbols=["AAPL"])
    assert (done.stored, done.left) == ({}, ["AAPL"])
    assert friday_closes(url) == {}


def test_without_the_session_before_nothing_is_comparable(
    friday: Database, url: str, http: httpx.Client, vendor: Vendor
) -> None:
    full = market(AAPL=101.0)

    def says(asked: Asked) -> Said:
        if asked.path.endswith(f"{FRIDAY}"):
            return full(asked)  # type: ignore[no-any-return]
        return market(MSFT=100.0)(asked)  # type: ignore[no-any-return]

    vendor.says = says
    assert go(friday, polygon(http, vendor), symbols=["AAPL"]).left == ["AAPL"]
    assert friday_closes(url) == {}


def test_what_no_bar_can_be_is_not_stored(
    friday: Database, url: str, http: httpx.Client, vendor: Vendor
) -> None:
    vendor.says = market(AAPL=-1.0, MSFT=103.0)
    assert go(friday, polygon(http, vendor)).left == ["AAPL", "BRK.B"]
    assert friday_closes(url) == {"MSFT": (103.0, "polygon")}


def test_who_lacks_more_or_is_no_us_listing_is_left(
    friday: Database, conn: Conn, http: httpx.Client, vendor: Vendor
) -> None:
    conn.execute("DELETE FROM market_prices WHERE symbol = 'AAPL' AND date >= '2024-05-15'")
    uncover_after(conn, "2024-05-14", "AAPL")
    conn.execute("INSERT INTO ticker_registry (symbol, status) VALUES ('NEW', 'active')")
    before = conn.execute(
        "SELECT symbol, backfill_status FROM ticker_registry ORDER BY 1"
    ).fetchall()
    vendor.says = market(AAPL=101.0, NEW=7.0)
    symbols = ["AAPL", "NEW", "BTC-USD", "NOBODY"]
    done = go(friday, polygon(http, vendor), symbols=symbols)
    assert (done.stored, done.left) == ({}, symbols)
    assert vendor.log == []
    assert (
        conn.execute("SELECT symbol, backfill_status FROM ticker_registry ORDER BY 1").fetchall()
        == before
    )


@pytest.mark.parametrize(
    "said",
    [
        Said({"status": "ERROR", "error": "You've exceeded the maximum requests per minute"}, 429),
        Said(status=503),
        Said({"status": "OK", "adjusted": True, "results": [{"T": "AAPL"}]}),
        Said({"status": "OK", "adjusted": True, "resultsCount": 0}),
    ],
)
def test_a_provider_that_cannot_leaves_all_to_the_next(
    friday: Database, url: str, http: httpx.Client, vendor: Vendor, said: Said
) -> None:
    def says(asked: Asked) -> Said:
        if asked.path != "/time_series":
            return said
        names = asked.query["symbol"].split(",")
        return Said({name: series(name) for name in names})

    vendor.says = says
    twelve = TwelveData(http, vendor.url, KEY, is_paid=False)
    done = go(friday, polygon(http, vendor), twelve)
    assert sorted(done.stored) == SYMBOLS
    assert {source for _, source in friday_closes(url).values()} == {"twelve_data"}
    assert vendor.log[-1].query["symbol"] == "AAPL,BRK.B,MSFT"
    with connect(url) as conn:
        assert (
            value(conn, "SELECT minute_used FROM provider_quotas WHERE name = 'twelve_data'") == 3
        )


def series(name: str) -> dict[str, Any]:
    document = twelve_series(name)
    for row, (date, close) in zip(
        document["values"], [(THURSDAY, 100.0), (FRIDAY, 101.0)], strict=True
    ):
        row.update({"datetime": f"{date}", "close": f"{close}"})
        row.update(dict.fromkeys(("open", "high", "low"), f"{close}"))
    return document


def test_twelve_datas_symbols_have_each_its_own_fate(
    friday: Database, http: httpx.Client, vendor: Vendor
) -> None:
    unknown = {
        "code": 404,
        "message": "**symbol** parameter is missing or invalid",
        "status": "error",
    }
    vendor.says = Said({"AAPL": series("AAPL"), "BRK.B": unknown, "MSFT": series("MSFX")})
    done = go(friday, TwelveData(http, vendor.url, KEY, is_paid=False))
    assert sorted(done.stored) == ["AAPL"]
    assert done.left == ["BRK.B", "MSFT"]


def test_a_batch_is_no_longer_than_the_provider_takes(
    friday: Database, conn: Conn, http: httpx.Client, vendor: Vendor
) -> None:
    conn.execute("UPDATE provider_quotas SET per_minute = NULL WHERE name = 'twelve_data'")
    names = [f"T{number:02}" for number in range(10)]
    for name in names:
        conn.execute(
            "INSERT INTO ticker_registry (symbol, calendar, status) VALUES (%s, 'XNYS', 'active')",
            [name],
        )
        cover(conn, name, THURSDAY, THURSDAY)
        put_bars(conn, name, {THURSDAY: 100.0})
    vendor.says = lambda asked: Said(
        {each: series(each) for each in asked.query["symbol"].split(",")}
    )
    done = go(friday, TwelveData(http, vendor.url, KEY, is_paid=False), symbols=names)
    assert sorted(done.stored) == names
    assert [len(asked.query["symbol"].split(",")) for asked in vendor.log] == [8, 2]


def test_a_worker_that_counts_answers_takes_batches_too(
    friday: Database, http: httpx.Client, vendor: Vendor
) -> None:
    vendor.says = market(**{"AAPL": 101.0, "BRK.B": 102.0, "MSFT": 103.0})
    metrics = Metrics()
    assert go(friday, Counted(polygon(http, vendor), metrics)).left == []
    labels = {"provider": "polygon", "kind": "ok"}
    assert metrics.registry.get_sample_value("reckoner_provider_requests_total", labels) == 1


def test_bars_are_bars(http: httpx.Client, vendor: Vendor) -> None:
    vendor.says = market(AAPL=101.0)
    request = Request("AAPL", THURSDAY, FRIDAY, [THURSDAY, FRIDAY])
    (answer,) = polygon(http, vendor).fetch_many([request])
    assert [bar.date for bar in answer.bars] == [THURSDAY, FRIDAY]
    assert all(isinstance(bar, Bar) for bar in answer.bars)
    assert answer.payload is not None
    assert answer.payload.url.endswith(f"{FRIDAY}?adjusted=true")
