"""Daily series with dividends and splits, and 37 kinds of defect that providers are known to have.

The kinds are those of Yahoo's answers that people reported: dividends that the adjusted closes leave
out, count twice or a hundredfold, or have on another day; splits that the closes leave out, have
twice or days later; another unit; a capital gain counted twice. `python -m tests.market.defects` prints
how many of them validation finds.
"""

import datetime as dt
import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from market.prices.report import Report
from market.prices.validation import validate
from market.providers import Action, Bar

START = dt.date(2022, 1, 3)
SESSIONS = 500
EX_DATES = (60, 125, 190, 255, 320, 385, 450)
SPLIT_AT = 220


@dataclass(frozen=True)
class Series:
    """An answer. told: dividends and splits by the place of their session."""

    closes: list[float]
    factors: list[float]  # of the adjusted closes
    dividends: dict[int, float] = field(default_factory=dict)
    splits: dict[int, float] = field(default_factory=dict)
    is_bare: bool = False  # without open, high and low

    @property
    def days(self) -> list[dt.date]:
        """The sessions: Mondays to Fridays."""
        days = (START + dt.timedelta(days=n) for n in range(2 * len(self.closes)))
        return [day for day in days if day.weekday() < 5][: len(self.closes)]

    @property
    def bars(self) -> list[Bar]:
        """As a provider gives them."""
        return [
            Bar(
                day,
                None if self.is_bare else close * 0.997,
                None if self.is_bare else close * 1.008,
                None if self.is_bare else close * 0.992,
                close,
                close * factor,
                1000,
                n in self.splits,
                n in self.dividends,
            )
            for n, (day, close, factor) in enumerate(
                zip(self.days, self.closes, self.factors, strict=True)
            )
        ]

    @property
    def actions(self) -> list[Action]:
        """What is told."""
        days = self.days
        return sorted(
            [Action(days[n], "dividend", value) for n, value in self.dividends.items()]
            + [Action(days[n], "split", value) for n, value in self.splits.items()]
        )

    def checked(self) -> Report:
        """What validation says."""
        return validate(self.bars, self.days, actions=self.actions)


def good(
    seed: int = 1,
    *,
    spread: float = 0.012,
    payout: float = 0.015,
    split: float | None = None,
    at: int = SPLIT_AT,
    crash: float | None = None,
    sessions: int = SESSIONS,
) -> Series:
    """A series without a defect. payout: of a dividend, as a share of the price.

    split: told, and in the closes. crash: the factor of one day's close, 150 sessions in.
    """
    chance = random.Random(seed)  # noqa: S311 - prices, no secrets
    closes: list[float] = []
    dividends: dict[int, float] = {}
    price = 80.0
    for n in range(sessions):
        price *= math.exp(chance.gauss(0, spread))
        if n == 150 and crash:
            price *= crash
        if payout and n in EX_DATES:
            dividends[n] = round(closes[-1] * payout * chance.uniform(0.95, 1.05), 4)
            price -= dividends[n]
        closes.append(round(price, 4))
    splits = {at: split} if split else {}
    return Series(closes, factors(closes, dividends), dividends, splits)


def factors(closes: Sequence[float], dividends: dict[int, float]) -> list[float]:
    """The factors of the adjusted closes, by the usual formula."""
    found, factor = [], 1.0
    for n in reversed(range(len(closes))):
        found.append(factor)
        if n in dividends:
            factor *= 1 - dividends[n] / closes[n - 1]
    return found[::-1]


Edit = Callable[[float], float]


def dividends(series: Series, places: Sequence[int], told: Edit, applied: Edit) -> Series:
    """Change what is told and what the adjusted closes have of some dividends."""
    given = {n: told(value) if n in places else value for n, value in series.dividends.items()}
    had = {n: applied(value) if n in places else value for n, value in series.dividends.items()}
    return replace(
        series,
        factors=factors(series.closes, had),
        dividends={n: value for n, value in given.items() if value},
    )


