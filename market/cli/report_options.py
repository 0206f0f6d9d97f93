"""What the commands of reports ask: their options, and the filters that they share."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from market.evaluation.records import GROUPINGS, TIMES
from market.settings import BenchmarkSettings
from sql.errors import InvalidInput, ReckonerError
from sql.settings import load


class Horizon(StrEnum):
    """Sessions after the entry."""

    T1 = "t1"
    T3 = "t3"
    T7 = "t7"
    T30 = "t30"
    ALL = "all"


class Grouping(StrEnum):
    """The groupings of an accuracy report, those of `records.GROUPINGS`."""

    SYMBOL = "symbol"
    SENTIMENT = "sentiment"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    SECTOR = "sector"
    ASSET_CLASS = "asset_class"
    SOURCE = "source"
    MODEL = "model"
    CONFIDENCE = "confidence"


class Form(StrEnum):
    """How a report is written; a table is TSV in a pipe."""

    TABLE = "table"
    JSON = "json"
    MD = "md"
    HTML = "html"


HorizonOption = Annotated[
    Horizon, typer.Option("-t", "--horizon", help="Sessions after the entry.")
]
ConfidenceOption = Annotated[
    float | None,
    typer.Option("-c", "--min-confidence", min=0, max=1, help="Only predictions at least so sure."),
]
SinceOption = Annotated[
    dt.datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="First UTC day of the posts."),
]
UntilOption = Annotated[
    dt.datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Last UTC day of the posts."),
]
FormOption = Annotated[
    Form, typer.Option("--format", help="html is one self-contained page; needs the extra plots.")
]
PlotsOption = Annotated[
    Path | None,
    typer.Option(
        "--plots", metavar="DIR", help="Write pictures there, as PNG; needs the extra plots."
    ),
]
WideOption = Annotated[bool, typer.Option("--wide", help="Every table, not only the answer.")]
CompareOption = Annotated[
    str | None,
    typer.Option(
        metavar="model=A,B",
        help="Who is right more often, on what both were judged on: model, source, sector, ….",
    ),
]

# Why nothing can be grouped by a column, which a source may lack.
NO_VALUES = {
    "model": "no prediction here names its model (predictions.llm_model)",
    "sector": (
        "no ticker here has one; fill prediction_outcomes.sector, or a column sector of"
        " ticker_registry"
    ),
    "source": (
        "no prediction here says where its text comes from (signals.source, predictions.source, or"
        " a post in truth_social_shitposts)"
    ),
}


class Filters:
    """The outcomes that the options select."""

    def __init__(
        self,
        horizon: Horizon,
        min_confidence: float | None,
        since: dt.datetime | None,
        until: dt.datetime | None,
    ) -> None:
        self.horizons = [
            h.value for h in Horizon if h is not Horizon.ALL and horizon in {h, Horizon.ALL}
        ]
        self.min_confidence = min_confidence
        self.since = since and since.date()
        self.until = until and until.date()
        if self.since and self.until and self.since > self.until:
            raise InvalidInput(
                f"--since {self.since} is after --until {self.until}: the first day goes first"
            )
        self.benchmark = load(BenchmarkSettings).benchmark_symbol

    def about(self) -> dict[str, Any]:
        """Return the filters by name, as the frame takes them."""
        return dict(vars(self))

    def words(self) -> list[str]:
        """Return the filters as a person reads them; none for what is not filtered."""
        given = {
            "confidence at least ": self.min_confidence,
            "posts since ": self.since,
            "posts until ": self.until,
        }
        words = [f"{name}{value}" for name, value in given.items() if value is not None]
        if len(self.horizons) == 1:
            words.insert(0, f"only T+{self.horizons[0].removeprefix('t')}")
        return words


@dataclass(frozen=True)
class Sides:
    """What `--compare` asked for: a grouping, and the names of two of its groups."""

    by: str
    names: str  # as given; a name may hold a comma

    @classmethod
    def of(cls, text: str) -> "Sides":
        """Read `model=A,B`. Raises InvalidInput."""
        by, equals, names = text.partition("=")
        by = by.strip()
        possible = [name for name in GROUPINGS if name not in TIMES]
        if not equals or "," not in names:
            raise InvalidInput(f"--compare {text}: write it as model=A,B")
        if by in TIMES:
            raise InvalidInput(
                f"--compare {by}: two of them share no session; --by {by} shows them one by one"
            )
        if by not in possible:
            raise InvalidInput(f"--compare {by}: one of {', '.join(possible)}")
        sides = cls(by, names)
        for name in sides.first():
            if not name:
                raise InvalidInput(f"--compare {text}: a name is empty; write it as model=A,B")
        return sides

    def first(self) -> tuple[str, str]:
        """Return the names by the first comma, for where none is known."""
        left, _, right = self.names.partition(",")
        return left.strip(), right.strip()

    def among(self, known: list[str]) -> tuple[str, str]:
        """Find both names among the known groups, in any case. Raises where there is none such."""
        spelled = {name.casefold(): name for name in known}
        parts = self.names.split(",")
        for n in range(1, len(parts)):
            both = [",".join(part).strip().casefold() for part in (parts[:n], parts[n:])]
            if all(name in spelled for name in both):
                left, right = (spelled[name] for name in both)
                if left == right:
                    raise InvalidInput(f"--compare {self.by}: {left} twice")
                return left, right
        lost = [name for name in self.first() if name.casefold() not in spelled]
        listed = ", ".join(known[:8]) + (f", and {len(known) - 8} more" if len(known) > 8 else "")
        raise ReckonerError(
            f"--compare {self.by}: no outcome here has {' or '.join(lost)}, but {listed}"
        )
