"""Stand-ins for providers: scripted answers and plain bars."""

import datetime as dt
from collections.abc import Callable, Sequence

from market.providers import Answer, Bar, Capabilities, Kind, Request


def plain_bars(
    days: Sequence[dt.date], price: Callable[[int], float] = lambda n: 100.0 + n
) -> list[Bar]:
    """A good bar for each day; the close is `price(n)` of the n-th."""
    return [
        Bar(date, price(n), price(n) * 1.01, price(n) * 0.99, price(n), price(n), 1000)
        for n, date in enumerate(days)
    ]


class FakeProvider:
    """A provider of the outside world: answers by script, remembers what it was asked.

    answers: one Answer for every request, or a function of the request.
    """

    def __init__(
        self,
        name: str,
        answers: Answer | Callable[[Request], Answer],
        *,
        canary: str | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        self.name = name
        self.canary = canary
        self.capabilities = capabilities or Capabilities()
        self.asked: list[Request] = []
        self._answers = answers

    def fetch(self, request: Request) -> Answer:
        """Answer as scripted."""
        self.asked.append(request)
        return self._answers(request) if callable(self._answers) else self._answers


def serving(price: Callable[[dt.date], float | None]) -> Callable[[Request], Answer]:
    """Answers with bars at `price(date)` for every session asked for; None leaves a hole."""

    def answer(request: Request) -> Answer:
        bars = []
        for date in request.sessions:
            close = price(date)
            if close is not None:
                bars.append(Bar(date, close, close, close, close, close, 1000))
        return Answer(Kind.OK if bars else Kind.EMPTY, bars, "as scripted")

    return answer