def moved(series: Series, by: int, *, applied: bool = False) -> Series:
    """Tell the third dividend on another day; applied: the adjusted closes have it there too."""
    at = EX_DATES[2]
    told = dict(series.dividends)
    told[at + by] = told.pop(at)
    had = factors(series.closes, told) if applied else series.factors
    return replace(series, dividends=told, factors=had)


def again(series: Series, *, after: int = 2, applied: bool = True) -> Series:
    """Tell the third dividend twice."""
    at = EX_DATES[2]
    told = series.dividends | {at + after: series.dividends[at]}
    had = factors(series.closes, told) if applied else series.factors
    return replace(series, dividends=dict(sorted(told.items())), factors=had)


def scaled(series: Series, places: range, factor: float) -> Series:
    """Multiply the closes, and with them the adjusted ones, of a range."""
    closes = [close * factor if n in places else close for n, close in enumerate(series.closes)]
    return replace(series, closes=closes)


def unsplit(ratio: float, late: int = 0) -> Callable[[int], tuple[Series, Series]]:
    """A split that is not in the closes before it. late: sessions from the split to the step."""

    def make(seed: int) -> tuple[Series, Series]:
        series = good(seed, split=ratio, payout=0.0)
        return scaled(series, range(SPLIT_AT + late), ratio), series

    return make


def split_twice(ratio: float, late: int = 0) -> Callable[[int], tuple[Series, Series]]:
    """A split that the closes before it have twice."""

    def make(seed: int) -> tuple[Series, Series]:
        series = good(seed, split=ratio, payout=0.0)
        return scaled(series, range(SPLIT_AT + late), 1 / ratio), series

    return make


def one_off(ratio: float, at: int) -> Callable[[int], tuple[Series, Series]]:
    """One bar on the other side of a split."""

    def make(seed: int) -> tuple[Series, Series]:
        series = good(seed, split=ratio, payout=0.0)
        return scaled(series, range(SPLIT_AT + at, SPLIT_AT + at + 1), ratio), series

    return make


def unit(places: range, factor: float) -> Callable[[int], tuple[Series, Series]]:
    """Some closes in another unit."""

    def make(seed: int) -> tuple[Series, Series]:
        series = good(seed, payout=0.0)
        return scaled(series, places, factor), series

    return make


def paid(
    edit: Callable[[Series], Series], **options: Any
) -> Callable[[int], tuple[Series, Series]]:
    """A defect of the dividends."""

    def make(seed: int) -> tuple[Series, Series]:
        series = good(seed, **options)
        return edit(series), series

    return make


def gain_twice(gain: float) -> Callable[[int], tuple[Series, Series]]:
    """A fund's capital gain, part of the told dividend, is taken off the closes once more."""

    def make(seed: int) -> tuple[Series, Series]:
        series = good(seed, spread=0.007, payout=gain * 1.1)
        return dividends(series, EX_DATES[3:4], same, lambda v: v * (2.1 / 1.1)), series

    return make


def same(value: float) -> float:
    return value


ONE, ALL = EX_DATES[2:3], EX_DATES

