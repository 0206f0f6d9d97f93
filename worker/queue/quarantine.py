"""Quarantine: runs crashed events one at a time, with nothing else in flight.

A crashed event may crash the next worker too. Run alone, it cannot crash other events with it, and
the crash is counted for this event only.
"""

from collections.abc import Sequence

import structlog

from worker.queue.claimer import Claimer
from worker.queue.in_flight import InFlight
from worker.queue.lanes import LaneRunner

log = structlog.get_logger()


class Quarantine:
    """Runs crashed events, one at a time, for one worker."""

    def __init__(self, claimer: Claimer, lanes: Sequence[LaneRunner], in_flight: InFlight) -> None:
        self._claimer = claimer
        # An event of a long lane never crashes alone: its run counts the crashes (66_runs.sql).
        self._lanes = {r.lane.topic: r for r in lanes if not r.lane.is_long}
        self._in_flight = in_flight
        self.is_due = True  # an earlier worker may have crashed

    @property
    def waits(self) -> bool:
        """Whether events are in flight that must end first."""
        return self._in_flight.count(self._lanes) > 0

    def run(self) -> bool:
        """Start one crashed event once nothing is in flight; True when the loop may go on at once.

        Nothing else is claimed until the event ends.
        """
        if self.waits:
            return False
        # Of our topics: one that only another version knows would end this worker, again and again.
        claim = self._claimer.claim_crashed(list(self._lanes))
        if claim is None:
            self.is_due = False
            return True
        log.info(
            "retrying alone", id=claim.id, topic=claim.topic, key=claim.key, crashes=claim.crashes
        )
        runner = self._lanes[claim.topic]
        if runner.lane.inline:
            runner.work_here([claim])
        else:
            runner.hand_over([claim])
        return True
