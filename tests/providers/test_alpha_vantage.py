"""Alpha Vantage's prices are as traded: what leaves the adapter is adjusted for splits, or nothing."""

import datetime as dt

import httpx
import pytest

from market.providers import Action, Answer, Kind
from market.providers.alpha_vantage import AlphaVantage
from tests.providers.vendor import Asked, Said, Vendor
from tests.providers.words import DAYS, KEY, alpha_daily, alpha_splits, request

WEEK = [dt.date(2026, 11, day) for day in (16, 17, 18, 19, 20)]
TRADED = dict(zip(WEEK, [400.0, 404.0, 101.0, 102.0, 103.0], strict=True))


def fetch(
    http: httpx.Client, vendor: Vendor, splits: Said, daily: Said, days: list[dt.date] = WEEK
) -> Answer:
    def says(asked: Asked) -> Said:
        return splits if asked.query["function"] == "SPLITS" else daily

    vendor.says = says
    provider = AlphaVantage(http, vendor.url, KEY, is_paid=False, pause=0)
    return provider.fetch(request(days=days))


def test_what_came_before_a_split_is_adjusted(http: httpx.Client, vendor: Vendor) -> None:
    splits = Said(alpha_splits(d2026_11_18="4.0000", d2020_08_31="4.0000", d2030_01_01="2.0"))
    answer = fetch(http, vendor, splits, Said(alpha_daily(TRADED)))
    assert answer.kind is Kind.OK, answer.message
    assert [bar.close for bar in answer.bars] == [100.0, 101.0, 101.0, 102.0, 103.0]
    assert [bar.open for bar in answer.bars] == [100.0, 101.0, 101.0, 102.0, 103.0]
    volumes = [bar.volume for bar in answer.bars]
    assert volumes == [114364809 * 4, 114364809 * 4, *[114364809] * 3]
    assert [bar.has_split for bar in answer.bars] == [False, False, True, False, False]
    assert answer.actions == [Action(WEEK[2], "split", 4.0)]  # neither the old nor the coming one
    assert [each.query["function"] for each in vendor.log] == ["SPLITS", "TIME_SERIES_DAILY"]
    assert answer.payload is not None
    assert b"effective_date" in answer.payload.body
    assert b"Time Series" in answer.payload.body


def test_a_split_on_a_day_without_a_bar_adjusts_what_came_before(
    http: httpx.Client, vendor: Vendor
) -> None:
    traded = {day: close for day, close in TRADED.items() if day != WEEK[2]}
    answer = fetch(http, vendor, Said(alpha_splits(d2026_11_18="4")), Said(alpha_daily(traded)))
    assert [bar.close for bar in answer.bars] == [100.0, 101.0, 102.0, 103.0]
    assert [bar.has_split for bar in answer.bars] == [False, False, True, False]
    assert answer.actions == [Action(WEEK[3], "split", 4.0)]


def test_a_split_on_the_first_row_is_told(http: httpx.Client, vendor: Vendor) -> None:
    traded = {day: TRADED[day] for day in WEEK[2:]}
    answer = fetch(http, vendor, Said(alpha_splits(d2026_11_18="4")), Said(alpha_daily(traded)))
    assert [bar.has_split for bar in answer.bars] == [True, False, False]
    assert answer.actions == [Action(WEEK[2], "split", 4.0)]


@pytest.mark.parametrize("factor", [4.0, 1 / 10])
def test_a_step_that_no_split_explains_gives_no_bars(
    http: httpx.Client, vendor: Vendor, factor: float
) -> None:
    traded = dict(zip(WEEK, [100 * factor, 101 * factor, 101.0, 102.0, 103.0], strict=True))
    answer = fetch(http, vendor, Said(alpha_splits()), Said(alpha_daily(traded)))
    assert answer.kind is Kind.BAD_ANSWER
    assert "2026-11-18 that no split explains" in answer.message
    assert answer.bars == ()


