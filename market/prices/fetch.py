"""Fetching what a ticker lacks: a straight line from the plan to a result.

No transaction is open while a provider is asked. `selection` decides which providers are asked and
in which order, `limits` whether one may be asked now, `validation` how good an answer is, and
`responses` what the answers mean together. `store` writes the result.
"""

import datetime as dt
import time
import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from market.prices import ingestion
from market.prices.plan import mark_started
from market.prices.report import Known, Report
from market.prices.responses import Response, Responses
from market.prices.results import (
    Deferred,
    Failed,
    Fetched,
    NoData,
    Plan,
    Result,
    UnknownSymbol,
)
from market.prices.units import in_stored_unit
from market.prices.validation import validate
from market.providers import Answer, Bar, Kind, Provider, Request, limits, renames, selection
from market.providers.limits import Paused
from sql.database import Connection, Database, one

Wait = Callable[[float], None]


def fetch(
    database: Database,
    providers: Sequence[Provider],
    plan: Plan,
    wait: Wait,
    *,
    by_merit: bool = False,
) -> Result | None:
    """Fetch what the plan lacks, or its whole range where the prices' basis changed.

    wait: called with the seconds until a provider's next free place. by_merit: scores may change
    the order of the providers. Returns None when nothing is missing, or the ticker has
    no calendar: a new rule writes another event (calendars_assign in sql). Raises psycopg.Error, and
    every error of `wait`.
    """
    if plan.has_no_calendar or (plan.has_sessions and plan.request is None):
        return None
    with database.transaction() as conn:
        mark_started(conn, plan)  # also the calendar, by which health finds one that fails
    if plan.request is None or plan.whole is None:
        return plan.waits or Failed(f"the calendar {plan.calendar} has no sessions")
    result = _fetch_range(database, providers, plan, plan.request, wait, by_merit)
    attempts = result.attempts
    if isinstance(result, Fetched) and result.has_new_basis and plan.request != plan.whole:
        result = _fetch_range(database, providers, plan, plan.whole, wait, by_merit)
        attempts = [*attempts, *result.attempts]
        if isinstance(result, Fetched):
            # Stored bars that this answer lacks have the old basis, which the first answer showed.
            result = replace(result, has_new_basis=True)
    if isinstance(result, UnknownSymbol) and plan.has_recent_bars:
        result = _doubted(database, plan, result)
    if isinstance(result, NoData):
        result = replace(result, nothing=replace(result.nothing, attempts=attempts))
    return replace(result, attempts=attempts)


def _doubted(database: Database, plan: Plan, unknown: UnknownSymbol) -> Result:
    """Wait before an "unknown symbol" is believed of a ticker that has recent bars."""
    with database.transaction() as conn:
        until = one(conn, "SELECT ticker_doubted(%s) AS until", [plan.symbol])["until"]
    if until is None:
        return unknown
    return Deferred(until, f"{unknown.reason}; asked again: it has a bar of {plan.last_bar}")


def _fetch_range(
    database: Database,
    providers: Sequence[Provider],
    plan: Plan,
    request: Request,
    wait: Wait,
    by_merit: bool,
) -> Result:
    """Select providers, try one after the other until an answer is complete, and conclude."""
    with database.transaction() as conn:
        selected = selection.select(
            conn,
            providers,
            request,
            symbol=plan.symbol,
            asset_type=plan.asset_type,
            calendar=plan.calendar,
            newest=plan.last_session,
            by_merit=by_merit,
        )
    fetcher = _Fetcher(database, plan, request, wait)
    responses = Responses(plan, request, selected.left_out)
    for provider in selected.providers:
        response = fetcher.attempt(provider)
        if response.kind is Kind.UNKNOWN and responses.best is None:
            trust = limits.is_trusted(
                database, provider, request, wait, is_doubted=plan.has_recent_bars
            )
            response = replace(response, is_trusted=trust, canary=provider.canary)
        responses.add(response)
        if responses.is_complete:
            break
    return responses.conclude()


