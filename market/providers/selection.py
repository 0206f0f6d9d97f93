"""Provider selection: which providers are asked for a request, and in which order.

A provider that cannot have the range (asset type, exchange, depth) is left out; pauses and quotas
are checked at each attempt (`limits`). MARKET_PROVIDERS is an order. Under a policy, providers with
enough answers are ordered by a draw from the distribution of their worth (Thompson sampling). So
the better one mostly comes first, and a worse one often enough to show when it improves. The draw
depends only on the scores and the request, so that it can be repeated from the rows.
"""

import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from market.providers.base import AnyRequest, Bar, IntradayRequest, Provider, Request
from sql.database import Connection

# A provider with fewer (decayed) answers keeps its place.
_ENOUGH = 20.0


@dataclass(frozen=True)
class Selection:
    """The selected providers, in order. left_out: why the others are not, a line each."""

    providers: Sequence[Provider]
    left_out: Sequence[str]


def select(
    conn: Connection,
    providers: Sequence[Provider],
    request: AnyRequest,
    *,
    symbol: str,
    asset_type: str,
    calendar: str,
    newest: dt.date | None,
    by_merit: bool,
) -> Selection:
    """Select the providers that can have a request. by_merit: their scores may change the order.

    newest: the last settled session, from which a provider's history counts.
    """
    lacks = [lack(each, asset_type, calendar, request, newest) for each in providers]
    able = [each for each, reason in zip(providers, lacks, strict=True) if not reason]
    if by_merit and len(able) > 1:
        able = ranked(conn, able, symbol, request)
    return Selection(able, [reason for reason in lacks if reason])


def lack(
    provider: Provider,
    asset_type: str,
    calendar: str,
    request: AnyRequest,
    newest: dt.date | None = None,
) -> str | None:
    """Return why the provider cannot have the request, or None.

    newest: the last settled session; None: the request ends with it.
    """
    can = provider.capabilities
    if can.asset_types is not None and asset_type not in can.asset_types:
        return f"{provider.name} has no prices of this kind: {asset_type}"
    if can.calendars is not None and calendar not in can.calendars:
        return f"{provider.name} has nothing of {calendar}"
    if isinstance(request, IntradayRequest):
        return _lacks_intraday(provider, request)
    days = ((newest or request.end) - request.start).days
    if can.history_days is not None and days > can.history_days:
        return f"{provider.name} goes back {can.history_days} days, not {days}"
    return None


def _lacks_intraday(provider: Provider, request: IntradayRequest) -> str | None:
    offer = provider.capabilities.intraday
    if offer is None:
        return f"{provider.name} has no five-minute bars"
    if not within(provider, request).sessions:
        back = (request.now - request.sessions[-1].opens_at).days
        return f"{provider.name} has five-minute bars of the last {offer.days} days, not of {back} days ago"
    return None


def within(provider: Provider, request: IntradayRequest) -> IntradayRequest:
    """Return the part of a request that the provider can have: it is not asked for older sessions."""
    offer = provider.capabilities.intraday
    if offer is None or offer.days is None:
        return request
    first = request.now - dt.timedelta(days=offer.days)
    sessions = [each for each in request.sessions if each.opens_at > first]
    return replace(request, sessions=sessions)


def ranked(
    conn: Connection, providers: Sequence[Provider], symbol: str, request: AnyRequest
) -> list[Provider]:
    """Order the providers by a draw over their scores; see above.

    A symbol stays with the provider of its bars while that is good more often than not, because two
    providers round closes differently.
    """
    rows = conn.execute(
        "SELECT * FROM provider_merits(%s::text[], %s)",
        [[provider.name for provider in providers], symbol],
    ).fetchall()
    weights = {row["name"]: (row["good"], row["bad"]) for row in rows}
    known = [name for name, weight in weights.items() if sum(weight) >= _ENOUGH]
    seed = f"{symbol} {request.start} {request.end} {sorted(weights.items())}"
    chance = random.Random(seed)  # noqa: S311 - a choice, not a secret
    drawn = {name: chance.betavariate(1 + weights[name][0], 1 + weights[name][1]) for name in known}
    sources = [row["name"] for row in rows if row["is_source"] and row["name"] in known]
    for name in sources:
        if weights[name][0] >= weights[name][1]:
            drawn[name] = 1.0
    best = iter(sorted(known, key=lambda name: drawn[name], reverse=True))
    by_name = {provider.name: provider for provider in providers}
    return [by_name[next(best)] if provider.name in known else provider for provider in providers]


def worth(bars: Sequence[Bar], request: Request) -> float:
    """Rate an answer from 0 to 1.

    One third each for having bars, for completeness, and for freshness.
    """
    if not bars or not request.sessions:
        return 0.0
    behind = sum(session > bars[-1].date for session in request.sessions)
    completeness = min(1.0, len(bars) / len(request.sessions))
    return (1 + completeness + 1 / (1 + behind)) / 3
