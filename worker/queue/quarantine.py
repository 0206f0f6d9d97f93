"""Quarantine: runs crashed events one at a time, with nothing else in flight.

An event that its worker did not survive may take the next worker with it. Alone it takes no other
event with it, and it is the one that is counted.
"""

from collections.abc import Sequence

import structlog

from worker.queue.claimer import Claimer
from worker.queue.in_flight import InFlight
from worker.queue.lanes import LaneRunner

log = structlog.get_logger()


class Quarantine:
    """The crashed events of the queue, as one worker sees them."""

    def __init__(self, claimer: Claimer, lanes: Sequence[LaneRunner], in_flight: InFlight) -> None:
        self._claimer = claimer
        self._lanes = {runner.lane.topic: runner for runner in lanes}
        self._in_flight = in_flight
        self.is_due = True  # there may be some from before

    def run(self) -> bool:
        """Start one crashed event, once nothing is in flight; True when that changed anything.

        Until it ends nothing else is claimed.
        """
        if len(self._in_flight):
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
