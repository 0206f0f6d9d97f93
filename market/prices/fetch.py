"""Asking providers for what a ticker lacks: in which order, and what their answers mean together.

No transaction is open while a provider is asked. One answer with a usable bar for each session ends
the asking. Where sessions lack one the others are asked too, and the most complete answer is used,
as it came: bars of two providers are not mixed. Only when everybody was heard is it decided what it
means that nobody had any.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from market.prices import ingestion, storage
from market.prices.ingestion import Asked
from market.prices.results import Bars, Failed, Later, Plan, Silent, Unknown, Verdict
from market.prices.validation import LEAST_SCORE, Report, validate
from market.providers import Answer, Kind, Provider, Request, selection
from market.providers.limits import Paused, ask, is_trusted, score
from sql.database import Connection, Database


def fetch(
    database: Database,
    providers: Sequence[Provider],
    plan: Plan,
    wait: Callable[[float], None],
    *,
    by_merit: bool = False,
) -> Verdict | None:
    """Ask the providers in order until one gives all bars; no transaction is open meanwhile.

    Returns None when nothing is missing. Raises psycopg.Error.
    wait: called with seconds until a provider's next free place. by_merit: their scores may
    change the order.
    """
    if not plan.has_sessions:
        return plan.waits or Failed(f"the calendar {plan.calendar} has no sessions")
    if plan.request is None:
        return None
    asking = _Asking(database, providers, plan, wait, by_merit)
    verdict = asking.fetch(plan.request)
    if isinstance(verdict, Silent):
        verdict = replace(verdict, nothing=replace(verdict.nothing, asked=asking.asked))
    return replace(verdict, asked=asking.asked)


def continuation(
    conn: Connection, plan: Plan, source: str, request: Request, answer: Answer
) -> Bars | None:
    """The bars of an answer that go on where the stored ones end, for one that was not asked alone.

    They pass what those of `fetch` pass. None where a fetch has to decide: no usable bar of the
    newest session, none of the last stored one to compare, another basis.
    """
    if answer.kind is not Kind.OK:
        return None
    report = _validated(conn, plan, request, answer)
    usable = _usable(source, request, answer, report)
    if isinstance(usable, str) or usable.bars[-1].date != request.end:
        return None
    if plan.last_bar not in {bar.date for bar in usable.bars}:
        return None
    if _has_new_basis(conn, plan, usable):
        return None
    entry = Asked(source, request, str(answer.kind), answer.message, 0.0, answer.payload, report)
    return replace(
        usable, bars=[bar for bar in usable.bars if bar.date > plan.last_bar], asked=[entry]
    )


def _has_new_basis(conn: Connection, plan: Plan, found: Bars) -> bool:
    """Whether these bars cannot stand beside the stored ones.

    A split newer than what is stored changes the basis of all that is stored, a dividend that of
    all adjusted closes; and so does whatever made a provider answer differently for days that
    are stored.
    """
    if plan.last_bar is None:
        return False
    return (
        any((b.has_split or b.has_dividend) and b.date > plan.last_bar for b in found.bars)
        or any(action.date > plan.last_bar for action in found.actions)
        or storage.basis_changed(conn, plan.symbol, found.bars)
    )


@dataclass
class _Asking:
    """One ticker's round through the providers, and the record of it."""

    database: Database
    providers: Sequence[Provider]
    plan: Plan
    wait: Callable[[float], None]
    by_merit: bool
    asked: list[Asked] = field(default_factory=list)

    def fetch(self, request: Request) -> Verdict:
        """Ask for a range, and for all of it where its end shows another basis."""
        plan = self.plan
        verdict = self._ask_all(request)
        if isinstance(verdict, Bars) and plan.last_bar is not None:
            with self.database.transaction() as conn:
                changed = _has_new_basis(conn, plan, verdict)
            if changed and request is plan.whole:
                return replace(verdict, rebased=True)
            if changed and plan.whole is not None:
                whole = self._ask_all(plan.whole)
                return replace(whole, rebased=True) if isinstance(whole, Bars) else whole
        return verdict

    def _ask_all(self, request: Request) -> Verdict:
        heard = _Heard()
        best: Bars | None = None
        able, heard.aside = self._able(request)
        for provider in able:
            answer = self._ask(provider, request)
            if isinstance(answer, Paused):
                heard.paused.append(answer)
                continue
            said = f"{provider.name}: {answer.kind} {answer.message}".strip()
            if answer.kind is Kind.OK:
                usable = self._judge(provider, request, answer)
                if isinstance(usable, str):
                    heard.failed.append(f"{said}, {usable}")
                elif not usable.missing:
                    return usable
                elif best is None or len(usable.bars) > len(best.bars):
                    best = usable
            elif best is not None:
                pass  # whatever it means, there are bars
            elif answer.kind is Kind.UNKNOWN:
                trust = is_trusted(self.database, provider, request, self.wait)
                if isinstance(trust, Paused):
                    heard.paused.append(trust)
                elif trust:
                    heard.unknown.append(said)
                else:
                    heard.failed.append(f"{said}, nor does it know {provider.canary}")
            else:
                heard.note(provider, answer, said)
        return best or heard.verdict(self.plan, request)

    def _able(self, request: Request) -> tuple[Sequence[Provider], list[str]]:
        """Who can have what is asked for, in the order in which to ask; and why the others cannot."""
        plan = self.plan
        lacks = [selection.lack(p, plan.asset_type, plan.calendar, request) for p in self.providers]
        able = [each for each, lack in zip(self.providers, lacks, strict=True) if not lack]
        if self.by_merit and len(able) > 1:
            with self.database.transaction() as conn:
                able = selection.ranked(conn, able, plan.symbol, request)
        return able, [lack for lack in lacks if lack]

    def _ask(self, provider: Provider, request: Request) -> Answer | Paused:
        started = time.monotonic()
        answer = ask(self.database, provider, request, self.wait)
        self.asked.append(_asked(provider.name, request, answer, time.monotonic() - started))
        return answer

    def _judge(self, provider: Provider, request: Request, answer: Answer) -> Bars | str:
        """The answer's bars, or why none of them can be used; both count for the provider's score."""
        with self.database.transaction() as conn:
            report = _validated(conn, self.plan, request, answer)
            usable = _usable(provider.name, request, answer, report)
            if provider.canary is not None:
                bars = usable.bars if isinstance(usable, Bars) else ()
                score(conn, provider, selection.worth(bars, request))
        self.asked[-1] = replace(self.asked[-1], report=report)
        return usable


