"""The plan of a fetch of five-minute bars: the sessions that a symbol lacks. Read-only."""

import datetime as dt
from dataclasses import dataclass

from market.providers.base import IntradayRequest, Session
from sql.database import Connection


@dataclass(frozen=True)
class IntradayPlan:
    """The needs of one symbol. request: None when nothing is missing.

    last_close: of the newest daily bar before the sessions; None: unknown. settled: the calendar's last
    settled session. is_poll: what became final since the last answer is wanted.
    """

    symbol: str
    calendar: str
    asset_type: str
    request: IntradayRequest | None
    last_close: float | None = None
    settled: dt.date | None = None
    is_poll: bool = False


def plan(
    conn: Connection,
    symbol: str,
    sessions: int | None,
    *,
    keep_days: int,
    refetch: bool = False,
) -> IntradayPlan | None:
    """Plan what this symbol lacks; returns None when it is not registered.

    sessions: how many of the newest; None: what became final since the last answer. keep_days:
    older sessions are not fetched, because retention drops their bars. refetch: also those for
    which a provider answered.
    """
    row = conn.execute(
        "SELECT * FROM intraday_plan(%s, %s, %s, %s)", [symbol, sessions, refetch, keep_days]
    ).fetchone()
    if row is None:
        return None
    request = None
    if row["dates"]:
        hours = zip(row["dates"], row["opens_at"], row["closes_at"], strict=True)
        wanted = [Session(day, _utc(opens), _utc(closes)) for day, opens, closes in hours]
        request = IntradayRequest(
            row["provider_symbol"], wanted, _utc(row["since"]), _utc(row["now"])
        )
    return IntradayPlan(
        symbol,
        row["calendar"],
        row["asset_type"],
        request,
        last_close=row["last_close"],
        settled=row["settled"],
        is_poll=sessions is None,
    )


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC)
