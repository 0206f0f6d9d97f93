"""Sessions into `market_sessions`, from 1990 to a year ahead, and what became of each calendar.

The database asks which calendars it lacks; `calendars.py` computes them outside of any
transaction, and one statement merges them together with the outcomes that they move. A calendar
that cannot be computed gets a row in `market_calendars` with the reason and the time of the next
try, and stops nobody else.
"""

import datetime as dt

import psycopg

from market.universe import calendars
from market.universe.calendars import Computed, UnknownCalendarError
from sql.database import Database, error_line, is_away, one
from sql.logs import logger

# Reloaded when less than a year is ahead; a month more, so that this happens monthly.
_DAYS_AHEAD = 365
_SLACK_DAYS = 31
# A merge recomputes the outcomes that it moves.
_SECONDS = 300


def ensure(database: Database) -> dict[str, int]:
    """Load or prolong every calendar in use; returns the rows changed per calendar."""
    with database.transaction() as conn:
        rows = conn.execute(
            "SELECT sessions_wanted(%s, %s) AS name, reckoner_now() AS now",
            [_DAYS_AHEAD, calendars.library_version()],
        )
        wanted = [(row["name"], row["now"].date()) for row in rows]
    return {name: load(database, name, today) for name, today in wanted}


def ensure_common(database: Database) -> None:
    """Load the calendars that nearly every prediction needs, where they are missing.

    A worker that starts waits for no others: the sweep and who needs one load them.
    """
    for name in ("XNYS", "24/7"):
        ensure_one(database, name)


def ensure_one(database: Database, name: str) -> None:
    """Load one calendar where it is missing and its next try is due."""
    with database.transaction() as conn:
        query = "SELECT calendar_is_due(%s, %s) AS yes"
        is_due = one(conn, query, [name, calendars.library_version()])["yes"]
    if is_due:
        load(database, name)


def load(database: Database, name: str, today: dt.date | None = None) -> int:
    """Bring one calendar to what is known of it; returns the rows changed.

    What cannot be computed or stored changes nothing, is logged and noted in `market_calendars`.
    Raises psycopg.Error only when the database is away.
    """
    if today is None:
        with database.transaction() as conn:
            today = one(conn, "SELECT reckoner_now() AS now")["now"].date()
    try:
        computed = calendars.compute(name, today + dt.timedelta(days=_DAYS_AHEAD + _SLACK_DAYS))
        if not computed.sessions:
            raise ValueError("it has no sessions")  # noqa: TRY301 - as whatever the library raises
    except UnknownCalendarError:
        return _failed(database, name, "unknown", f"no calendar is called {name}")
    except Exception as error:  # noqa: BLE001 - one calendar's fault, whatever it is, stops no other
        return _failed(database, name, "failed", f"{type(error).__name__}: {error}")
    try:
        changed = _merge(database, name, computed)
    except psycopg.Error as error:
        if is_away(error):
            raise
        return _failed(database, name, "failed", error_line(error))
    logger().info(
        "sessions loaded", calendar=name, changed=changed, until=str(computed.sessions[-1][0])
    )
    return changed


def _merge(database: Database, name: str, computed: Computed) -> int:
    dates, opens, closes = (list(column) for column in zip(*computed.sessions, strict=True))
    with database.transaction(seconds=_SECONDS) as conn:
        row = one(
            conn,
            "SELECT sessions_merge(p_calendar => %s, p_sessions => %s::date[], p_opens => %s::timestamptz[],"
            " p_closes => %s::timestamptz[], p_version => %s, p_ends => %s) AS changed",
            [name, dates, opens, closes, calendars.library_version(), computed.ends],
        )
    return int(row["changed"])


def _failed(database: Database, name: str, state: str, reason: str) -> int:
    with database.transaction() as conn:
        row = one(
            conn,
            "SELECT * FROM calendar_failed(%s, %s, %s, %s)",
            [name, state, reason, calendars.library_version()],
        )
    logger().warning(
        "calendar not loaded",
        calendar=name,
        reason=row["reason"],
        again_at=row["retry_at"].isoformat(),
    )
    return 0