@dataclass
class _Heard:
    """What providers said that gave no bars, and what it means that none did."""

    unknown: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    paused: list[Paused] = field(default_factory=list)
    empty: list[tuple[Provider, str]] = field(default_factory=list)
    # Empty, or unknown to a provider that does not say which.
    vague: list[tuple[Provider, str]] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)  # who has no say in it, and why

    def note(self, provider: Provider, answer: Answer, said: str) -> None:
        """Take in an answer that is neither bars nor a verdict."""
        if answer.kind is Kind.EMPTY:
            (self.vague if answer.abstains else self.empty).append((provider, said))
        else:
            (self.aside if answer.abstains else self.failed).append(said)

    def verdict(self, plan: Plan, request: Request) -> Verdict:
        """What follows when everybody was asked."""
        if self.paused:
            # Who could not be asked may know it: no verdict before everyone was.
            soonest = min(self.paused, key=lambda pause: pause.until)
            return Later(soonest.until, soonest.reason)
        silent = [said for _, said in [*self.empty, *self.vague]]
        reasons = "; ".join([*self.failed, *silent, *self.unknown, *self.aside])
        if self.failed or not (self.unknown or silent):
            return Failed(reasons or "no provider to ask")
        # Who says that it does not know the symbol outweighs those who may say just that by nothing.
        empty = self.empty if self.unknown else [*self.empty, *self.vague]
        return _nothing(plan, request, empty, reasons, mixed=bool(self.unknown))


def _nothing(
    plan: Plan,
    request: Request,
    empty: Sequence[tuple[Provider, str]],
    reasons: str,
    *,
    mixed: bool,
) -> Verdict:
    """What it means that nobody has bars: unknown to all, or empty for some."""
    if not empty:
        return Unknown(reasons)
    nothing = Bars(empty[0][0].name, request, ())
    return nothing if plan.known_silent and not mixed else Silent(reasons, nothing)


def _asked(name: str, request: Request, answer: Answer | Paused, seconds: float) -> Asked:
    if isinstance(answer, Paused):
        if answer.answer is None:
            return Asked(name, request, "paused", answer.reason, seconds)
        answer = answer.answer
    return Asked(name, request, str(answer.kind), answer.message, seconds, answer.payload)


def _validated(conn: Connection, plan: Plan, request: Request, answer: Answer) -> Report:
    known = ingestion.known(conn, plan.symbol, plan.calendar, request, refetch=plan.refetch)
    report = validate(
        answer.bars,
        request.sessions,
        actions=answer.actions,
        known=known,
        unreadable=answer.rejected,
    )
    if fault := _other_instrument(plan, answer):
        report.parts["stored"] = 0.0
        report.faults.insert(0, fault)
    return report


def _usable(source: str, request: Request, answer: Answer, report: Report) -> Bars | str:
    """The answer's bars, or why none of them can be used."""
    if report.score < LEAST_SCORE:
        return report.reason
    return Bars(
        source,
        request,
        report.bars,
        report.rejected,
        report.missing,
        asset_type=answer.asset_type,
        exchange=answer.exchange,
        currency=answer.currency,
        actions=report.actions,
        payload=answer.payload,
    )


def _other_instrument(plan: Plan, answer: Answer) -> str | None:
    """Why bars under the right name are another instrument's, or None."""
    # BTC is a fund and BTC-USD a coin; a coin's symbol names the currency that it is in.
    is_coin = answer.asset_type == "crypto"
    if answer.asset_type and (
        (plan.asset_type == "crypto" and not is_coin) or (is_coin and "-" not in plan.name)
    ):
        return f"another instrument: {answer.asset_type} where {plan.asset_type} is expected"
    return None
