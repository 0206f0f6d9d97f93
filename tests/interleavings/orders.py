"""Which order: random ones of several kinds, all there are, one that is given, and the shortest.

An order is the list of names that had the turn. Random orders come from a seed. A walk takes anybody;
a lazy walk rarely changes; priorities (as in Burckhardt et al., "A randomized scheduler with probabilistic
guarantees of finding bugs", ASPLOS 2010) let the highest run until it waits, and lower it at a few
random steps: a fault that needs few changes at the right places is found soon.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Protocol

from tests.interleavings.scheduler import Choose

# How much less often an act (a kill, a jump) is chosen than a step; each order has one of these.
_ACT_WEIGHTS = (0.05, 0.3, 1.0)
# Steps of an order, within which its few changes lie: scenes differ.
_TYPICAL = (10, 30, 60)


def is_act(name: str) -> bool:
    """Whether a name is that of an act."""
    return ":" in name


def walk(rng: random.Random) -> Choose:
    """Anybody, each time."""
    weight = rng.choice(_ACT_WEIGHTS)
    return lambda names, _last: _weighted(rng, names, weight)


def lazy(rng: random.Random) -> Choose:
    """Whoever had the last turn, mostly."""
    change, weight = rng.choice([0.05, 0.15, 0.3]), rng.choice(_ACT_WEIGHTS)

    def choose(names: Sequence[str], last: str | None) -> str:
        if last is not None and last in names and rng.random() > change:
            return last
        return _weighted(rng, names, weight)

    return choose


def priorities(rng: random.Random) -> Choose:
    """The highest, until one of a few changes comes."""
    ranks: dict[str, float] = {}
    steps = rng.choice(_TYPICAL)
    changes = {rng.randrange(steps) for _ in range(rng.randint(1, 4))}
    step = 0

    def choose(names: Sequence[str], _last: str | None) -> str:
        nonlocal step
        for name in names:
            ranks.setdefault(name, rng.random())
        best = max(names, key=lambda name: ranks[name])
        if step in changes:
            ranks[best] = -step - 1.0
            best = max(names, key=lambda name: ranks[name])
        step += 1
        return best

    return choose


def _weighted(rng: random.Random, names: Sequence[str], weight: float) -> str:
    weights = [weight if is_act(name) else 1.0 for name in names]
    return rng.choices(names, weights)[0]


def any_kind(seed: str) -> Choose:
    """A random order of some kind."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, no secret
    return rng.choice([walk, lazy, priorities])(rng)


def given(order: Sequence[str]) -> Choose:
    """This order, as far as it is possible; then without a change that is not needed."""
    left = list(order)

    def choose(names: Sequence[str], last: str | None) -> str:
        while left:
            if (name := left.pop(0)) in names:
                return name
        if last in names and not is_act(last or ""):
            return str(last)
        return next((name for name in names if not is_act(name)), names[0])

    return choose


class All:
    """All orders there are: the next one differs from the last in its last choice that can."""

    def __init__(self) -> None:
        self._choices: list[tuple[int, int]] = []  # which of how many
        self._at = 0

    def choose(self, names: Sequence[str], _last: str | None) -> str:
        """The choice of this order."""
        if self._at == len(self._choices):
            self._choices.append((0, len(names)))
        which, many = self._choices[self._at]
        if many != len(names):
            raise RuntimeError(f"the same order came out otherwise: {names}, {many} before")
        self._at += 1
        return names[which]

    def next(self) -> bool:
        """Go to the next order; False after the last one."""
        del self._choices[self._at :]
        self._at = 0
        while self._choices:
            which, many = self._choices.pop()
            if which + 1 < many:
                self._choices.append((which + 1, many))
                return True
        return False


class Fails(Protocol):
    """Whether an order, as far as it is possible, still fails in the same way."""

    def __call__(self, order: Sequence[str]) -> bool: ...


def shortest(order: Sequence[str], fails: Fails, tries: int = 150) -> list[str]:
    """Leave out of an order what it does not need to fail (ddmin); what is left out happens later, or never."""
    order = list(order)
    size = max(1, len(order) // 2)
    while size:
        start, shrunk = 0, False
        while start < len(order) and tries > 0:
            shorter = order[:start] + order[start + size :]
            tries -= 1
            if fails(shorter):
                order, shrunk = shorter, True
            else:
                start += size
        if tries <= 0:
            break
        size = size // 2 if size > 1 else (1 if shrunk else 0)
    return order


def written(order: Sequence[str]) -> str:
    """An order as text: `w1*3 w2 w1`."""
    parts: list[tuple[str, int]] = []
    for name in order:
        if parts and parts[-1][0] == name:
            parts[-1] = (name, parts[-1][1] + 1)
        else:
            parts.append((name, 1))
    return " ".join(name if n == 1 else f"{name}*{n}" for name, n in parts)


def read(text: str) -> list[str]:
    """The order that a text says."""
    return list(_read(text))


def _read(text: str) -> Iterator[str]:
    for part in text.split():
        name, _, n = part.partition("*")
        yield from [name] * int(n or 1)
