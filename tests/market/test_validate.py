"""The validator: nothing that cannot be a price passes, and nothing that can is lost."""

import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.prices.report import LEAST_SCORE, Known
from market.prices.units import in_stored_unit
from market.prices.validation import validate
from market.providers import Action, Answer, Bar, Kind
from tests.support.clock import day

SESSIONS = [day("2024-03-04") + dt.timedelta(days=n) for n in range(12)]
# A machine that stands still for a second says nothing of an example.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
UNITS = [1.0, 100.0, 0.01, 1000.0, 0.001]
EXTREME = [0.0, -0.0, -1.0, 1e-320, 1e308, math.nan, math.inf, -math.inf]

any_price = st.one_of(
    st.none(), st.sampled_from(EXTREME), st.floats(), st.floats(90, 110), st.just(100.0)
)
any_date = st.one_of(
    st.sampled_from(SESSIONS), st.dates(SESSIONS[0] - dt.timedelta(9), SESSIONS[-1])
)
any_bar = st.builds(
    Bar,
    date=any_date,
    open=any_price,
    high=any_price,
    low=any_price,
    close=any_price,
    adjusted_close=any_price,
    volume=st.one_of(st.none(), st.integers(), st.integers(0, 2**40)),
)


@st.composite
def good_bars(draw: st.DrawFn) -> list[Bar]:
    """Bars as an honest provider gives them, one per session, in any order."""
    bars = []
    level = draw(st.floats(0.0001, 1e6))
    for date in draw(st.permutations(SESSIONS)):
        low = level * draw(st.floats(0.2, 5))
        high = low * draw(st.floats(1, 3))
        opens, closes = draw(st.floats(0, 1)), draw(st.floats(0, 1))
        bars.append(
            Bar(
                date,
                min(high, low + (high - low) * opens),
                high,
                low,
                min(high, low + (high - low) * closes),
                draw(st.one_of(st.none(), st.floats(0.0001, 1e6))),
                draw(st.one_of(st.none(), st.integers(0, 2**62))),
                draw(st.booleans()),
                draw(st.booleans()),
            )
        )
    return bars


@unhurried
@given(bars=st.lists(any_bar, max_size=30))
def test_nothing_that_cannot_be_a_price_passes(bars: list[Bar]) -> None:
    # Every second of the dates is a session.
    sessions = SESSIONS[::2]
    found = validate(bars, sessions)

    dates = [bar.date for bar in found.bars]
    assert dates == sorted(set(dates))
    assert set(dates) <= set(sessions)
    for bar in found.bars:
        assert bar.close is not None
        for price in (bar.open, bar.high, bar.low, bar.close, bar.adjusted_close):
            assert price is None or (math.isfinite(price) and price > 0)
        if bar.high is not None and bar.low is not None:
            assert bar.high >= bar.low
        assert bar.volume is None or 0 <= bar.volume < 2**63
    # A kept close is one of its day's, or a whole unit of it.
    for kept in found.bars:
        ratios = [
            (kept.close or 0) / row.close for row in bars if row.date == kept.date and row.close
        ]
        assert any(abs(ratio / unit - 1) < 1e-9 for ratio in ratios for unit in UNITS)


@unhurried
@given(bars=st.lists(any_bar, max_size=30))
def test_each_rejected_bar_has_one_reason_and_the_rest_is_there(bars: list[Bar]) -> None:
    found = validate(bars, SESSIONS)
    assert all(reason.split(": ", 1)[1] for reason in found.rejected)
    kept = len(bars) - len(found.rejected)
    # What is neither rejected nor there was replaced by a later bar of its date.
    assert len(found.bars) <= kept
    assert found.bars or found.rejected or not bars
    assert set(found.left_out) <= {bar.date for bar in bars}


@unhurried
@given(
    bars=st.lists(any_bar, max_size=30),
    stored=st.dictionaries(st.sampled_from(SESSIONS), st.floats(1e-6, 1e6)),
    actions=st.lists(
        st.builds(
            Action,
            date=st.sampled_from(SESSIONS),
            kind=st.sampled_from(["split", "dividend"]),
            value=st.floats(1e-3, 1e3),
        )
    ),
)
def test_whatever_comes_has_a_score_and_a_verdict(
    bars: list[Bar], stored: dict[dt.date, float], actions: list[Action]
) -> None:
    half = len(actions) // 2
    known = Known(SESSIONS[-1], stored, actions[:half])
    found = validate(bars, SESSIONS[:-2], actions=actions[half:], known=known)
    assert all(0 <= part <= 1 for part in found.parts.values())
    assert 0 <= found.score <= 1
    assert (found.grade == "refused") == (found.score < LEAST_SCORE)
    assert found.reason
    assert len(found.bars) + len(found.rejected) == found.given


