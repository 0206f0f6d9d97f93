"""The conclusion from all responses to one request.

An answer with a usable bar for each session is complete. Otherwise the answer with the most bars is
used alone: bars of two providers are not mixed. Only after the last provider is it decided what no
bars at all mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from market.prices.ingestion import Attempt
from market.prices.report import LEAST_SCORE, Report
from market.prices.results import (
    Deferred,
    Failed,
    Fetched,
    NoData,
    Plan,
    Result,
    UnknownSymbol,
)
from market.providers import Answer, Bar, Kind
from market.providers.base import AnyRequest
from market.providers.limits import Paused


@dataclass(frozen=True)
class Response:
    """The response to one attempt. report: of an answer with bars.

    is_trusted: whether an "unknown symbol" can be believed, because the provider knows its canary.
    """

    source: str
    request: AnyRequest
    answer: Answer | Paused
    seconds: float = 0.0
    report: Report | None = None
    is_trusted: bool | Paused = True
    canary: str | None = None

    @property
    def kind(self) -> Kind | None:
        """The answer's class; None where the provider is paused."""
        return None if isinstance(self.answer, Paused) else self.answer.kind

    @property
    def is_usable(self) -> bool:
        """Whether its bars may be stored."""
        return self.report is not None and self.report.score >= LEAST_SCORE

    @property
    def bars(self) -> Sequence[Bar]:
        """The bars that may be stored; empty for a refused batch."""
        return self.report.bars if self.report and self.is_usable else ()

    @property
    def attempt(self) -> Attempt:
        """The attempt for the ingestion audit."""
        answer = self.answer
        if isinstance(answer, Paused):
            if answer.answer is None:
                return Attempt(self.source, self.request, "paused", answer.reason, self.seconds)
            answer = answer.answer
        return Attempt(
            self.source,
            self.request,
            str(answer.kind),
            answer.message,
            self.seconds,
            answer.payload,
            self.report,
        )


@dataclass
class Responses:
    """The responses to one request of a plan.

    left_out: why the other providers were not asked.
    """

    plan: Plan | None  # None: for five-minute bars
    request: AnyRequest
    left_out: Sequence[str] = ()
    best: Fetched | None = None
    _attempts: list[Attempt] = field(default_factory=list)
    _unknown: list[str] = field(default_factory=list)
    _failed: list[str] = field(default_factory=list)
    _paused: list[Paused] = field(default_factory=list)
    _empty: list[tuple[str, str]] = field(default_factory=list)
    # Empty answers of providers that give the same answer for unknown symbols.
    _vague: list[tuple[str, str]] = field(default_factory=list)
    _abstained: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether an answer has a bar for each session, so that no other provider is needed."""
        return self.best is not None and not self.best.missing

    def add(self, response: Response) -> None:
        """Add a response."""
        self._attempts.append(response.attempt)
        answer = response.answer
        if isinstance(answer, Paused):
            self._paused.append(answer)
            return
        words = f"{response.source}: {answer.kind} {answer.message}".strip()
        match answer.kind:
            case Kind.OK:
                self._add_bars(response, answer, words)
            case Kind.UNKNOWN if isinstance(response.is_trusted, Paused):
                self._paused.append(response.is_trusted)
            case Kind.UNKNOWN if response.is_trusted:
                self._unknown.append(words)
            case Kind.UNKNOWN:
                self._failed.append(f"{words}, but {response.canary} is unknown to it too")
            case Kind.EMPTY:
                (self._vague if answer.abstains else self._empty).append((response.source, words))
            case _:
                (self._abstained if answer.abstains else self._failed).append(words)

    def _add_bars(self, response: Response, answer: Answer, words: str) -> None:
        report = response.report
        if report is None or not response.is_usable:
            self._failed.append(f"{words}, {report.reason if report else 'not validated'}")
        elif self.best is None or _count(report) > _count(self.best) or not report.missing:
            self.best = Fetched(
                response.source,
                response.request,
                report.bars,
                report.rejected,
                report.left_out,
                report.missing,
                has_new_basis=report.has_new_basis,
                asset_type=answer.asset_type,
                exchange=answer.exchange,
                currency=answer.currency,
                actions=report.actions,
                payload=answer.payload,
                intraday=report.intraday,
            )

    def conclude(self) -> Result:
        """Conclude what the responses mean together."""
        attempts = self._attempts
        if self.best is not None:
            return replace(self.best, attempts=attempts)
        if self._paused:
            # A paused provider may know the symbol: conclude nothing before it was asked.
            soonest = min(self._paused, key=lambda pause: pause.until)
            return Deferred(soonest.until, soonest.reason, attempts)
        without_bars = [words for _, words in [*self._empty, *self._vague]]
        reasons = "; ".join(
            [*self._failed, *without_bars, *self._unknown, *self.left_out, *self._abstained]
        )
        if self._failed or not (self._unknown or without_bars):
            return Failed(reasons or "no provider to ask", attempts)
        # An explicit "unknown symbol" outweighs an empty answer from a provider that cannot tell
        # the two apart.
        empty = self._empty if self._unknown else [*self._empty, *self._vague]
        if not empty:
            return UnknownSymbol(reasons, attempts)
        nothing = Fetched(empty[0][0], self.request, (), attempts=attempts)
        if self.plan is not None and self.plan.is_known_empty and not self._unknown:
            return nothing
        return NoData(reasons, nothing, attempts)


def _count(of: Report | Fetched) -> int:
    """Count the bars, of either interval."""
    return len(of.bars) + len(of.intraday)
