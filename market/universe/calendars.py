"""The sessions of one calendar, as a list: from exchange_calendars, or from a rule of our own.

`compute` may raise any error, because the library and pandas do; `sessions.py` turns it into the
calendar's state. Three things are computed here instead of taken from the library:

- the special sessions of calendars whose week changes (Bombay's Saturdays, Seoul's before 1998,
  Moscow's working weekends, Tel Aviv's Sundays): pandas 3.1 generates business days at once and no
  longer calls the library's own offset, which has those weeks;
- `24/5`, the day of currencies: it ends at 17:00 in New York, where the library's ends at midnight UTC;
- `CMES`, the day of futures: a settlement for each day that New York's exchange trades, at 17:00
  there. The library's closes an hour later and has sessions on holidays for which nothing settles.
"""

import datetime as dt
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any
from zoneinfo import ZoneInfo

Session = tuple[dt.date, dt.datetime, dt.datetime]  # date, opening and close, both in UTC

BEGINNING = dt.date(1990, 1, 1)
_NEW_YORK = ZoneInfo("America/New_York")
# The version of this module's own rules: a higher one computes every calendar again.
_OURS = 2


class UnknownCalendarError(LookupError):
    """No calendar has this name."""


@dataclass(frozen=True)
class Computed:
    """Sessions in ascending order. ends: the library has none after the last one."""

    sessions: list[Session]
    ends: bool = False
    timezone: str | None = None  # the exchange's


@cache
def library_version() -> str:
    """Name the versions that sessions depend on; a change computes all calendars again."""
    library, pandas = version("exchange_calendars"), version("pandas")
    return f"exchange_calendars {library}, pandas {pandas}, own {_OURS}"


def compute(name: str, until: dt.date) -> Computed:
    """Compute a calendar's sessions from 1990, or its own beginning, until a date.

    Takes about a second of CPU, and imports pandas. Raises UnknownCalendarError, and whatever
    the library raises for a calendar that it cannot compute.
    """
    import exchange_calendars  # noqa: PLC0415 - loads pandas; most processes never need it

    dispatcher = exchange_calendars.calendar_utils.global_calendar_dispatcher
    try:
        name = dispatcher.resolve_alias(name)
    except exchange_calendars.errors.InvalidCalendarName:
        raise UnknownCalendarError(name) from None
    own = _OWN.get(name)
    if own is not None:
        return Computed(list(own(until)), timezone=_OWN_ZONES[name])
    return _from_library(_factories()[name], until)


def _factories() -> Any:
    """Return the library's classes by name; get_calendar() would build one for its own dates."""
    import exchange_calendars  # noqa: PLC0415 - as above

    return exchange_calendars.calendar_utils._default_calendar_factories  # noqa: SLF001


def _from_library(known: Any, until: dt.date) -> Computed:
    import pandas as pd  # noqa: PLC0415 - as above

    _name_offsets()
    first, last = known.bound_min(), known.bound_max()
    start = max(pd.Timestamp(BEGINNING), first or pd.Timestamp.min)
    end = min(pd.Timestamp(until), last or pd.Timestamp.max)
    if hasattr(known, "special_weekmasks"):
        known = type(known.__name__, (known,), {"day": property(_each_day(start, end))})
    with warnings.catch_warnings():
        # Deprecations of pandas concern the library's authors; Hong Kong's calendar warns.
        warnings.simplefilter("ignore")
        calendar = known(start=start, end=end)
        schedule = calendar.schedule
    sessions = [
        (session.date(), opens.to_pydatetime(), closes.to_pydatetime())
        for session, opens, closes in zip(
            schedule.index, schedule["open"], schedule["close"], strict=True
        )
    ]
    ends = last is not None and last < pd.Timestamp(until)
    return Computed(sessions, ends=ends, timezone=_ZONES.get(calendar.name, str(calendar.tz)))


def _name_offsets() -> None:
    """Let pandas 3.1 find the rules for Easter and for Israel's holidays.

    It calls `_add_datetime` where earlier ones called `_apply`; without this Athens, Belgrade,
    Bucharest and Nicosia raise NotImplementedError.
    """
    from pandas.tseries.offsets import BaseOffset  # noqa: PLC0415

    modules = [sys.modules[name] for name in sys.modules if name.startswith("exchange_calendars.")]
    for module in modules:
        for kind in list(vars(module).values()):
            if isinstance(kind, type) and issubclass(kind, BaseOffset) and "_apply" in vars(kind):
                kind._add_datetime = kind._apply  # type: ignore[attr-defined]  # noqa: SLF001


def _each_day(start: Any, end: Any) -> Callable[[Any], Any]:
    """Make the business day of a calendar with special weeks: every day that is not closed."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    def day(calendar: Any) -> Any:
        days = np.arange(np.datetime64(start, "D"), np.datetime64(end, "D") + 1)
        is_open = np.is_busday(days, weekmask=calendar.weekmask)
        for first, last, weekmask in calendar.special_weekmasks:
            inside = (days >= np.datetime64(first or start, "D")) & (
                days <= np.datetime64(last or end, "D")
            )
            is_open = np.where(inside, np.is_busday(days, weekmask=weekmask), is_open)
        closed = [*pd.DatetimeIndex(days[~is_open]), *calendar.adhoc_holidays]
        if calendar.regular_holidays is not None:
            closed += list(calendar.regular_holidays.holidays(start, end))
        return pd.tseries.offsets.CustomBusinessDay(weekmask="1111111", holidays=closed)

    return day


def _at(date: dt.date, hour: int, minute: int = 0) -> dt.datetime:
    """Convert a time of day in New York to UTC."""
    local = dt.datetime.combine(date, dt.time(hour, minute), _NEW_YORK)
    return local.astimezone(dt.UTC)


def _currencies(until: dt.date) -> Iterator[Session]:
    """Yield each weekday, holidays too: from 17:00 of the day before to 17:00, New York."""
    for number in range((until - BEGINNING).days + 1):
        date = BEGINNING + dt.timedelta(days=number)
        if date.weekday() < 5:
            yield date, _at(date - dt.timedelta(days=1), 17), _at(date, 17)


def _futures(until: dt.date) -> Iterator[Session]:
    """Yield each day on which New York's exchange trades, from 18:00 of the day before to 17:00.

    On holidays futures trade for half a day and settle with the next one. On the days when shares
    close at 13:00 they end from 13:15 on: the earliest, because an entry must still be possible.
    """
    for date, _, closes in _from_library(_factories()["XNYS"], until).sessions:
        early = closes.astimezone(_NEW_YORK).hour < 16
        yield (
            date,
            _at(date - dt.timedelta(days=1), 18),
            _at(date, 13, 15) if early else _at(date, 17),
        )


_OWN: dict[str, Callable[[dt.date], Iterator[Session]]] = {"24/5": _currencies, "CMES": _futures}
# The library computes Bogota's sessions, which follow New York's clock, in New York's time zone.
_ZONES = {"XBOG": "America/Bogota"}
# Currencies have no exchange: providers name London or New York.
_OWN_ZONES = {"24/5": None, "CMES": "America/New_York"}
