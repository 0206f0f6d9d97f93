"""When triggers are due. Cron lines are compared with the library cronsim, across changes of clocks."""

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.clock import utc
from tests.support.db import Conn, shared_database, value

ZONES = [
    "UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo",
    "Asia/Kolkata", "Pacific/Apia", "America/St_Johns", "Africa/Casablanca",
]  # fmt: skip


@pytest.fixture(scope="module")
def shared(server_url: str, template: str) -> Iterator[Conn]:
    with shared_database(server_url, template) as conn:
        yield conn


def expected(line: str, zone: str, after: dt.datetime) -> dt.datetime | None:
    """What cronsim says; a time that it gives twice is one tick."""
    ticks = CronSim(line, after.astimezone(ZoneInfo(zone)))
    # Several lines' times in one skip come at once, and a time before the last one after a step back.
    return next((tick for each in ticks if (tick := each.astimezone(dt.UTC)) > after), None)


def field(least: int, most: int, *others: str) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    term = st.one_of(
        number.map(str),
        st.tuples(number, number).map(lambda two: f"{min(two)}-{max(two)}"),
        # Not a range of one number: cronsim takes 5-5/2 for 5/2.
        st.tuples(st.integers(least, most - 1), st.integers(1, 20)).map(
            lambda two: f"{two[0]}-{most}/{two[1]}"
        ),
        *([st.sampled_from(others)] if others else []),
    )
    return st.one_of(
        st.just("*"),
        st.integers(1, 30).map(lambda step: f"*/{step}"),
        st.lists(term, min_size=1, max_size=3).map(",".join),
    )


LINES = st.tuples(
    field(0, 59), field(0, 23), field(1, 31, "L", "LW"),
    field(1, 12, "JAN", "MAR-OCT"), field(0, 7, "MON", "MON-FRI", "5L", "5#2", "0#1", "7"),
).map(" ".join)  # fmt: skip


@given(
    line=LINES,
    zone=st.sampled_from(ZONES),
    after=st.integers(631152000, 2114380800).map(lambda at: dt.datetime.fromtimestamp(at, dt.UTC)),
)
@example("30 1 * * *", "Europe/Berlin", utc("2026-10-25 00:29"))
@example("30 1 * * *", "America/New_York", utc("2026-11-01 05:30"))
@example("30 2 * * *", "America/New_York", utc("2026-03-08 06:00"))
@example("*/30 * * * *", "Australia/Lord_Howe", utc("2026-04-04 14:00"))
@example("0 0 29 2 *", "UTC", utc("2026-01-01 00:00"))
@example("0 0 29 2 MON", "UTC", utc("2026-01-01 00:00"))
@example("0 0 * * *", "America/Sao_Paulo", utc("2017-10-14 12:00"))
@example("0 12 30 12 *", "Pacific/Apia", utc("2011-12-01 00:00"))
def test_a_cron_line_is_due_when_cronsim_says(
    shared: Conn, line: str, zone: str, after: dt.datetime
) -> None:
    try:
        want = expected(line, zone, after)
    except (CronSimError, RuntimeError):
        want = None
    assert value(shared, "SELECT cron_next(%s, %s, %s)", [line, zone, after]) == want