@unhurried
@given(
    bars=st.lists(any_bar, max_size=20),
    stored=st.dictionaries(st.sampled_from(SESSIONS), st.floats(1e-6, 1e6)),
    currencies=st.tuples(*[st.sampled_from(["GBp", "GBP", "ILA", "USD", "", None])] * 2),
)
def test_a_told_unit_breaks_on_no_answer(
    bars: list[Bar], stored: dict[dt.date, float], currencies: tuple[str | None, str | None]
) -> None:
    known = Known(SESSIONS[-1], stored, currency=currencies[0])
    answer = Answer(Kind.OK, bars, currency=currencies[1])
    found = in_stored_unit(answer, known)
    assert [bar.date for bar in found.bars] == [bar.date for bar in bars]
    assert 0 <= validate(found.bars, SESSIONS, known=known).score <= 1


@pytest.mark.parametrize(
    ("closes", "kept"),
    [
        ([100.0, 101.0, 10200.0, 103.0, 104.0], [100.0, 101.0, 102.0, 103.0, 104.0]),
        ([100.0, 101.0, 1.02, 103.0, 104.0], [100.0, 101.0, 102.0, 103.0, 104.0]),
        ([100.0, 101.0, 12200.0, 103.0, 104.0], [100.0, 101.0, 103.0, 104.0]),  # no whole unit
        ([100.0, 101.0, 102.0, 103.0, 10400.0], [100.0, 101.0, 102.0, 103.0]),  # tomorrow tells
        ([10000.0, 101.0, 102.0, 103.0, 104.0], [101.0, 102.0, 103.0, 104.0]),
        ([1.0, 1.01, 102.0, 103.0, 104.0], [1.0, 1.01, 1.02, 1.03, 1.04]),  # a step that lasts
        ([100.0, 101.0, 5000.0, 103.0, 104.0], [100.0, 101.0, 5000.0, 103.0, 104.0]),
    ],
)
def test_a_price_in_pence_among_pounds_is_mended_or_rejected(
    closes: list[float], kept: list[float]
) -> None:
    dates = SESSIONS[: len(closes)]
    found = validate(
        [Bar(date, close, close, close, close) for date, close in zip(dates, closes, strict=True)],
        dates,
    )
    assert [bar.close for bar in found.bars] == pytest.approx(kept)
    assert len(found.rejected) == len(closes) - len(kept)


@pytest.mark.parametrize("lasts", [2, 5])
def test_the_stored_level_is_before_all_of_an_answer(lasts: int) -> None:
    """The answer begins in pounds, and ends in the pence that are stored."""
    closes = [5.0] * (8 - lasts) + [505.0] * lasts
    given = [
        Bar(date, None, None, None, close) for date, close in zip(SESSIONS, closes, strict=False)
    ]
    known = Known(SESSIONS[7], {SESSIONS[0]: 500.0, SESSIONS[1]: 500.0}, last_bar=SESSIONS[1])
    found = validate(given, SESSIONS[:8], known=known)
    assert [bar.close for bar in found.bars] == pytest.approx(
        [500.0] * (8 - lasts) + [505.0] * lasts
    )
    assert not found.has_new_basis


# Terra's coin in May 2022: each day's own prices reach from one level to the next.
TERRA = [(64.1, 31.0), (31.0, 1.08), (1.08, 0.0041), (0.0041, 0.00005), (0.00005, 0.00025)]


def test_a_fall_to_a_hundredth_that_was_traded_is_no_unit() -> None:
    given = [
        Bar(date, opens, max(opens, close), min(opens, close), close)
        for date, (opens, close) in zip(SESSIONS, TERRA, strict=False)
    ]
    found = validate(given, SESSIONS[: len(TERRA)])
    assert (found.bars, found.rejected) == (given, [])


@unhurried
@given(bars=good_bars())
def test_good_bars_all_pass_untouched(bars: list[Bar]) -> None:
    found = validate(bars, SESSIONS)
    assert found.rejected == []
    assert found.bars == sorted(bars, key=lambda bar: bar.date)


