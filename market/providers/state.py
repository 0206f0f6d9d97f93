"""What all workers share about a provider: its pace, its pauses, its failures; rows, not memory."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace

from market.providers.base import Answer, Kind, Provider, Request
from sql.database import Connection, Database, one
from sql.settings import one_line

# 429s come in bursts for every symbol at once; asking on makes them last.
_THROTTLE_SECONDS = 300.0
# A wrong key or plan mends itself only when an operator acts.
_PLAN_SECONDS = 3600.0


@dataclass(frozen=True)
class Paused:
    """The provider is not to be asked before `until` (the database's clock).

    answer: the one that paused it; None when it was paused already and not asked.
    """

    until: dt.datetime
    reason: str
    answer: Answer | None = None


def ask(
    database: Database, provider: Provider, request: Request, wait: Callable[[float], None]
) -> Answer | Paused:
    """Ask a provider when its pace and its pauses allow, and note what the answer says of it.

    wait: called with seconds until the reserved place in the provider's queue; may raise.
    No transaction is open while the provider is asked. Raises psycopg.Error.
    """
    with database.transaction() as conn:
        admission = one(conn, "SELECT * FROM provider_admit(%s)", [provider.name])
    if admission["paused_until"] is None and admission["wait_seconds"] > 0:
        wait(admission["wait_seconds"])
        # Another request may have met a 429 while this one waited for its place.
        with database.transaction() as conn:
            admission = one(conn, "SELECT * FROM provider_paused(%s)", [provider.name])
    if admission["paused_until"] is not None:
        return Paused(
            admission["paused_until"], f"{provider.name} is paused: {admission['reason']}"
        )
    answer = provider.fetch(request)
    # Words of strangers: some echo the key, and they go into rows, logs and errors.
    answer = replace(
        answer,
        message=one_line(answer.message),
        rejected=tuple(one_line(line) for line in answer.rejected),
    )
    with database.transaction() as conn:
        return _note(conn, provider.name, request.symbol, answer)


def is_trusted(
    database: Database, provider: Provider, request: Request, wait: Callable[[float], None]
) -> bool | Paused:
    """Whether the provider lately knew a symbol, so that its 'unknown' speaks of this one.

    A local provider is always trusted; a remote one that answered nothing in the last ten
    minutes is asked for its canary, and Paused when it cannot be asked now.
    """
    if provider.canary is None:
        return True
    with database.transaction() as conn:
        row = conn.execute(
            "SELECT last_ok_at > reckoner_now() - interval '10 minutes' AS lately"
            " FROM reckoner_providers WHERE name = %s",
            [provider.name],
        ).fetchone()
    if row and row["lately"]:
        return True
    if request.symbol == provider.canary:
        return False
    canary = Request(provider.canary, request.start, request.end, request.sessions)
    answer = ask(database, provider, canary, wait)
    return answer if isinstance(answer, Paused) else answer.kind is Kind.OK


def _note(conn: Connection, name: str, symbol: str, answer: Answer) -> Answer | Paused:
    message = f"{answer.kind}: {answer.message}"
    match answer.kind:
        case Kind.OK | Kind.EMPTY | Kind.UNKNOWN:
            knew = answer.kind is Kind.OK
            conn.execute("SELECT provider_answered(%s, %s)", [name, knew])
        case Kind.THROTTLED | Kind.PLAN:
            seconds = _PLAN_SECONDS if answer.kind is Kind.PLAN else _THROTTLE_SECONDS
            row = one(
                conn,
                "SELECT provider_pause(%s, %s, %s) AS until",
                [name, answer.retry_after or seconds, message],
            )
            return Paused(row["until"], f"{name} is paused: {message}", answer)
        case Kind.DOWN:
            row = one(conn, "SELECT provider_failed(%s, %s, NULL) AS until", [name, message])
            return Paused(row["until"], f"{name} is {message}", answer)
        case Kind.BAD_ANSWER:
            conn.execute("SELECT provider_failed(%s, %s, %s)", [name, message, symbol])
    return answer
