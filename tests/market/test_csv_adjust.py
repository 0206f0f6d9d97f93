"""The csv provider turns prices as traded into adjusted ones: splits and dividends, by hand.

A split or a dividend stands on the first session at the new price.
"""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.prices.validation import validate
from market.providers import Bar, Kind, Request
from market.providers.csv_files import CsvFiles
from tests.support.clock import day
from tests.support.market import write_csv
from tests.support.process import ROOT

BARS = ROOT.parent / "shared" / "bars"
COLUMNS = ("date", "open", "high", "low", "close", "volume", "adjusted_close", "dividend", "split")
FIRST = day("2024-01-01")


def row(n: int, close: float | str, **more: Any) -> dict[str, Any]:
    """The n-th day as traded."""
    prices = {"open": close, "high": close, "low": close, "close": close, "volume": 1000}
    return {"date": (FIRST + dt.timedelta(days=n)).isoformat(), **prices, **more}


def adjusted(folder: Path, *rows: dict[str, Any]) -> list[Bar]:
    """The provider's bars of a file with these rows."""
    write_csv(folder, "ACME", rows, columns=COLUMNS)
    last = FIRST + dt.timedelta(days=400)
    answer = CsvFiles(folder).fetch(Request("ACME", FIRST, last, []))
    assert answer.kind is Kind.OK
    return list(answer.bars)


def test_a_split_divides_what_came_before(tmp_path: Path) -> None:
    bars = adjusted(
        tmp_path, row(0, 400, open=396, high=404, low=392), row(1, 101, split=4), row(2, 102)
    )
    assert [bar.close for bar in bars] == [100.0, 101.0, 102.0]
    assert bars[0][1:5] == (99.0, 101.0, 98.0, 100.0)
    assert [bar.volume for bar in bars] == [4000, 1000, 1000]
    assert [bar.has_split for bar in bars] == [False, True, False]


def test_a_reverse_split_multiplies_it(tmp_path: Path) -> None:
    bars = adjusted(tmp_path, row(0, 2), row(1, 20, split=0.1))
    assert [bar.close for bar in bars] == pytest.approx([20.0, 20.0])
    assert [bar.volume for bar in bars] == [100, 1000]


@pytest.mark.parametrize(
    ("split", "before"), [("4:1", 100.0), ("4/1", 100.0), (" 1 : 20 ", 8000.0)]
)
def test_a_split_may_be_a_ratio(tmp_path: Path, split: str, before: float) -> None:
    bars = adjusted(tmp_path, row(0, 400), row(1, before, split=split))
    assert [bar.close for bar in bars] == [before, before]
    assert bars[1].has_split


def test_two_splits_multiply(tmp_path: Path) -> None:
    bars = adjusted(tmp_path, row(0, 60), row(1, 30, split=2), row(2, 30), row(3, 10, split=3))
    assert [bar.close for bar in bars] == [10.0, 10.0, 10.0, 10.0]
    assert [bar.volume for bar in bars] == [6000, 3000, 3000, 1000]


def test_a_split_after_the_range_counts_too(tmp_path: Path) -> None:
    write_csv(tmp_path, "ACME", [row(0, 400), row(9, 100, split=4)], columns=COLUMNS)
    answer = CsvFiles(tmp_path).fetch(Request("ACME", FIRST, FIRST, [FIRST]))
    assert [bar.close for bar in answer.bars] == [100.0]


def test_a_split_on_a_row_without_prices_still_counts(tmp_path: Path) -> None:
    bars = adjusted(tmp_path, row(0, 400), row(1, "", split=4), row(2, 100))
    assert [bar.close for bar in bars] == [100.0, 100.0]


@pytest.mark.parametrize("none", ["1", "0", "0.0", " "])  # yfinance writes 0.0
def test_a_split_of_one_is_none(tmp_path: Path, none: str) -> None:
    bars = adjusted(tmp_path, row(0, 100), row(1, 100, split=none))
    assert [bar.close for bar in bars] == [100.0, 100.0]
    assert not any(bar.has_split for bar in bars)


@pytest.mark.parametrize("split", ["-4", "nan", "4:0", "0:0", ":1", "4:1:1", "-4:1"])
def test_an_impossible_split_rejects_its_row(tmp_path: Path, split: str) -> None:
    rows = [row(0, 100), row(1, 100, split=split), row(2, 100)]
    write_csv(tmp_path, "ACME", rows, columns=COLUMNS)
    answer = CsvFiles(tmp_path).fetch(Request("ACME", FIRST, day("2024-12-31"), []))
    assert [bar.close for bar in answer.bars] == [100.0, 100.0]
    assert len(answer.rejected) == 1


def test_a_dividend_by_the_formula(tmp_path: Path) -> None:
    bars = adjusted(tmp_path, row(0, 50), row(1, 100), row(2, 98, dividend=2), row(3, 99))
    # 2 of the last close before it, 100: everything earlier is worth 98 % of itself.
    assert [bar.adjusted_close for bar in bars] == pytest.approx([49.0, 98.0, 98.0, 99.0])
    assert [bar.close for bar in bars] == [50.0, 100.0, 98.0, 99.0]
    assert [bar.has_dividend for bar in bars] == [False, False, True, False]