def bar(**changes: Any) -> Bar:
    plain = Bar(SESSIONS[0], 100.0, 101.0, 99.0, 100.0, 100.0, 1000)
    return plain._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"date": day("2024-03-03")}, "session"),
        ({"date": day("2199-01-01")}, "session"),
        ({"close": None}, "no close"),
        ({"close": 0.0}, "positive"),
        ({"close": -1.0}, "positive"),
        ({"close": math.nan}, "positive"),
        ({"close": 130.0}, "outside"),
        ({"close": 70.0}, "outside"),
    ],
)
def test_the_reason_names_the_date_and_the_fault(changes: dict[str, Any], reason: str) -> None:
    wrong = bar(**changes)
    found = validate([wrong], SESSIONS)
    assert found.bars == []
    assert len(found.rejected) == 1
    assert found.rejected[0].startswith(f"{wrong.date}: ")
    assert reason in found.rejected[0]


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({"open": math.inf}, "open"),
        ({"open": 0.0}, "open"),
        ({"open": math.nan}, "open"),
        ({"high": 0.0}, "high"),
        ({"low": 0.0}, "low"),
        ({"low": -1.0, "high": math.nan}, "high, low"),
        ({"adjusted_close": math.nan}, "adjusted_close"),
        ({"adjusted_close": -4331.0}, "adjusted_close"),
        ({"adjusted_close": -math.inf}, "adjusted_close"),
        ({"high": 98.0, "open": None, "close": 98.5}, "high, low"),
        ({"close": 110.0}, "high"),  # an auction's close, outside what was traded
        ({"close": 95.0}, "low"),
        ({"open": 90.0}, "open"),
        ({"open": 110.0}, "open"),
        ({"open": 120.0, "close": 110.0}, "high"),  # nothing says that this open cannot be
        ({"volume": -1}, "volume"),
        ({"volume": 2**63, "open": 90.0}, "open, volume"),
    ],
)
def test_a_field_that_cannot_be_is_left_out_and_the_close_is_used(
    changes: dict[str, Any], left_out: str
) -> None:
    given = bar(**changes)
    found = validate([given], SESSIONS[:1])
    names = left_out.split(", ")
    assert found.bars == [given._replace(**dict.fromkeys(names))]  # type: ignore[arg-type]
    assert sorted(found.left_out[given.date].split(", ")) == sorted(names)
    assert found.rejected == []
    assert found.score == 1.0
    (note,) = found.notes
    assert note.startswith(f"{given.date}: ")
    assert all(name in note for name in names)


def test_a_batch_is_not_refused_for_the_number_of_fields_left_out() -> None:
    found = validate([bar(date=date, open=90.0, high=0.0) for date in SESSIONS], SESSIONS)
    assert (found.grade, found.score, len(found.bars)) == ("accepted", 1.0, len(SESSIONS))
    assert len(found.notes) == len(SESSIONS)


def test_a_row_without_prices_is_a_hole() -> None:
    days = [SESSIONS[0] + dt.timedelta(days=n) for n in range(100)]
    given = [bar(date=date) for date in days]
    given[50] = Bar(days[50], None, math.nan, None, None, None, 0)
    found = validate(given, days)
    assert (found.grade, found.missing, len(found.bars)) == ("accepted", 1, 99)
    assert found.notes[0] == f"{days[50]}: a row without prices"


@pytest.mark.parametrize(
    ("changes", "volume"),
    [
        ({"volume": -1}, None),
        ({"volume": 2**63}, None),
        ({"volume": 0}, 0),
        ({"volume": None}, None),
    ],
)
def test_a_volume_that_cannot_be_one_is_unknown_and_costs_no_bar(
    changes: dict[str, Any], volume: int | None
) -> None:
    found = validate([bar(**changes)], SESSIONS)
    assert [kept.volume for kept in found.bars] == [volume]


def test_a_close_rounded_past_the_high_is_rounding() -> None:
    assert len(validate([bar(close=101.05)], SESSIONS).bars) == 1


def test_of_two_bars_of_the_last_session_the_later_counts() -> None:
    last = SESSIONS[-1]
    found = validate([bar(date=last, close=100.0), bar(date=last, close=100.5)], SESSIONS)
    assert [kept.close for kept in found.bars] == [100.5]


def test_two_bars_of_an_older_session_that_do_not_agree_are_none() -> None:
    old = SESSIONS[0]
    disputed = [bar(date=old, close=close) for close in (100.0, 100.5, 100.0)]
    found = validate([*disputed, bar(date=SESSIONS[1])], SESSIONS)
    assert [kept.date for kept in found.bars] == [SESSIONS[1]]
    assert found.rejected == [f"{old}: given twice, with closes of 100.0 and 100.5"]
    rounded = [bar(date=old, close=100.0), bar(date=old, close=100.01)]
    assert [kept.close for kept in validate(rounded, SESSIONS).bars] == [100.01]


def test_a_broken_later_bar_does_not_take_a_good_one_along() -> None:
    found = validate([bar(close=100.0), bar(close=None)], SESSIONS)
    assert [kept.close for kept in found.bars] == [100.0]
    assert len(found.rejected) == 1
