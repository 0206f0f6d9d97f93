"""The faults of a worker: what it cannot do at present, for the log, `worker_status` and health.

A fault is an error that is no event's own. The thread that meets it only notes it here; the
heartbeat's thread writes it into the worker's row, so that no other thread depends on that write.
"""

import threading


class Faults:
    """What one worker cannot do, shared by all its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reasons: dict[str, str] = {}

    def note(self, doing: str, reason: str | None) -> None:
        """Record why an action fails; None: it succeeded."""
        if reason is None and doing not in self._reasons:
            return  # the usual case, for every batch
        with self._lock:
            if reason is None:
                self._reasons.pop(doing, None)
            else:
                self._reasons[doing] = reason

    @property
    def text(self) -> str | None:
        """All of them in one line; None where there is none."""
        with self._lock:
            found = [f"{doing}: {reason}" for doing, reason in sorted(self._reasons.items())]
        return "; ".join(found) or None
