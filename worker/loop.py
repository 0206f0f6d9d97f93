"""The loop: claims what can be started now, gives it to the lanes, sleeps when there is nothing.

The main thread alone claims. Because one thread claims, it can stop claiming: when the process is
to end, and while a crashed event runs alone.
"""

from collections.abc import Callable, Sequence

import structlog

from worker.listening.doorbell import Doorbell
from worker.listening.idle_suspend import IdleSuspend
from worker.listening.sleeper import Sleeper
from worker.queue.claimer import Claimer
from worker.queue.in_flight import InFlight
from worker.queue.lanes import LaneRunner
from worker.queue.quarantine import Quarantine
from worker.retry import until_available
from worker.shutdown import Shutdown

log = structlog.get_logger()


class Loop:
    """One worker's main thread. drain: end when nothing is ready and nothing is in flight.

    sweep: run after an idle suspend, because what became due meanwhile has no event yet.
    """

    def __init__(
        self,
        lanes: Sequence[LaneRunner],
        claimer: Claimer,
        quarantine: Quarantine,
        sleeper: Sleeper,
        doorbell: Doorbell,
        idle_suspend: IdleSuspend,
        in_flight: InFlight,
        shutdown: Shutdown,
        sweep: Callable[[], object],
        *,
        drain: bool,
    ) -> None:
        self._lanes = lanes
        self._claimer = claimer
        self._quarantine = quarantine
        self._sleeper = sleeper
        self._doorbell = doorbell
        self._idle_suspend = idle_suspend
        self._in_flight = in_flight
        self._shutdown = shutdown
        self._sweep = sweep
        self._drain = drain

    def run(self) -> None:
        """Turn until the worker is to end or, draining, until all is done."""
        while not self._shutdown.is_due():
            if until_available(self._shutdown, "claiming events", self._turn, any_error=True):
                return
        if not self._shutdown.requested.is_set():
            log.info("time is up")

    def crashes_found(self) -> None:
        """Some event crashed; called from the heartbeat's thread."""
        self._quarantine.is_due = True
        self._doorbell.wake()

    def _turn(self) -> bool:
        """Start what can be started, else rest; True when, draining, nothing is left to do."""
        return not self._shutdown.is_due() and not self._start_work() and self._rest()

    def _start_work(self) -> bool:
        """Claim and start what can be started now; True when that was anything."""
        self._claimer.hand_back_unconfirmed()
        found = self._quarantine.run() if self._quarantine.is_due else self._claim_all()
        if found or len(self._in_flight):
            self._idle_suspend.postpone()
        return found

    def _claim_all(self) -> bool:
        found = [self._claim(runner) for runner in self._lanes]
        return any(found)

    def _claim(self, runner: LaneRunner) -> bool:
        limit = runner.claimable
        claims = self._claimer.claim(runner.lane.topic, limit) if limit else []
        if claims:
            runner.start(claims)
            self._doorbell.disarm()
        return bool(claims)

    def _rest(self) -> bool:
        """Sleep until there may be work; True when there never will be (draining, all done)."""
        if self._drain:
            if len(self._in_flight):
                self._doorbell.sleep(0.5)
                return False
            return self._scanned_fully()
        if self._idle_suspend.is_due and self._suspend():
            return False
        state = self._sleeper.arm(self._start_work)
        if state is None:
            return False
        due = self._claimer.seconds_to_next()
        if due is not None and due <= 0 and not len(self._in_flight):
            self._quarantine.is_due = True  # what is ready and was not claimed may have crashed
        self._sleeper.sleep(due, state)
        return False

    def _scanned_fully(self) -> bool:
        """Whether the last claims were full scans; if not, the next ones are."""
        if self._claimer.seconds_to_full_scan() is None:
            return True
        self._claimer.scan_fully()
        return False

    def _suspend(self) -> bool:
        """Suspend if nothing is due for long; False when it was not the moment."""
        due = self._claimer.seconds_to_next
        seconds = self._idle_suspend.seconds(due())
        if seconds is None or not self._idle_suspend.take(seconds, self._shutdown.is_due, due):
            return False
        if not self._shutdown.is_due():
            until_available(self._shutdown, "sweeping", self._sweep)
        return True
