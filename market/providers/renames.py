"""A ticker's other names at a provider: one request in parts, and one answer out of theirs.

Yahoo keeps all history under today's name. A provider that keeps old tickers knows META's prices of
2021 as FB only. `symbol_names` in sql/functions/11_symbols.sql finds the names.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from market.providers.base import Answer, Bar, Kind, Payload, Request

# A rename does not change the price. The shares of a company that was taken over were exchanged.
_STEP = 1.8


@dataclass(frozen=True)
class Name:
    """The name of a ticker from `start` to `end`. provider: None: every one without names."""

    provider: str | None
    start: dt.date
    end: dt.date
    name: str


def parts(request: Request, provider: str, names: Sequence[Name]) -> list[Request]:
    """Split a request where the provider's name of the ticker changes; ascending, at least one.

    names: ascending. Parts without sessions are left out.
    """
    own = [each for each in names if each.provider == provider]
    spans: list[Name] = []
    for each in own or [each for each in names if each.provider is None]:
        if spans and spans[-1].name == each.name:
            spans[-1] = replace(spans[-1], end=each.end)
        else:
            spans.append(each)
    found = []
    for span in spans:
        start, end = max(span.start, request.start), min(span.end, request.end)
        sessions = [session for session in request.sessions if start <= session <= end]
        if sessions:
            found.append(Request(span.name, start, end, sessions))
    return found or [request]


def is_final(answer: Answer) -> bool:
    """Whether an answer to one part ends the request: its fault is not that of a name."""
    return answer.kind not in {Kind.OK, Kind.EMPTY, Kind.UNKNOWN} and not answer.abstains


def joined(answers: Sequence[tuple[Request, Answer]]) -> Answer:
    """Join the answers to all parts, ascending; the answer to the newest where none has bars.

    Bars before a step that no rename explains are left out: they are another company's shares.
    """
    good = [(part, answer) for part, answer in answers if answer.kind is Kind.OK and answer.bars]
    if len(answers) == 1 or not good:
        return answers[-1][1]
    (_, newest), older = good[-1], good[:-1]
    bars: list[Bar] = list(newest.bars)
    used, rejected = [newest], list(newest.rejected)
    for part, answer in reversed(older):
        before = [bar for bar in answer.bars if part.start <= bar.date <= part.end]
        if _is_step(before, bars):
            first = min(bar.date for bar in bars)
            rejected.append(f"{first}: {part.symbol} before it is another share, by its price")
            break
        bars = [*before, *bars]
        rejected += answer.rejected
        used.append(answer)
    return replace(
        newest,
        bars=bars,
        rejected=rejected,
        actions=sorted(action for answer in used for action in answer.actions),
        payload=joined_payload([answer.payload for answer in used if answer.payload]),
    )


def _is_step(before: Sequence[Bar], after: Sequence[Bar]) -> bool:
    """Whether the close changes by more than a day may, from one name to the next."""
    old = max(before, key=lambda bar: bar.date).close if before else None
    new = min(after, key=lambda bar: bar.date).close
    if not old or not new or old <= 0 or new <= 0:
        return False
    return not 1 / _STEP < new / old < _STEP


def joined_payload(payloads: Sequence[Payload]) -> Payload | None:
    """Join the payloads of several parts; None without any."""
    if not payloads:
        return None
    return Payload(
        " ".join(each.url for each in payloads),
        payloads[0].status,
        b"\n".join(each.body for each in payloads),
    )
