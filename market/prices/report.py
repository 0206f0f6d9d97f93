"""The data that a batch is compared with (`Known`), and its grade (`Report`).

The score is 1 minus, for each part, its weight times what it lacks, and never below 0:

| part | 1 means | weight |
|---|---|---|
| rows | every row given can be a bar: its session, numbers, order | 1 |
| units | no price is a hundred or a thousand times off its neighbours or the stored ones | 1 |
| splits | the closes are adjusted for every split that is known | 1 |
| stored | where stored bars are met, it is the same instrument | 1 |
| jumps | no close moved by more than a quarter without a split or a dividend | 0.5 |
| sessions | a bar for each session from the first bar on | 0.3 |

So missing sessions alone never refuse a batch (a halted stock has none), and four rejected rows in
ten do. The first, second, fifth and sixth are shares of the batch; the others are 0 or 1.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from market.providers.base import Action, Bar, IntradayBar

LEAST_SCORE = 0.6
# A share of the sessions: fewer holes are days without trades, and no doubt about the others.
MANY = 0.05
WEIGHTS = {"rows": 1.0, "units": 1.0, "splits": 1.0, "stored": 1.0, "jumps": 0.5, "sessions": 0.3}


@dataclass(frozen=True)
class Known:
    """The stored data of a symbol before the batch came.

    begun: the calendar's last session that has opened; None: the last one of the request. closes:
    the stored closes that a provider of ours gave, in the batch's range and one before it. actions:
    the splits and dividends of all providers. others: closes that other programs stored, in the
    batch's range. last_bar: the last stored bar's date. is_refetch: the batch is not compared with
    stored bars. currency: of the stored bars, as the provider wrote it.
    """

    begun: dt.date | None = None
    closes: Mapping[dt.date, float] = field(default_factory=dict)
    actions: Sequence[Action] = ()
    others: Mapping[dt.date, float] = field(default_factory=dict)
    last_bar: dt.date | None = None
    is_refetch: bool = False
    currency: str | None = None


@dataclass
class Report:
    """The grade of a batch.

    bars: those that may be stored, ascending by date. actions: those of the answer that can be
    splits and dividends. rejected, flags, notes: one line each, beginning with the date where
    there is one. flags: doubts about the batch. notes: what is odd and leaves the close in no doubt,
    such as a field that was left out, or a crash. left_out: the names of these fields, with commas, by
    date. parts: 0 to 1 each, as in the table above.
    expected, missing: sessions from the first bar on, and how many of them have no bar. given: rows,
    without those of sessions that are not over, or without prices. has_new_basis: the bars cannot
    stand beside the stored ones. intraday: the bars of a batch of five-minute bars, which has no others.
    """

    bars: list[Bar] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: dict[dt.date, str] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(WEIGHTS, 1.0))
    faults: list[str] = field(default_factory=list)  # of the batch as a whole
    given: int = 0
    expected: int = 0
    missing: int = 0
    has_new_basis: bool = False
    intraday: list[IntradayBar] = field(default_factory=list)

    @property
    def has_bars(self) -> bool:
        """Whether there are bars, of either interval."""
        return bool(self.bars or self.intraday)

    @property
    def score(self) -> float:
        """0 to 1; see the module's table."""
        lack = sum(WEIGHTS[name] * (1 - part) for name, part in self.parts.items())
        return round(max(0.0, 1 - lack), 4) if self.has_bars else 0.0

    @property
    def grade(self) -> str:
        """`refused`, `flagged` or `accepted`."""
        if self.score < LEAST_SCORE:
            return "refused"
        return "flagged" if self.flags or self.rejected else "accepted"

    @property
    def reason(self) -> str:
        """Why the batch is refused, in one line."""
        first = [*self.faults, *self.rejected, *self.flags, *self.notes][:1]
        if not self.has_bars:
            return f"none of {self.given} bars is usable: {first[0] if first else 'no rows'}"
        worst = min(self.parts, key=lambda name: WEIGHTS[name] * (self.parts[name] - 1))
        return (
            f"score {self.score:.2f} for its {worst}: {first[0] if first else 'too few sessions'}"
        )
