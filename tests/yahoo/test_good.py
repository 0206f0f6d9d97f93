"""Good answers, in a real worker: what is stored of them, and the outcomes that follow."""

import datetime as dt

from tests.support.market import outcome, ticker
from tests.support.queue import until_done
from tests.yahoo.scenes import ENTRY, FETCHED_FROM, LAST, NOW, Town, bars, check_complete


def test_bars_are_stored_adjusted_and_the_outcome_follows(town: Town) -> None:
    split, ex_day, eve = dt.date(2024, 3, 11), dt.date(2024, 4, 2), dt.date(2024, 4, 1)
    listing = town.list_(
        "ACME", splits={split: 4.0}, dividends={ex_day: 1.0}, kind="ETF", exchange="PCX"
    )
    number = town.predict("ACME")
    town.until_complete()

    check_complete(town, number)
    found = bars(town.conn)
    paid = 1 - 1.0 / listing.bars[eve].close
    for date, bar in found.items():
        traded, ratio = listing.bars[date], 4.0 if date < split else 1.0
        assert bar == {
            "open": traded.open / ratio,
            "high": traded.high / ratio,
            "low": traded.low / ratio,
            "close": traded.close / ratio,
            "adjusted_close": traded.close / ratio * (paid if date < ex_day else 1.0),
            "volume": 4000,
            "has_split": date == split,
            "has_dividend": date == ex_day,
            "source": "yahoo",
        }
    row = ticker(town.conn, "ACME")
    assert (row["asset_type"], row["exchange"]) == ("etf", "PCX")
    assert (row["price_data_start"], row["price_data_end"]) == (min(found), LAST)
    assert (row["total_price_records"], row["backfill_status"]) == (len(found), "completed")


def test_one_request_brings_a_ticker_and_later_predictions_need_none(town: Town) -> None:
    town.list_("ACME")
    town.predict("ACME")
    town.until_complete()
    for _ in range(5):
        town.predict("ACME")
    town.until_complete(6)

    (asked,) = town.yahoo.charts()
    assert (asked.host, asked.symbol, asked.status) == ("query2.finance.yahoo.com", "ACME", 200)
    first = dt.datetime.combine(FETCHED_FROM, dt.time(), dt.UTC).timestamp()
    assert asked.period1 <= first
    assert asked.period2 >= NOW.timestamp()


def test_a_coin_has_a_bar_for_each_day_that_is_over(town: Town) -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=n) for n in range(200)]
    town.days, trading = days, town.days
    town.list_(
        "BTC-USD",
        kind="CRYPTOCURRENCY",
        exchange="CCC",
        zone="UTC",
        opens=dt.time(),
        length=dt.timedelta(days=1),
    )
    town.days = trading
    number = town.predict("BTC-USD")
    town.until_complete()

    found = list(bars(town.conn, "BTC-USD"))
    # Today's bar was served, and is not over.
    assert found == [day for day in days if FETCHED_FROM <= day < LAST]
    assert outcome(town.conn, number, "BTC-USD")["entry_session"] == ENTRY
    assert ticker(town.conn, "BTC-USD")["asset_type"] == "crypto"


def test_a_newly_listed_company_has_bars_from_its_first_day(town: Town) -> None:
    first = dt.date(2024, 3, 15)
    listing = town.list_("ACME")
    listing.bars = {date: bar for date, bar in listing.bars.items() if date >= first}
    number = town.predict("ACME")
    until_done(town.conn, "ACME")

    assert min(bars(town.conn)) == first
    row = outcome(town.conn, number, "ACME")
    assert row["outcome_state"] == "unresolvable"
    assert "not yet listed" in row["outcome_reason"]
    assert town.status() == "active"


def test_a_delisted_company_keeps_its_bars_and_ends_its_outcomes(town: Town) -> None:
    last = dt.date(2024, 3, 8)
    listing = town.list_("ACME", delisted=True)
    listing.bars = {date: bar for date, bar in listing.bars.items() if date <= last}
    number = town.predict("ACME")
    until_done(town.conn, "ACME")

    assert max(bars(town.conn)) == last
    row = outcome(town.conn, number, "ACME")
    assert row["outcome_state"] == "unresolvable"
    assert "2024-03-08" in row["outcome_reason"]
    assert row["return_t3"] is not None
    assert town.status() == "active"
