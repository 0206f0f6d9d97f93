"""The leases that a worker's threads work on, and its unconfirmed claims.

A claim whose answer was lost may have been committed: then events are leased to this worker that
none of its threads works on. Until the main thread has handed those back, the heartbeat renews
every lease of the worker, because the unknown ones cannot be named.
"""

import threading
from collections.abc import Iterable

from worker.queue.outbox import Claim


class InFlight:
    """The leases of one worker, shared by all its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: dict[int, str] = {}  # the topic of each
        self._unconfirmed = 0
        self._handed_back = 0

    def __len__(self) -> int:
        """Count the events that a thread works on or has queued."""
        return len(self._leases)

    def count(self, topics: Iterable[str]) -> int:
        """Count those of these topics."""
        wanted = {*topics}
        with self._lock:
            return sum(topic in wanted for topic in self._leases.values())

    @property
    def leases(self) -> list[int]:
        """The leases of these events."""
        with self._lock:
            return list(self._leases)

    def add(self, claims: Iterable[Claim]) -> None:
        """Add events that a thread takes over."""
        with self._lock:
            self._leases.update({claim.lease: claim.topic for claim in claims})

    def remove(self, claims: Iterable[Claim]) -> None:
        """Remove events that ended or were given up."""
        with self._lock:
            for claim in claims:
                self._leases.pop(claim.lease, None)

    def unconfirmed(self) -> None:
        """Count an unconfirmed claim, or an event that could not be ended."""
        with self._lock:
            self._unconfirmed += 1

    @property
    def unconfirmed_count(self) -> int:
        """How many so far; a number, because another may follow while these are handed back."""
        return self._unconfirmed

    @property
    def is_certain(self) -> bool:
        """Whether a thread works on every lease of this worker."""
        return self._unconfirmed == self._handed_back

    def handed_back(self, count: int) -> None:
        """Record that all were handed back, as of `unconfirmed_count`."""
        self._handed_back = count
