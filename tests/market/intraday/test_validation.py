"""Which five-minute bars are stored: final ones of sessions, with fields that can be."""

import datetime as dt
import math
from collections.abc import Sequence

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from market.prices.intraday.validation import answered_to, final_starts, validate
from market.prices.report import Report
from market.providers.base import IntradayBar, IntradayRequest, Session
from tests.support.clock import utc
from tests.support.intraday import FIVE, five, starts

FULL = Session(dt.date(2026, 11, 25), utc("2026-11-25 14:30"), utc("2026-11-25 21:00"))
HALF = Session(dt.date(2026, 11, 27), utc("2026-11-27 14:30"), utc("2026-11-27 18:00"))
COIN = Session(dt.date(2026, 11, 26), utc("2026-11-26"), utc("2026-11-27"))
LATER = utc("2026-11-30")


def request(
    *sessions: Session, now: dt.datetime = LATER, since: dt.datetime | None = None
) -> IntradayRequest:
    return IntradayRequest("SPY", sessions, since or sessions[0].opens_at, now)


def graded(
    bars: Sequence[IntradayBar],
    *sessions: Session,
    now: dt.datetime = LATER,
    settle: int = 60,
    last_close: float | None = None,
) -> Report:
    return validate(bars, request(*sessions, now=now), settle, last_close=last_close)


@pytest.mark.parametrize(("session", "count"), [(FULL, 78), (HALF, 42), (COIN, 288)])
def test_a_session_has_so_many_bars(session: Session, count: int) -> None:
    report = graded([five(ts) for ts in starts(session)], session)
    assert len(report.intraday) == report.expected == count
    assert (report.missing, report.grade, report.score) == (0, "accepted", 1.0)


def test_bars_before_the_opening_after_the_close_and_at_it_are_cut() -> None:
    day = [utc("2026-11-27 09:00") + n * FIVE for n in range(180)]  # extended hours
    report = graded([five(ts) for ts in day], HALF)
    assert [bar.ts for bar in report.intraday] == starts(HALF)
    assert report.grade == "accepted"
    assert report.notes == ["138 bars outside of the session were cut"]
    report = graded([five(ts) for ts in [*starts(FULL), FULL.closes_at]], FULL)  # as Yahoo has it
    assert [bar.ts for bar in report.intraday] == starts(FULL)


@pytest.mark.parametrize(
    ("now", "settle", "count"),
    [
        ("2026-11-25 14:34:59", 0, 0),
        ("2026-11-25 14:35", 0, 1),
        ("2026-11-25 14:35:59", 60, 0),
        ("2026-11-25 14:36", 60, 1),
        ("2026-11-25 21:00", 60, 77),
        ("2026-11-25 21:01", 60, 78),
        ("2026-11-25 21:01", 900, 75),
    ],
)
def test_a_bar_is_final_when_its_end_and_the_settle_time_are_past(
    now: str, settle: int, count: int
) -> None:
    report = graded([five(ts) for ts in starts(FULL)], FULL, now=utc(now), settle=settle)
    assert len(report.intraday) == report.expected == count
    assert report.rejected == []


def test_what_was_had_before_is_left() -> None:
    wanted = request(FULL, since=FULL.opens_at + 70 * FIVE)
    report = validate([five(ts) for ts in starts(FULL)], wanted, 60)
    assert [bar.ts for bar in report.intraday] == starts(FULL)[70:]
    assert report.missing == 0


def test_a_bar_between_two_is_rejected_and_one_without_prices_is_a_hole() -> None:
    bars = [five(ts) for ts in starts(FULL)]
    bars[5] = bars[5]._replace(ts=bars[5].ts + dt.timedelta(minutes=2))
    bars[6] = IntradayBar(bars[6].ts, None, None, None, None, None)
    report = graded(bars, FULL)
    assert report.rejected == ["2026-11-25 14:57: not at five minutes after the opening"]
    assert report.notes == ["2026-11-25 14:55: no bar; 2 of 78 are missing"]
    assert report.grade == "flagged"


