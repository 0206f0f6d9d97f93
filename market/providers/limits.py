"""The limits of a provider: quota, pace, pauses, failures in a row, score.

All workers share them as rows. `acquire` reserves a place before a request is sent, and `note`
records the answer afterwards.
"""

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from market.providers.base import (
    Answer,
    AnyRequest,
    Batching,
    IntradayRequest,
    Kind,
    Limited,
    Provider,
    Request,
    intradaily,
)
from market.providers.bounds import DAY_SECONDS
from sql.database import Connection, Database, one
from sql.descriptors import is_short
from sql.redaction import one_line

# A 429 concerns every symbol at once, and further requests prolong it.
_THROTTLE_SECONDS = 300.0
# A wrong key or plan stays wrong until an operator acts.
_PLAN_SECONDS = 3600.0
# After these the provider is paused for every symbol.
_PAUSING = (Kind.THROTTLED, Kind.DOWN, Kind.PLAN)

# USD; GBp is pence. Stablecoins have more than three letters.
_CURRENCY = re.compile("[A-Za-z]{3,5}")
_EXCHANGE = re.compile("[A-Za-z0-9 .&_-]{1,40}")


@dataclass(frozen=True)
class Paused:
    """The provider may not be asked before `until` (the database's clock).

    answer: the one that paused it; None when it was paused already.
    """

    until: dt.datetime
    reason: str
    answer: Answer | None = None


def attempt(
    database: Database,
    provider: Provider,
    request: AnyRequest,
    wait: Callable[[float], None],
    *,
    leaves: float = 0.0,
) -> Answer | Paused:
    """Acquire a place, fetch once, and note the answer.

    wait: called with the seconds until the reserved place in the provider's queue; may raise.
    leaves: the share of each quota that must be left for others. No transaction is open during the
    fetch. Raises psycopg.Error.
    """
    is_intraday = isinstance(request, IntradayRequest)
    paused = _spared(database, provider, leaves) if is_intraday else None
    paused = paused or acquire(database, provider, provider.capabilities.credits, wait)
    if paused:
        return paused
    answer = guarded_fetch(lambda: [_fetch(provider, request)], 1)[0]
    with database.transaction() as conn:
        return note(conn, provider, request.symbol, answer, is_intraday=is_intraday)


def _fetch(provider: Provider, request: AnyRequest) -> Answer:
    if not isinstance(request, IntradayRequest):
        return provider.fetch(request)
    able = intradaily(provider)
    if able is None:
        raise TypeError(f"{provider.name} has no five-minute bars")
    return able.fetch_intraday(request)


def _spared(database: Database, provider: Provider, leaves: float) -> Paused | None:
    """Return Paused where five-minute bars may not be asked for: a plan's refusal, or the quota's rest."""
    with database.transaction() as conn:
        place = one(
            conn,
            "SELECT * FROM provider_intraday_paused(%s, %s, %s)",
            [provider.name, provider.capabilities.credits, leaves],
        )
    if place["until"] is None:
        return None
    return Paused(place["until"], f"{provider.name} is paused: {place['reason']}")


def guarded_fetch(fetch: Callable[[], Sequence[Answer]], number: int) -> Sequence[Answer]:
    """Fetch, and turn every unforeseen error of an adapter into a bad answer.

    number: how many answers are expected. Otherwise a parser that runs out of memory or stack, or
    panics in Rust, would end its lane; not every such error is an `Exception`.
    """
    try:
        return [_cleaned(answer) for answer in fetch()]
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if is_short(error):
            raise  # no descriptor is left: not a fault of the provider
        words = f"not foreseen: {type(error).__name__}: {error}"
        return [_cleaned(Answer(Kind.BAD_ANSWER, message=words))] * number


def _cleaned(answer: Answer) -> Answer:
    """Clean an answer's texts, which go into rows, logs and errors, and may echo the key."""
    currency, exchange = answer.currency, answer.exchange
    return replace(
        answer,
        currency=currency if isinstance(currency, str) and _CURRENCY.fullmatch(currency) else None,
        exchange=exchange if isinstance(exchange, str) and _EXCHANGE.fullmatch(exchange) else None,
        message=one_line(answer.message),
        rejected=tuple(one_line(line) for line in answer.rejected),
    )


def attempt_many(
    database: Database,
    provider: Batching,
    requests: Sequence[Request],
    wait: Callable[[float], None],
) -> Sequence[Answer] | Paused:
    """Do as `attempt` for the same range of several symbols.

    One answer of the batch is noted.
    """
    paused = acquire(database, provider, provider.credits_for(requests), wait)
    if paused:
        return paused
    answers = guarded_fetch(lambda: provider.fetch_many(requests), len(requests))
    # A refusal or outage concerns the whole batch; otherwise one good answer proves it is up.
    by_weight = [*_PAUSING, Kind.OK, *Kind]
    number = min(range(len(answers)), key=lambda n: by_weight.index(answers[n].kind))
    with database.transaction() as conn:
        noted = note(conn, provider, requests[number].symbol, answers[number])
    return noted if isinstance(noted, Paused) else answers


