"""The claim cursor: where the next claim begins, and when a full scan is due instead.

While a transaction holds an old snapshot, PostgreSQL keeps a dead copy of every event that was
claimed since, and a claim that starts at the beginning of its index reads them all. So the worker
keeps the position of its last claim and continues there. A full scan finds events before that
position (a transaction that committed late, an event whose key was busy, one that another worker's
rollback gave back). Full scans may take a fiftieth of the time: on a healthy database one takes
about a millisecond and so is the rule, behind 100,000 dead copies one comes every few seconds.
"""

import time
from collections.abc import Callable, Sequence

from worker.queue.outbox import Claim, Position

_SHARE = 50
_LONGEST_SECONDS = 10.0


class ClaimCursor:
    """The position up to which each topic was claimed. clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._positions: dict[str, Position] = {}
        self._full_scan_at: dict[str, float] = {}  # when the next full scan may begin
        self._partial: set[str] = set()  # the topics whose last claim was not a full scan

    def position(self, topic: str) -> Position:
        """Return where a claim of this topic is to begin; empty: a full scan."""
        if self._clock() >= self._full_scan_at.get(topic, 0.0):
            return {}
        return dict(self._positions.get(topic, {}))

    def record(self, topic: str, claims: Sequence[Claim], seconds: float, began: Position) -> None:
        """Record a claim: its position, its duration and its events."""
        if began:
            self._partial.add(topic)
        else:
            self._partial.discard(topic)
            self._full_scan_at[topic] = self._clock() + min(_SHARE * seconds, _LONGEST_SECONDS)
        position = self._positions.setdefault(topic, {})
        for claim in claims:  # of each priority the last one stays
            position[claim.priority] = (claim.available_at, claim.id)

    def seconds_to_full_scan(self, topics: Sequence[str]) -> float | None:
        """Seconds until the full scan that one of these topics still needs; None: none does."""
        moments = [self._full_scan_at[topic] for topic in topics if topic in self._partial]
        return max(0.0, min(moments) - self._clock()) if moments else None

    def reset(self) -> None:
        """Make the next claim of every topic a full scan."""
        self._positions.clear()