@pytest.mark.parametrize(
    ("fields", "left", "rejected"),
    [
        ({"close": math.nan}, None, 1),
        ({"close": 0.0}, None, 1),
        ({"close": -1.0}, None, 1),
        ({"close": None}, None, 1),
        ({"close": math.inf}, None, 1),
        ({"close": 300.0}, None, 1),  # far outside of its high and low
        ({"open": math.nan}, {"open": None}, 0),
        ({"high": 90.0}, {"high": None, "low": None}, 0),
        ({"volume": -1}, {"volume": None}, 0),
        ({"volume": None}, {}, 0),
        ({"open": None, "high": None, "low": None}, {}, 0),
    ],
)
def test_a_field_that_cannot_be_is_left_out_and_a_close_that_cannot_rejects_the_bar(
    fields: dict[str, float | None], left: dict[str, None] | None, rejected: int
) -> None:
    bars = [five(ts) for ts in starts(FULL)]
    bars[3] = bars[3]._replace(**fields)  # type: ignore[arg-type]
    report = graded(bars, FULL)
    assert len(report.rejected) == rejected
    if left is not None:
        assert report.intraday[3] == bars[3]._replace(**left)  # type: ignore[arg-type]
    else:
        assert starts(FULL)[3] not in {bar.ts for bar in report.intraday}


def test_of_two_with_one_start_the_later_one_counts() -> None:
    bars = [five(ts) for ts in starts(FULL)]
    report = graded([*bars, bars[-1], bars[7]._replace(close=100.01)], FULL)
    assert report.intraday[7].close == 100.01
    assert report.flags == ["2026-11-25 15:05: given twice, the later one counts"]


@pytest.mark.parametrize(
    ("factor", "grade"),
    [(1.0, "accepted"), (1.3, "flagged"), (100.0, "refused"), (0.01, "refused")],
)
def test_another_unit_than_the_daily_bars_is_refused(factor: float, grade: str) -> None:
    report = graded([five(ts, 100 * factor) for ts in starts(FULL)], FULL, last_close=100.0)
    assert report.grade == grade


def test_another_form_of_instrument_is_refused() -> None:
    report = validate([five(ts) for ts in starts(FULL)], request(FULL), 0, fault_of_all="a coin")
    assert (report.grade, report.reason.split(": ")[-1]) == ("refused", "a coin")


def test_until_when_a_provider_answered() -> None:
    now = utc("2026-11-25 15:00:30")
    wanted = request(FULL, now=now)
    all_final = [five(ts) for ts in final_starts(wanted, 0)]
    assert len(all_final) == 6
    assert answered_to(wanted, all_final, 0) == (utc("2026-11-25 15:00"), False)
    # A provider that is late, and one that has nothing yet.
    assert answered_to(wanted, all_final[:4], 0) == (utc("2026-11-25 14:50"), True)
    assert answered_to(wanted, [], 0) == (None, True)
    # A hole before the newest bar stays one.
    assert answered_to(wanted, [all_final[-1]], 0) == (utc("2026-11-25 15:00"), False)
    assert answered_to(request(FULL, now=FULL.opens_at), [], 0) == (None, False)


SOME = st.lists(st.sampled_from([FULL, HALF, COIN]), min_size=1, unique=True).map(
    lambda found: sorted(found, key=lambda each: each.opens_at)
)


@for_all(
    SOME,
    st.integers(0, 7 * 24 * 60),
    st.integers(0, 1200),
    st.lists(st.integers(-2000, 2000), max_size=300),
)
def test_only_final_bars_of_the_sessions_are_ever_taken(
    sessions: list[Session], minutes: int, settle: int, places: list[int]
) -> None:
    """The oracle asks each bar alone, whatever else came with it, in any order."""
    now = FULL.opens_at + dt.timedelta(minutes=minutes)
    bars = [five(FULL.opens_at + n * FIVE) for n in places]
    report = graded(bars, *sessions, now=now, settle=settle)
    oracle = {
        bar.ts
        for bar in bars
        if any(each.opens_at <= bar.ts < each.closes_at for each in sessions)
        and bar.ts >= sessions[0].opens_at
        and bar.ts + FIVE + dt.timedelta(seconds=settle) <= now
    }
    assert [bar.ts for bar in report.intraday] == sorted(oracle)
    expected = set(final_starts(request(*sessions, now=now), settle))
    assert oracle <= expected
    assert expected <= {ts for each in sessions for ts in starts(each)}
