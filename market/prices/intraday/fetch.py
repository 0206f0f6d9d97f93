"""Fetching five-minute bars: select providers, ask one after the other, conclude.

The same line as for daily bars, with the same selection, limits, grades and attempts. An unknown
symbol has no consequence here: only a request for daily bars makes a ticker invalid.
"""

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from market.prices.intraday.plan import IntradayPlan
from market.prices.intraday.validation import final_starts, validate
from market.prices.report import Report
from market.prices.responses import Response, Responses
from market.prices.results import Result
from market.providers import Answer, Kind, Provider, limits, selection
from market.providers.base import IntradayRequest
from market.providers.limits import Paused
from market.providers.renames import is_final, joined_payload
from sql.database import Database

Wait = Callable[[float], None]

# The least that providers take to settle a bar, where none is named.
SETTLE_SECONDS = 60


def settle_seconds(providers: Sequence[Provider]) -> int:
    """Return the shortest settle time of these providers."""
    offers = [each.capabilities.intraday for each in providers]
    return min((offer.settle_seconds for offer in offers if offer), default=SETTLE_SECONDS)


def fetch(
    database: Database,
    providers: Sequence[Provider],
    plan: IntradayPlan,
    wait: Wait,
    *,
    by_merit: bool = False,
    leaves: float = 0.0,
) -> Result | None:
    """Fetch what the plan lacks. Returns None when no bar of it is final yet.

    wait: called with the seconds until a provider's next free place. by_merit: scores may change the
    order of the providers. leaves: the share of each quota that stays for others. Raises
    psycopg.Error, and every error of `wait`.
    """
    request = plan.request
    if request is None or not final_starts(request, settle_seconds(providers)):
        return None
    with database.transaction() as conn:
        selected = selection.select(
            conn,
            providers,
            request,
            symbol=plan.symbol,
            asset_type=plan.asset_type,
            calendar=plan.calendar,
            newest=request.end,
            by_merit=by_merit,
        )
    responses = Responses(None, request, selected.left_out)
    for provider in selected.providers:
        part = selection.within(provider, request)
        response = _attempt(database, plan, provider, part, wait, leaves)
        responses.add(response)
        if responses.is_complete and part == request:
            break
    return responses.conclude()


def _attempt(
    database: Database,
    plan: IntradayPlan,
    provider: Provider,
    request: IntradayRequest,
    wait: Wait,
    leaves: float,
) -> Response:
    """Acquire a place, fetch once, and grade the answer."""
    started = time.monotonic()
    answer = _ask(database, provider, request, wait, leaves)
    seconds = time.monotonic() - started
    if isinstance(answer, Paused) or answer.kind is not Kind.OK:
        return Response(provider.name, request, answer, seconds)
    report = grade(plan, provider, request, answer)
    with database.transaction() as conn:
        limits.score(conn, provider, _worth(report))
    if not report.given and not report.faults:
        # Bars outside of the sessions, or such as are not final: none of those that were wanted.
        answer = replace(answer, kind=Kind.EMPTY, message="no final bar of the sessions")
        return Response(provider.name, request, answer, seconds)
    return Response(provider.name, request, answer, seconds, report)


def grade(
    plan: IntradayPlan, provider: Provider, request: IntradayRequest, answer: Answer
) -> Report:
    """Validate an answer that has bars; returns its report."""
    offer = provider.capabilities.intraday
    return validate(
        answer.intraday,
        request,
        offer.settle_seconds if offer else SETTLE_SECONDS,
        last_close=plan.last_close,
        unreadable=answer.rejected,
        fault_of_all=_other_instrument(plan, answer),
    )


def _ask(
    database: Database, provider: Provider, request: IntradayRequest, wait: Wait, leaves: float
) -> Answer | Paused:
    """Ask for the request in parts of as many days as the provider gives at once."""
    answers = []
    for part in parts(provider, request):
        answer = limits.attempt(database, provider, part, wait, leaves=leaves)
        if isinstance(answer, Paused) or is_final(answer):
            return answer
        answers.append(answer)
    good = [answer for answer in answers if answer.kind is Kind.OK]
    if len(answers) == 1 or not good:
        return answers[-1]
    return replace(
        good[-1],
        intraday=[bar for answer in good for bar in answer.intraday],
        rejected=[line for answer in good for line in answer.rejected],
        payload=joined_payload([answer.payload for answer in good if answer.payload]),
    )


def parts(provider: Provider, request: IntradayRequest) -> list[IntradayRequest]:
    """Split a request into parts of at most the provider's span; ascending, at least one."""
    offer = provider.capabilities.intraday
    span = dt.timedelta(days=offer.span_days if offer else 1)
    found: list[IntradayRequest] = []
    rest = list(request.sessions)
    while rest:
        count = sum(each.closes_at - rest[0].opens_at <= span for each in rest) or 1
        part, rest = rest[:count], rest[count:]
        since = max(request.since, part[0].opens_at)
        found.append(replace(request, sessions=part, since=since))
    return found


def _other_instrument(plan: IntradayPlan, answer: Answer) -> str | None:
    """Return why bars under the right name belong to another instrument, or None."""
    is_coin = answer.asset_type == "crypto"
    if answer.asset_type and is_coin != (plan.asset_type == "crypto"):
        return f"another instrument: {answer.asset_type} where {plan.asset_type} is expected"
    return None


def _worth(report: Report) -> float:
    """Rate an answer from 0 to 1: half for having bars, half for having all."""
    if not report.intraday:
        return 0.0
    return (1 + len(report.intraday) / max(1, report.expected)) / 2
