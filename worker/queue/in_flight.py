"""What a worker has in flight: the leases that its threads work on, and claims that are unconfirmed.

A claim whose answer was lost may have been committed: then events are leased to this worker that
none of its threads knows. Until the main thread has handed those back, every lease of the worker is
renewed, because nobody can say which ones are unknown.
"""

import threading
from collections.abc import Iterable

from worker.queue.outbox import Claim


class InFlight:
    """Counts of one worker, shared by all its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: set[int] = set()
        self._unconfirmed = 0
        self._handed_back = 0

    def __len__(self) -> int:
        """Events that a thread works on, or is about to."""
        return len(self._leases)

    @property
    def leases(self) -> list[int]:
        """The leases of these events."""
        with self._lock:
            return list(self._leases)

    def add(self, claims: Iterable[Claim]) -> None:
        """These events are in a thread's hands."""
        with self._lock:
            self._leases.update(claim.lease for claim in claims)

    def remove(self, claims: Iterable[Claim]) -> None:
        """These events ended, or were given up."""
        with self._lock:
            self._leases.difference_update(claim.lease for claim in claims)

    def unconfirmed(self) -> None:
        """The answer to a claim was lost, or an event could not be ended."""
        with self._lock:
            self._unconfirmed += 1

    @property
    def unconfirmed_count(self) -> int:
        """How often that happened: a number, because it may happen again during a handing back."""
        return self._unconfirmed

    @property
    def is_certain(self) -> bool:
        """Whether every lease of this worker is in a thread's hands."""
        return self._unconfirmed == self._handed_back

    def handed_back(self, count: int) -> None:
        """Everything unknown was handed back as of `unconfirmed_count`."""
        self._handed_back = count