def test_two_dividends_multiply(tmp_path: Path) -> None:
    bars = adjusted(tmp_path, row(0, 100), row(1, 90, dividend=10), row(2, 81, dividend=9))
    assert [bar.adjusted_close for bar in bars] == pytest.approx([81.0, 81.0, 81.0])


def test_a_split_after_a_dividend(tmp_path: Path) -> None:
    bars = adjusted(tmp_path, row(0, 100), row(1, 90, dividend=10), row(2, 45, split=2))
    assert [bar.close for bar in bars] == [50.0, 45.0, 45.0]
    assert [bar.adjusted_close for bar in bars] == pytest.approx([45.0, 45.0, 45.0])


def test_a_split_and_a_dividend_on_one_day(tmp_path: Path) -> None:
    # Both as traded on that day: 5 on each new share, which is 10 on an old one of 100.
    bars = adjusted(tmp_path, row(0, 100), row(1, 45, split=2, dividend=5))
    assert [bar.close for bar in bars] == [50.0, 45.0]
    assert [bar.adjusted_close for bar in bars] == pytest.approx([45.0, 45.0])


def test_a_dividend_on_a_row_without_prices_still_counts(tmp_path: Path) -> None:
    bars = adjusted(tmp_path, row(0, 100), row(1, "", dividend=10), row(2, 90))
    assert [bar.adjusted_close for bar in bars] == pytest.approx([90.0, 90.0])


@pytest.mark.parametrize("rubbish", [0, -7])
def test_a_dividend_after_a_row_that_is_no_bar(tmp_path: Path, rubbish: float) -> None:
    bars = adjusted(tmp_path, row(0, 100), row(1, rubbish), row(2, 90, dividend=10))
    assert bars[0].adjusted_close == pytest.approx(90.0)


def test_a_dividend_before_the_first_bar_changes_nothing(tmp_path: Path) -> None:
    bars = adjusted(tmp_path, row(0, 100, dividend=10), row(1, 101))
    assert [bar.adjusted_close for bar in bars] == [100.0, 101.0]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    closes=st.lists(st.floats(1, 1000), min_size=2, max_size=12),
    splits=st.dictionaries(
        st.integers(1, 11), st.sampled_from([2.0, 3.0, 7.0, 0.1, 0.5, 1.5]), max_size=3
    ),
)
def test_returns_over_splits_are_those_of_the_unsplit_series(
    tmp_path_factory: pytest.TempPathFactory, closes: list[float], splits: dict[int, float]
) -> None:
    folder = tmp_path_factory.mktemp("bars")
    shares, rows = 1.0, []
    for n, close in enumerate(closes):
        shares *= splits.get(n, 1.0)
        rows.append(row(n, close / shares, split=splits.get(n, "")))
    bars = adjusted(folder, *rows)
    found = [bar.close for bar in bars]
    assert all(close is not None for close in found)
    for n in range(1, len(closes)):
        before, after = found[n - 1], found[n]
        assert before is not None
        assert after is not None
        assert after / before == pytest.approx(closes[n] / closes[n - 1], rel=1e-9)
    # The newest price is as traded.
    assert found[-1] == pytest.approx(closes[-1] / shares)


@pytest.mark.skipif(not (BARS / "AAPL.csv").exists(), reason="the real bars are not here")
def test_the_real_split_of_apple() -> None:
    start, end = day("2014-06-05"), day("2014-06-10")
    answer = CsvFiles(BARS).fetch(Request("AAPL", start, end, []))
    bars = {bar.date.isoformat(): bar for bar in answer.bars}
    assert bars["2014-06-06"].close == pytest.approx(645.57 / 7, rel=1e-12)
    assert bars["2014-06-06"].open == pytest.approx(650 / 7, rel=1e-12)
    assert bars["2014-06-06"].volume == 12116671 * 7
    assert bars["2014-06-09"].close == 93.7
    assert bars["2014-06-09"].has_split
    change = (bars["2014-06-09"].close or 0) / (bars["2014-06-06"].close or 1) - 1
    assert change == pytest.approx(93.7 * 7 / 645.57 - 1)


@pytest.mark.skipif(not BARS.is_dir(), reason="the real bars are not here")
@pytest.mark.parametrize("symbol", ["AAPL", "BAC", "IBM", "SPY", "BTC-USD"])
def test_the_real_files_are_read_whole(symbol: str) -> None:
    answer = CsvFiles(BARS).fetch(Request(symbol, day("1980-01-01"), day("2030-01-01"), []))
    lines = (BARS / f"{symbol}.csv").read_text().splitlines()[1:]
    assert answer.kind is Kind.OK
    assert len(answer.bars) + len(answer.rejected) == len(lines)
    assert len(answer.bars) > 0.99 * len(lines)
    report = validate(answer.bars, [bar.date for bar in answer.bars], actions=answer.actions)
    assert (report.grade, report.bars) == ("accepted", list(answer.bars))
