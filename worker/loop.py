"""The loop: claims events that can be started now, hands them to the lanes, else sleeps.

Only the main thread claims. So claiming can stop in one place: at shutdown, and while a crashed
event runs alone.
"""

import math
from collections.abc import Callable, Sequence

import psycopg
import structlog

from sql.away import may_be_away
from sql.database import error_line
from worker.faults import Faults
from worker.jobs.ticks import Ticks
from worker.listening.doorbell import Doorbell
from worker.listening.idle_suspend import IdleSuspend
from worker.listening.sleeper import Sleeper
from worker.queue.claimer import Claimer
from worker.queue.in_flight import InFlight
from worker.queue.lanes import LaneRunner
from worker.queue.quarantine import Quarantine
from worker.retry import until_no_error
from worker.shutdown import Shutdown

log = structlog.get_logger()


class Loop:
    """One worker's main thread. drain: end when nothing is ready and nothing is in flight.

    ticks: None where this worker does not look at the schedules. sweep: called after an idle suspend,
    because work that became due meanwhile has no event yet.
    """

    def __init__(
        self,
        lanes: Sequence[LaneRunner],
        claimer: Claimer,
        quarantine: Quarantine,
        ticks: Ticks | None,
        sleeper: Sleeper,
        doorbell: Doorbell,
        idle_suspend: IdleSuspend,
        in_flight: InFlight,
        shutdown: Shutdown,
        sweep: Callable[[], object],
        faults: Faults,
        *,
        drain: bool,
    ) -> None:
        self._lanes = lanes
        self._claimer = claimer
        self._quarantine = quarantine
        self._ticks = ticks
        self._sleeper = sleeper
        self._doorbell = doorbell
        self._idle_suspend = idle_suspend
        self._in_flight = in_flight
        self._shutdown = shutdown
        self._sweep = sweep
        self._faults = faults
        self._drain = drain

    def run(self) -> None:
        """Turn until shutdown or, draining, until nothing is left."""
        while not self._shutdown.is_due():
            if until_no_error(self._shutdown, "claiming events", self._turn, self._faults.note):
                return
        if not self._shutdown.requested.is_set():
            log.info("deadline reached")

    def crashes_found(self) -> None:
        """Schedule the quarantine of crashed events; called by the heartbeat's thread."""
        self._quarantine.is_due = True
        self._doorbell.wake()

    def _turn(self) -> bool:
        """Start events or rest; True when, draining, nothing is left to do."""
        return not self._shutdown.is_due() and not self._start_work() and self._rest()

    def _start_work(self) -> bool:
        """Claim and start events; True when there were any."""
        self._claimer.hand_back_unconfirmed()
        found = self._write_ticks()
        found |= self._quarantine.run() if self._quarantine.is_due else self._claim_all()
        if found or len(self._in_flight):
            self._idle_suspend.postpone()
        return found

    def _write_ticks(self) -> bool:
        """Write the ticks that are due; an error is noted, and stops no lane."""
        if self._ticks is None:
            return False
        try:
            found = self._ticks.write_due()
        except psycopg.Error as error:
            if may_be_away(error):
                raise
            self._faults.note("writing ticks", error_line(error))
            self._ticks.postpone()
            return False
        self._faults.note("writing ticks", None)
        return found

    def _claim_all(self) -> bool:
        """Claim for every lane; raises only when no other lane found work either."""
        found, error = False, None
        for runner in self._lanes:
            doing = f"claiming {runner.lane.topic} events"
            try:
                found |= self._claim(runner)
                self._faults.note(doing, None)
            except psycopg.Error as caught:
                # Otherwise a lane that cannot claim would stop those behind it.
                if may_be_away(caught):
                    raise
                self._faults.note(doing, error_line(caught))
                error = error or caught
        if error is not None and not found:
            raise error
        return found

    def _claim(self, runner: LaneRunner) -> bool:
        limit = runner.claimable
        claims = self._claimer.claim(runner.lane.topic, limit) if limit else []
        if claims:
            runner.start(claims)
            self._doorbell.disarm()
        return bool(claims)

    def _rest(self) -> bool:
        """Sleep until there may be work; True when, draining, nothing is left to do."""
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
        if due is not None and due <= 0 and not self._quarantine.waits:
            self._quarantine.is_due = (
                True  # an event that is ready and was not claimed may be a crashed one
            )
        self._sleeper.sleep(due, state, self._ticks.ask() if self._ticks else None)
        return False

    def _scanned_fully(self) -> bool:
        """Tell whether the last claims were full scans; if not, make the next ones so."""
        if self._claimer.seconds_to_full_scan() is None:
            return True
        self._claimer.scan_fully()
        return False

    def _seconds_to_next(self) -> float | None:
        """Seconds until the next event or tick is due; None where nothing is."""
        due = self._claimer.seconds_to_next()
        tick = self._ticks.ask() if self._ticks else math.inf
        return due if tick == math.inf else min(tick, math.inf if due is None else due)

    def _suspend(self) -> bool:
        """Suspend when no event is due soon; False without a suspend."""
        due = self._seconds_to_next
        seconds = self._idle_suspend.seconds(due())
        if seconds is None or not self._idle_suspend.take(seconds, self._shutdown.is_due, due):
            return False
        if not self._shutdown.is_due():
            until_no_error(self._shutdown, "sweeping", self._sweep, self._faults.note)
        return True