KINDS: dict[str, Callable[[int], tuple[Series, Series]]] = {
    "dividend missed: one": paid(lambda s: dividends(s, ONE, same, lambda _: 0)),
    "dividend missed: the last": paid(lambda s: dividends(s, EX_DATES[-1:], same, lambda _: 0)),
    "dividend missed: all": paid(lambda s: dividends(s, ALL, same, lambda _: 0)),
    "dividend missed: a small one": paid(
        lambda s: dividends(s, ONE, same, lambda _: 0), payout=0.003
    ),
    "dividend doubled: applied twice": paid(lambda s: dividends(s, ONE, same, lambda v: 2 * v)),
    "dividend doubled: all applied twice": paid(lambda s: dividends(s, ALL, same, lambda v: 2 * v)),
    "dividend doubled: told and applied twice": paid(again),
    "dividend doubled: told twice, applied once": paid(lambda s: again(s, after=3, applied=False)),
    "dividend x100: told, one": paid(lambda s: dividends(s, ONE, lambda v: 100 * v, same)),
    "dividend x100: told, all": paid(lambda s: dividends(s, ALL, lambda v: 100 * v, same)),
    "dividend x100: told and applied": paid(
        lambda s: dividends(s, ONE, lambda v: 100 * v, lambda v: 100 * v), payout=0.003
    ),
    "dividend x100: above the price": paid(
        lambda s: dividends(s, ONE, lambda v: 100 * v, lambda v: 100 * v)
    ),
    "dividend /100: told, one": paid(lambda s: dividends(s, ONE, lambda v: v / 100, same)),
    "dividend /100: applied, one": paid(lambda s: dividends(s, ONE, same, lambda v: v / 100)),
    "dividend /100: applied, all": paid(lambda s: dividends(s, ALL, same, lambda v: v / 100)),
    "dividend /100: told and applied": paid(
        lambda s: dividends(s, ONE, lambda v: v / 100, lambda v: v / 100)
    ),
    "dividend shifted: a day early": paid(lambda s: moved(s, -1)),
    "dividend shifted: a week late": paid(lambda s: moved(s, 5)),
    "dividend shifted: and applied there": paid(
        lambda s: moved(s, 2, applied=True), payout=0.08, spread=0.008
    ),
    "dividend shifted: applied, not told": paid(lambda s: dividends(s, ONE, lambda _: 0, same)),
    "dividend of the day before its split": paid(
        lambda s: dividends(s, ONE, lambda v: 5 * v, same), split=5.0, at=EX_DATES[2]
    ),
    "capital gain twice: large": gain_twice(0.25),
    "capital gain twice: usual": gain_twice(0.08),
    "capital gain twice: small": gain_twice(0.02),
    "split missed: 2:1": unsplit(2.0),
    "split missed: 1:190": unsplit(1 / 190),
    "split missed: 31:1000": unsplit(0.031),
    "split missed: told a day early": unsplit(2.0, 1),
    "split shifted: the step a day before": unsplit(5.0, -1),
    "split shifted: the step six days before": unsplit(0.4406, -6),
    "split doubled": split_twice(3.0),
    "split doubled: the step five days after": split_twice(0.1, 5),
    "split of one bar: two days before": one_off(0.1, -2),
    "split of one bar: its own day": one_off(10.0, 0),
    "unit: a bar": unit(range(200, 201), 100.0),
    "unit: a block": unit(range(200, 240), 0.01),
    "unit: for good": unit(range(300, SESSIONS), 0.01),
}
assert len(KINDS) == 37

CLEAN: dict[str, Callable[[int], Series]] = {
    "no dividends": lambda seed: good(seed, payout=0.0),
    "dividends": good,
    "small dividends": lambda seed: good(seed, payout=0.001),
    "a dividend of a tenth": lambda seed: good(seed, payout=0.1),
    "a split": lambda seed: good(seed, split=4.0),
    "a crash": lambda seed: good(seed, crash=0.5),
    "a wild share": lambda seed: good(seed, spread=0.05, split=0.1),
}


def found(report: Report) -> bool:
    """Whether anything is said that doubts the answer, or that a bar was mended."""
    return report.grade != "accepted" or any("mended" in note for note in report.notes)


def figures(seeds: Sequence[int]) -> dict[str, tuple[int, int]]:
    """How often each kind is found, and how often its series without the defect is."""
    pairs = {kind: [make(seed) for seed in seeds] for kind, make in KINDS.items()}
    return {
        kind: (
            sum(found(bad.checked()) for bad, _ in made),
            sum(found(whole.checked()) for _, whole in made),
        )
        for kind, made in pairs.items()
    }


def lines(seeds: Sequence[int]) -> list[str]:
    """The figures, a line for each kind and each clean series."""
    kinds = [
        f"{kind:45} found {right:3} of {len(seeds)}, false {false}"
        for kind, (right, false) in figures(seeds).items()
    ]
    clean = [
        f"clean: {kind:38} false {sum(found(make(seed).checked()) for seed in seeds)}"
        for kind, make in CLEAN.items()
    ]
    return [*kinds, *clean]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines(range(40))) + "\n")
