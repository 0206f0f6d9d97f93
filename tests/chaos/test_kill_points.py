"""A worker is killed with -9 at each named point of an event's way.

The point is held by a lock of the test's: the worker waits just there, in the middle of its
transaction, when it dies.
"""

import signal
import time

import pytest

from tests.chaos.world import LEASE_SECONDS, World, tell
from tests.support.db import value
from tests.support.locks import locked, until_worker_waits
from tests.support.market import insert_prediction
from tests.support.process import LASTING
from tests.support.queue import history
from tests.support.waiting import until

# A worker of these tests sweeps once, at its start: what waits for a lock is the event's.
_NO_SWEEP = {"WORKER_SWEEP_SECONDS": "86400"}
# Between the end of a lease and the next look at the queue, on a busy machine. A worker that
# nothing wakes looks after sixty.
_SLACK_SECONDS = 20.0


def _predict(world: World) -> tuple[str, str]:
    number = insert_prediction(world.conn, ["TICK0", "TICK1"], {"TICK0": "bullish"})
    return "prediction", str(number)


def _ask_again(world: World) -> tuple[str, str]:
    value(world.conn, "SELECT outbox_requeue_ticker('TICK0')")
    return "ticker", "TICK0"


# Point: table, its lock, the statement that waits for it, and what starts the event.
_POINTS = {
    "after claim": ("ticker_registry", "ACCESS EXCLUSIVE", "outcomes_process", _predict),
    "after registering": ("prediction_outcomes", "ACCESS EXCLUSIVE", "outcomes_process", _predict),
    "after outcomes before commit": ("outbox_history", "SHARE", "outbox_finish", _predict),
    "between fetch and store": ("market_prices", "SHARE", "bars_", _ask_again),
    "between bars and snapshot": ("market_snapshot", "SHARE", "snapshot_store", _ask_again),
    "after store before commit": ("outbox_history", "SHARE", "outbox_finish", _ask_again),
}


def known(world: World) -> None:
    """Have both tickers known, and one prediction that has its outcomes."""
    insert_prediction(world.conn, ["TICK0", "TICK1"], {"TICK0": "bullish"})
    until("prices are there", lambda: value(world.conn, "SELECT count(*) FROM market_prices") > 0)
    world.settle()


@pytest.mark.parametrize("point", _POINTS)
def test_a_worker_killed_within_an_event_costs_it_one_crash_and_a_lease(
    world: World, point: str
) -> None:
    table, mode, statement, begin = _POINTS[point]
    first, second = world.start_ready(2, **_NO_SWEEP)
    known(world)
    if begin is _ask_again:
        # Nothing is left of what the fetch brings, so all of it has to be written once more.
        world.conn.execute("DELETE FROM market_prices WHERE symbol = 'TICK0'")
        world.conn.execute("UPDATE prediction_outcomes SET price_t1 = NULL WHERE symbol = 'TICK0'")
    world.freeze(second)
    with locked(world.url, table, mode):
        topic, key = begin(world)
        until_worker_waits(world.conn, table, statement)
        done = len(history(world.conn, key, topic))
        first.kill()
        second.signal(signal.SIGCONT)
        killed = time.monotonic()
    until(f"{key} is done", lambda: len(history(world.conn, key, topic)) > done, 60)
    waited = time.monotonic() - killed
    tell(f"{point}: done {waited:.1f} s after the kill, the lease is {LEASE_SECONDS:.0f} s")
    assert waited < LEASE_SECONDS + _SLACK_SECONDS
    end = history(world.conn, key, topic)[-1]
    assert (end["verdict"], end["crashes"], end["attempts"]) == ("done", 1, 0)
    assert second.saw("retrying alone", id=end["id"], crashes=1)
    world.check()


def test_a_worker_killed_between_a_commit_and_its_next_claim_costs_nothing(world: World) -> None:
    [first] = world.start_ready(
        1, **_NO_SWEEP, WORKER_BATCH_SIZE="1", WORKER_PREDICTION_CONCURRENCY="1"
    )
    known(world)
    done = "SELECT count(*) FROM outbox_history"

    def caught() -> bool:
        before = value(world.conn, done)
        with world.conn.transaction():
            for _ in range(5):
                _predict(world)
        while value(world.conn, done) == before:  # without until's pauses, to catch the moment
            pass
        first.signal(signal.SIGSTOP)
        if world.is_at_rest() and world.ask("SELECT count(*) FROM outbox WHERE lease IS NULL"):
            return True
        first.signal(signal.SIGCONT)
        return False

    until("the worker is caught between a commit and its next claim", caught, 60)
    first.kill()
    world.start_ready(1, **LASTING)
    world.check()
    assert value(world.conn, "SELECT max(crashes) FROM outbox_history") == 0