@pytest.mark.parametrize(
    ("splits", "kind"),
    [
        (
            Said({"Information": "our standard API rate limit is 25 requests per day"}),
            Kind.THROTTLED,
        ),
        (Said({"Information": "This is a premium endpoint"}), Kind.PLAN),
        (Said({}), Kind.BAD_ANSWER),
        (Said({"symbol": "AAPX", "data": []}), Kind.BAD_ANSWER),
        (Said({"symbol": "AAPL", "data": [{"effective_date": "2026-11-18"}]}), Kind.BAD_ANSWER),
        (Said(status=500), Kind.DOWN),
    ],
)
def test_without_splits_there_are_no_bars(
    http: httpx.Client, vendor: Vendor, splits: Said, kind: Kind
) -> None:
    answer = fetch(http, vendor, splits, Said(alpha_daily()))
    assert answer.kind is kind
    assert answer.bars == ()
    assert len(vendor.log) == 1


def test_a_hundred_rows_that_begin_too_late_are_not_the_range(
    http: httpx.Client, vendor: Vendor
) -> None:
    many = {DAYS[1] - dt.timedelta(days=n): 100.0 for n in range(100)}
    daily = Said(alpha_daily(many))
    answer = fetch(http, vendor, Said(alpha_splits()), daily, [dt.date(2026, 1, 5), DAYS[1]])
    assert answer.kind is Kind.PLAN
    assert answer.abstains


def test_a_paid_series_has_its_splits_and_dividends(http: httpx.Client, vendor: Vendor) -> None:
    def row(close: float, split: str, dividend: str) -> dict[str, str]:
        prices = {f"{n}. {name}": f"{close}" for n, name in enumerate(("open", "high", "low"), 1)}
        return prices | {
            "4. close": f"{close}",
            "5. adjusted close": "99.5",
            "6. volume": "1000",
            "7. dividend amount": dividend,
            "8. split coefficient": split,
        }

    series = {
        "2026-11-20": row(101.0, "4.0", "0.0000"),
        "2026-11-19": row(160.0, "1.0", "0.2500"),  # a crash of true size stands as it is
        "2026-11-18": row(400.0, "1.0", "0.0000"),
    }
    vendor.says = Said({"Meta Data": {}, "Time Series (Daily)": series})
    provider = AlphaVantage(http, vendor.url, KEY, is_paid=True)
    answer = provider.fetch(request(days=[WEEK[2], WEEK[4]]))
    assert [bar.close for bar in answer.bars] == [100.0, 40.0, 101.0]
    assert [bar.volume for bar in answer.bars] == [4000, 4000, 1000]
    assert [bar.adjusted_close for bar in answer.bars] == [99.5] * 3
    assert [bar.has_split for bar in answer.bars] == [False, False, True]
    assert [bar.has_dividend for bar in answer.bars] == [False, True, False]
    assert answer.actions == [
        Action(WEEK[3], "dividend", 0.25 / 4),  # per share of today
        Action(WEEK[4], "split", 4.0),
    ]
    assert vendor.log[0].query["function"] == "TIME_SERIES_DAILY_ADJUSTED"


def test_a_coin_needs_no_splits(http: httpx.Client, vendor: Vendor) -> None:
    document = alpha_daily(dict(zip(DAYS, [50_000.0, 100_000.0], strict=True)))
    document["Time Series (Digital Currency Daily)"] = document.pop("Time Series (Daily)")
    vendor.says = Said(document)
    provider = AlphaVantage(http, vendor.url, KEY, is_paid=False, pause=0)
    answer = provider.fetch(request("BTC-USD"))
    assert [bar.close for bar in answer.bars] == [50_000.0, 100_000.0]
    (one,) = vendor.log
    assert (one.query["function"], one.query["symbol"], one.query["market"]) == (
        "DIGITAL_CURRENCY_DAILY",
        "BTC",
        "USD",
    )
