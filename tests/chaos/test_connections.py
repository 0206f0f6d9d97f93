"""Connections that are cut, deaf, or lost in the moment of a COMMIT."""

import random
import time

import pytest

from tests.chaos.backends import BACKENDS, LISTENING, terminate
from tests.chaos.relays import ForgetfulProxy
from tests.chaos.safeguards import BOTH, promised
from tests.chaos.world import LEASE_SECONDS, TICKERS, World, tell
from tests.support.db import value
from tests.support.market import insert_prediction
from tests.support.process import BELL_ONLY, SHORT, hears, recovered, until_asleep
from tests.support.proxy import DeafProxy
from tests.support.queue import history
from tests.support.waiting import until

_STORM_SECONDS = 4.0
_FEWEST_ENDED = 20
# Twice this leaves a slow machine several seconds beside the beat, its echo, and the next beat.
_HEARTBEAT_SECONDS = 8.0


def test_backends_terminated_at_random_lose_nothing_and_all_hear_again(world: World) -> None:
    # A lease three times as long as the heartbeat leaves the beat what it is told to be.
    # Two beats are less than the ten seconds after which an ear that stays away is tried again.
    beat = {"WORKER_HEARTBEAT_SECONDS": "4", "WORKER_LEASE_SECONDS": "12"}
    workers = world.start_ready(2, **beat)
    writer = world.writer()
    ended = 0
    with writer.working():
        storm = time.monotonic() + _STORM_SECONDS
        while time.monotonic() < storm or ended <= _FEWEST_ENDED:
            assert time.monotonic() < storm + 60, f"only {ended} backends came back to be ended"
            ended += terminate(world, f"{BACKENDS} ORDER BY random() LIMIT 1")
            time.sleep(random.uniform(0, 0.1))  # noqa: S311 - the fault itself
        until("both hear themselves", lambda: ears(world) == 2 and all(map(hears, workers)), 60)
        heard = [len(recovered(worker)) for worker in workers]
        began = time.monotonic()
        assert terminate(world, BACKENDS + LISTENING) == 2
        until(
            "both hear themselves again",
            lambda: all(len(recovered(w)) > n for w, n in zip(workers, heard, strict=True)),
        )
        seconds = time.monotonic() - began
        tell(f"{ended} backends ended; the ears were back after {seconds:.2f} s")
        assert seconds < 2 * 4
    # An event that loses its connection three times in a row may have ended the process itself,
    # so that costs it one attempt. At thirty ends a second this happens to a blameless one, too.
    world.check(writer, attempts=1)
    assert [worker.stop() for worker in workers] == [0, 0]


def until_beat(world: World) -> None:
    """Wait for the next heartbeat of the only worker."""
    query = "SELECT last_seen_at FROM worker_status"
    seen = value(world.conn, query)
    until("another heartbeat", lambda: value(world.conn, query) > seen)


def ears(world: World) -> int:
    """How many connections listen."""
    return len(world.conn.execute((BACKENDS + LISTENING).encode()).fetchall())


@BOTH
def test_a_deaf_listener_is_found_within_two_heartbeats_polls_and_heals(
    world: World, kept: bool
) -> None:
    beat = _HEARTBEAT_SECONDS if kept else 3600
    settings = {
        **BELL_ONLY,
        "WORKER_HEARTBEAT_SECONDS": str(beat),
        "WORKER_LEASE_SECONDS": str(3 * beat),
    }
    with DeafProxy(world.url) as proxy:
        [worker] = world.start_ready(1, **settings, LISTEN_DATABASE_URL=proxy.url)
        mode = "SELECT mode FROM worker_status"
        until("worker_status says that it hears", lambda: value(world.conn, mode) == "notify")
        # Its own beat, too, is still on its way when others see what it tells.
        until("it heard both its test and its beat", lambda: proxy.passed >= 2)
        proxy.swallow.set()
        began = time.monotonic()
        with promised(kept):
            until(
                "worker_status says that it polls",
                lambda: value(world.conn, mode) == "polling",
                2 * _HEARTBEAT_SECONDS,
            )
            tell(f"deafness was found after {time.monotonic() - began:.1f} s")
            state, message = world.check_health()["listening"]
            assert state == "warn"
            assert message.startswith("1 workers hear no notifications and poll every second")
            insert_prediction(world.conn, [TICKERS[0]])
            world.settle(30)  # without the poll it would look after sixty
        if not kept:
            return
        proxy.swallow.clear()
        worker.wait_for("listening", mode="notify", recovered=True)
        until(
            "health says so",
            lambda: world.check_health()["listening"][0] == "ok",
        )
    world.check()


@pytest.mark.parametrize("statement", ["outbox_claim(", "outbox_finish("])
def test_a_commit_whose_answer_is_lost_delays_nothing_longer_than_a_lease(
    world: World, statement: str
) -> None:
    # Only the bell makes it claim, so the first claim is the one that finds the event.
    often = {name: SHORT[name] for name in ("WORKER_LEASE_SECONDS", "WORKER_HEARTBEAT_SECONDS")}
    with ForgetfulProxy(world.url, statement) as proxy:
        worker = world.start(url=proxy.url, **BELL_ONLY, **often).ready()
        insert_prediction(world.conn, [TICKERS[0]])
        world.settle()
        until_asleep(world.conn)
        # It looks once more after it took the lock; half a second later that look is over.
        for _ in range(2):
            until_beat(world)
        proxy.lose.set()
        number = insert_prediction(world.conn, [TICKERS[0]])
        until("the answer is lost", proxy.lost.is_set)
        if statement == "outbox_claim(":
            worker.wait_for("handed back unconfirmed claims")
        world.settle(LEASE_SECONDS + 20)
        world.check()
        [done] = history(world.conn, number, "prediction")
        assert (done["verdict"], done["attempts"]) == ("done", 0)
        assert worker.stop() == 0