@dataclass
class _Fetcher:
    """Fetches one request from any number of providers. known: loaded once, with the first bars."""

    database: Database
    plan: Plan
    request: Request
    wait: Wait
    known: Known | None = None

    def attempt(self, provider: Provider) -> Response:
        """Acquire a place, fetch once, and grade the answer."""
        started = time.monotonic()
        answer = self._ask(provider)
        seconds = time.monotonic() - started
        if isinstance(answer, Paused) or answer.kind is not Kind.OK:
            return Response(provider.name, self.request, answer, seconds)
        with self.database.transaction() as conn:
            # Loaded after the answer: a session may have opened while it was awaited.
            self.known = self.known or _known(conn, self.plan, self.request)
            answer = in_stored_unit(answer, self.known)
            report = grade(self.plan, self.request, answer, self.known)
            response = Response(provider.name, self.request, answer, seconds, report)
            limits.score(conn, provider, selection.worth(response.bars, self.request))
        return response

    def _ask(self, provider: Provider) -> Answer | Paused:
        """Ask for the request in one part, or in one for each name that the provider has."""
        answers = []
        for part in renames.parts(self.request, provider.name, self.plan.names):
            answer = limits.attempt(self.database, provider, part, self.wait)
            if isinstance(answer, Paused) or renames.is_final(answer):
                return answer
            answers.append((part, answer))
        return renames.joined(answers)


def grade(plan: Plan, request: Request, answer: Answer, known: Known) -> Report:
    """Validate an answer that has bars; returns its report."""
    return validate(
        answer.bars,
        request.sessions,
        actions=answer.actions,
        known=known,
        unreadable=answer.rejected,
        fault=_other_instrument(plan, answer),
    )


def continuation(
    conn: Connection, plan: Plan, source: str, request: Request, answer: Answer
) -> Fetched | None:
    """Return the bars of a batch's answer that continue the stored ones.

    They are graded as in `fetch`. None where a fetch has to decide: no usable bar of the newest
    session, none of the last stored session to compare, or another basis.
    """
    if plan.last_bar is None or answer.kind is not Kind.OK:
        return None
    known = _known(conn, plan, request)
    answer = in_stored_unit(answer, known)
    report = grade(plan, request, answer, known)
    responses = Responses(plan, request)
    responses.add(Response(source, request, answer, report=report))
    result = responses.conclude()
    if (
        not isinstance(result, Fetched)
        or result.has_new_basis
        or result.bars[-1].date != request.end
        or plan.last_bar not in {bar.date for bar in result.bars}
    ):
        return None
    after = [bar for bar in result.bars if bar.date > plan.last_bar]
    left_out = {bar.date: report.left_out[bar.date] for bar in after if bar.date in report.left_out}
    return replace(result, bars=after, left_out=left_out)


def _known(conn: Connection, plan: Plan, request: Request) -> Known:
    return ingestion.known(
        conn,
        plan.symbol,
        plan.calendar,
        request,
        last_bar=plan.last_bar,
        is_refetch=plan.refetch,
    )


def _other_instrument(plan: Plan, answer: Answer) -> str | None:
    """Return why bars under the right name belong to another instrument, or None."""
    # BTC is a fund and BTC-USD a coin: the symbol of a coin names the currency of its price.
    is_coin = answer.asset_type == "crypto"
    if answer.asset_type and (
        (plan.asset_type == "crypto" and not is_coin) or (is_coin and "-" not in plan.name)
    ):
        return f"another instrument: {answer.asset_type} where {plan.asset_type} is expected"
    if answer.timezone and plan.timezone and _differ(answer.timezone, plan.timezone, answer.bars):
        return (
            f"another exchange: its time zone is {answer.timezone}, that of {plan.calendar} is"
            f" {plan.timezone}; see symbol_rules, or set ticker_registry.calendar"
        )
    return None


def _differ(one: str, other: str, bars: Sequence[Bar]) -> bool:
    """Whether two time zones have different times at the newest bar; names alone say little."""
    noon = dt.time(12)
    at = dt.datetime.combine(max((bar.date for bar in bars), default=dt.date(2000, 1, 1)), noon)
    try:
        offsets = [zoneinfo.ZoneInfo(name).utcoffset(at) for name in (one, other)]
    except (KeyError, ValueError, OSError):
        return False  # a provider's name that is not a time zone proves nothing
    return offsets[0] != offsets[1]
