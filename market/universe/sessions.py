"""Loading sessions into `market_sessions`, from 1990 to a year ahead, and the state of each calendar.

SQL decides which calendars are wanted; `calendars.py` computes them outside of any transaction, and
one statement merges them together with the outcomes that they move. A calendar that cannot be
computed gets a row in `market_calendars` with the reason and the time of the next try; the others
are loaded all the same.
"""

import datetime as dt

import psycopg

from market.universe import calendars
from market.universe.calendars import Computed, UnknownCalendarError
from sql.away import is_away
from sql.database import Database, error_line, one
from sql.logs import logger

# A calendar is loaded again when less than a year is ahead; the extra month makes that monthly.
_DAYS_AHEAD = 365
_SLACK_DAYS = 31
# A deadline of minutes, because a merge recomputes the outcomes that it moves.
_SECONDS = 300


def ensure(database: Database) -> dict[str, int]:
    """Load or extend every calendar in use; returns the changed rows of each."""
    with database.transaction() as conn:
        rows = conn.execute(
            "SELECT sessions_wanted(%s, %s) AS name, reckoner_now() AS now",
            [_DAYS_AHEAD, calendars.library_version()],
        )
        wanted = [(row["name"], row["now"].date()) for row in rows]
    return {name: load(database, name, today) for name, today in wanted}


def ensure_common(database: Database) -> None:
    """Load the calendars that nearly every prediction needs, where they are missing.

    A starting worker waits for these only; the sweep, a prediction or a plan load the others.
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
    """Compute and store one calendar; returns the changed rows.

    A calendar that cannot be computed or stored is logged and recorded in `market_calendars`, and
    its sessions stay as they are. Raises psycopg.Error only when the database is away.
    """
    if today is None:
        with database.transaction() as conn:
            today = one(conn, "SELECT reckoner_now() AS now")["now"].date()
    try:
        computed = calendars.compute(name, today + dt.timedelta(days=_DAYS_AHEAD + _SLACK_DAYS))
        if not computed.sessions:
            raise ValueError("it has no sessions")  # noqa: TRY301 - treated as an error of the library
    except UnknownCalendarError:
        return _failed(database, name, "unknown", f"no calendar is called {name}")
    except Exception as error:  # noqa: BLE001 - no fault of one calendar may stop the others
        return _failed(database, name, "failed", f"{type(error).__name__}: {error}")
    try:
        changed = _merge(database, name, computed)
    except psycopg.Error as error:
        if is_away(database, error):
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
