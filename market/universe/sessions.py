"""Sessions from `exchange_calendars` into `market_sessions`, from 1990 to a year ahead.

The database asks which calendars it lacks; this module computes them outside of any
transaction (a second of CPU, and pandas, imported only here) and merges them.
"""

import datetime as dt

from sql.database import Database, one
from sql.logs import logger

_BEGINNING = dt.date(1990, 1, 1)
# Reloaded when less than a year is ahead; a month more, so that this happens monthly.
_DAYS_AHEAD = 365
_SLACK_DAYS = 31


def ensure(database: Database) -> dict[str, int]:
    """Load or prolong every calendar in use; returns the rows changed per calendar."""
    with database.transaction() as conn:
        rows = conn.execute(
            "SELECT sessions_wanted(%s) AS name, reckoner_now() AS now", [_DAYS_AHEAD]
        )
        wanted = [(row["name"], row["now"].date()) for row in rows]
    return {name: load(database, name, today) for name, today in wanted}


def ensure_one(database: Database, name: str) -> None:
    """Load one calendar where it is missing."""
    with database.transaction() as conn:
        query = "SELECT EXISTS (SELECT FROM market_sessions WHERE calendar = %s) AS yes"
        is_there = one(conn, query, [name])["yes"]
    if not is_there:
        load(database, name)


def load(database: Database, name: str, today: dt.date | None = None) -> int:
    """Bring one calendar to what exchange_calendars knows; returns the rows changed.

    An unknown name loads nothing, is logged, and its outcomes say so.
    """
    if today is None:
        with database.transaction() as conn:
            row = one(conn, "SELECT reckoner_now() AS now")
            today = row["now"].date()
    sessions = _compute(name, today + dt.timedelta(days=_DAYS_AHEAD + _SLACK_DAYS))
    if not sessions:
        logger().warning(
            "calendar unknown",
            calendar=name,
            remedy="set ticker_registry.calendar to one that exchange_calendars has",
        )
        return 0
    with database.transaction() as conn:
        conn.execute(
            "CREATE TEMP TABLE session_staging (session date PRIMARY KEY, opens_at timestamptz NOT NULL,"
            " closes_at timestamptz NOT NULL) ON COMMIT DROP"
        )
        with conn.cursor().copy("COPY session_staging FROM STDIN") as copy:
            for session in sessions:
                copy.write_row(session)
        row = one(conn, "SELECT sessions_merge(%s) AS changed", [name])
    logger().info(
        "sessions loaded", calendar=name, changed=row["changed"], until=str(sessions[-1][0])
    )
    return int(row["changed"])


def _compute(name: str, until: dt.date) -> list[tuple[dt.date, dt.datetime, dt.datetime]]:
    import exchange_calendars  # noqa: PLC0415 - brings pandas; most processes never need it

    try:
        known = exchange_calendars.get_calendar(name)
    except exchange_calendars.errors.InvalidCalendarName:
        return []
    earliest, latest = known.bound_min(), known.bound_max()
    start = _BEGINNING if earliest is None else max(_BEGINNING, earliest.date())
    end = until if latest is None else min(until, latest.date())
    schedule = exchange_calendars.get_calendar(
        name, start=start.isoformat(), end=end.isoformat()
    ).schedule
    return [
        (session.date(), opens.to_pydatetime(), closes.to_pydatetime())
        for session, opens, closes in zip(
            schedule.index, schedule["open"], schedule["close"], strict=True
        )
    ]
