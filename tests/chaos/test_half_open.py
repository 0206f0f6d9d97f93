"""A network that is gone without an end: nothing comes through, and nobody is told."""

import time

from tests.chaos.relays import HalfOpenProxy
from tests.chaos.world import TICKERS, World, tell
from tests.support.db import value
from tests.support.market import insert_prediction
from tests.support.waiting import until


def test_a_half_open_network_is_waited_for_and_the_loop_goes_on(world: World) -> None:
    with HalfOpenProxy(world.url) as proxy:
        worker = world.start(url=proxy.url).ready()
        insert_prediction(world.conn, [TICKERS[0]])
        world.settle()
        proxy.freeze()
        began = time.monotonic()
        writer = world.writer(pause=0.2)
        with writer.working():
            before = value(world.conn, "SELECT max(id) FROM outbox_history")
            done = f"SELECT max(id) > {before} FROM outbox_history"  # noqa: S608 - a number
            until("it works again", lambda: world.ask(done), 200)
            tell(f"half-open: worked again after {time.monotonic() - began:.1f} s")
            worker.wait_for("listening", 60, recovered=True)
        world.check(writer)
        assert worker.stop(60) == 0  # some connections of its pool may still be dead
