"""When this process did not get to run: seconds that nobody's lock is to blame for."""

import threading
import time

# Between two breaths, and what is more than a thread's late turn.
_BREATH_SECONDS, _STALL_SECONDS = 0.01, 0.1


class Stalls:
    """Breathes all the time, in a thread of its own; whoever does not breathe is not running."""

    def __init__(self) -> None:
        self._stalls: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._breathe, name="stalls")
        self._thread.start()

    def end(self) -> None:
        """Breathe no more; what was seen can be asked for then."""
        self._over.set()
        self._thread.join()

    def within(self, began: float, ended: float) -> float:
        """How many seconds between these two (time.monotonic) were stalls."""
        overlaps = (min(ended, end) - max(began, start) for start, end in self._stalls)
        return sum(overlap for overlap in overlaps if overlap > 0)

    def _breathe(self) -> None:
        last = time.monotonic()
        while not self._over.is_set():
            self._over.wait(_BREATH_SECONDS)
            now = time.monotonic()
            if now - last > _STALL_SECONDS:
                self._stalls.append((last, now))
            last = now
