"""Where the next claim begins: behind the last one, and now and then at the very beginning.

While a transaction holds an old snapshot, PostgreSQL keeps a dead copy of every event that was
claimed since, and a claim that starts at the beginning of its index reads them all. So the
worker remembers where its last claim ended and goes on from there. What lies before that place
(a transaction that committed late, an event whose key was busy, one that another worker's
rollback gave back) is found by a look from the beginning, which may take a fiftieth of the
time: on a healthy database it takes about a millisecond and so is the rule, behind 100,000
dead copies it comes every few seconds.
"""

import time
from collections.abc import Callable, Sequence

from worker.queue.outbox import Claim, Places, Topic

_SHARE = 50
_LONGEST_SECONDS = 10.0


class Frontier:
    """The places up to which each topic was claimed. clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[Topic, Places] = {}
        self._whole_at: dict[Topic, float] = {}  # when to begin at the beginning again
        self._owed: set[Topic] = set()  # whose last claim did not begin there

    def places(self, topic: Topic) -> Places:
        """Where a claim of this topic is to begin; empty: at the beginning."""
        if self._clock() >= self._whole_at.get(topic, 0.0):
            return {}
        return dict(self._places.get(topic, {}))

    def claimed(self, topic: Topic, claims: Sequence[Claim], seconds: float, began: Places) -> None:
        """Note a claim that began at `began`, how long it took and what it brought."""
        if began:
            self._owed.add(topic)
        else:
            self._owed.discard(topic)
            self._whole_at[topic] = self._clock() + min(_SHARE * seconds, _LONGEST_SECONDS)
        places = self._places.setdefault(topic, {})
        for claim in claims:  # of each priority the last one stays
            places[claim.priority] = (claim.available_at, claim.id)

    def seconds_owed(self, topics: Sequence[Topic]) -> float | None:
        """Seconds until the look from the beginning that one of these topics still needs; None: none."""
        moments = [self._whole_at[topic] for topic in topics if topic in self._owed]
        return max(0.0, min(moments) - self._clock()) if moments else None

    def forget(self) -> None:
        """Begin at the beginning next time."""
        self._places.clear()