def acquire(
    database: Database, provider: Limited, cost: int, wait: Callable[[float], None]
) -> Paused | None:
    """Reserve the cost and a place, and wait for the place.

    Returns Paused where the provider may not be asked, and None where it may.
    """
    with database.transaction() as conn:
        place = one(conn, "SELECT * FROM provider_acquire(%s, %s)", [provider.name, cost])
    if place["paused_until"] is None and place["wait_seconds"] > 0:
        wait(place["wait_seconds"])
        # Another request may have met a 429 while this one waited for its place.
        with database.transaction() as conn:
            place = one(conn, "SELECT * FROM provider_paused(%s)", [provider.name])
    if place["paused_until"] is None:
        return None
    return Paused(place["paused_until"], f"{provider.name} is paused: {place['reason']}")


def is_trusted(
    database: Database,
    provider: Provider,
    request: Request,
    wait: Callable[[float], None],
    *,
    is_doubted: bool = False,
) -> bool | Paused:
    """Tell whether an "unknown symbol" of this provider can be believed.

    True for a local provider, and for one that gave bars in the last ten minutes. Otherwise, and
    where it is doubted, the canary is fetched; returns Paused when that is not possible now.
    """
    if provider.canary is None:
        return True
    with database.transaction() as conn:
        row = conn.execute(
            "SELECT last_ok_at > reckoner_now() - interval '10 minutes' AS lately"
            " FROM reckoner_providers WHERE name = %s",
            [provider.name],
        ).fetchone()
    if row and row["lately"] and not is_doubted:
        return True
    if request.symbol == provider.canary:
        return False
    canary = Request(provider.canary, request.start, request.end, request.sessions)
    answer = attempt(database, provider, canary, wait)
    return answer if isinstance(answer, Paused) else answer.kind is Kind.OK


def note(
    conn: Connection,
    provider: Limited,
    symbol: str,
    answer: Answer,
    *,
    is_intraday: bool = False,
) -> Answer | Paused:
    """Record an answer in the provider's limits; returns Paused where it starts a pause.

    is_intraday: a plan without five-minute bars may have daily ones, so that only the former pause.
    """
    name, message = provider.name, f"{answer.kind}: {answer.message}"
    if answer.kind not in {Kind.OK, Kind.EMPTY, Kind.UNKNOWN}:
        conn.execute("SELECT provider_erred(%s, %s, %s)", [name, answer.kind.value, message])
    if answer.kind in {Kind.THROTTLED, Kind.DOWN, Kind.BAD_ANSWER}:
        score(conn, provider, 0.0)
    match answer.kind:
        case Kind.PLAN if answer.abstains:
            conn.execute("SELECT provider_answered(%s, false)", [name])
        case Kind.OK | Kind.EMPTY | Kind.UNKNOWN:
            conn.execute("SELECT provider_answered(%s, %s)", [name, answer.kind is Kind.OK])
        case Kind.PLAN if is_intraday:
            row = one(
                conn,
                "SELECT provider_intraday_pause(%s, %s, %s) AS until",
                [name, _PLAN_SECONDS, message],
            )
            return Paused(row["until"], f"{name} is paused: {message}", answer)
        case Kind.THROTTLED | Kind.PLAN:
            row = one(
                conn,
                "SELECT provider_pause(%s, %s, %s) AS until",
                [name, _seconds_to_rest(conn, name, answer), message],
            )
            return Paused(row["until"], f"{name} is paused: {message}", answer)
        case Kind.DOWN:
            row = one(conn, "SELECT provider_failed(%s, %s, NULL) AS until", [name, message])
            return Paused(row["until"], f"{name} is {message}", answer)
        # A local one's fault is that of one file: three bad ones would pause all the others.
        case Kind.BAD_ANSWER if provider.canary is not None:
            conn.execute("SELECT provider_failed(%s, %s, %s)", [name, message, symbol])
    return answer


def _seconds_to_rest(conn: Connection, name: str, answer: Answer) -> float:
    """Return the seconds of a pause: until the exhausted window ends, where it is known."""
    if answer.retry_after and answer.retry_after > 0:  # nor NaN
        return min(answer.retry_after, DAY_SECONDS)
    if answer.exhausted:
        query = (
            "SELECT extract(epoch FROM quota_exhausted(%s, %s) - reckoner_now())::float8 AS seconds"
        )
        seconds: float | None = one(conn, query, [name, answer.exhausted])["seconds"]
        if seconds is not None:
            return seconds
    return _PLAN_SECONDS if answer.kind is Kind.PLAN else _THROTTLE_SECONDS


def score(conn: Connection, provider: Limited, worth: float) -> None:
    """Add an answer's worth to a remote provider's score.

    worth: 0 to 1; see `selection.worth`.
    """
    if provider.canary is not None:
        conn.execute("SELECT provider_scored(%s, %s)", [provider.name, worth])
