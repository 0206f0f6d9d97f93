"""The server ends in every way under two working workers and a writer, and comes back."""

import os
import time

import pytest

from tests.chaos.server import ENDS
from tests.chaos.world import World, tell

_AWAY_SECONDS = float(os.environ.get("CHAOS_AWAY_SECONDS", "20"))


@pytest.mark.parametrize("how", ENDS)
def test_a_server_that_ends_and_comes_back_loses_nothing(world: World, how: str) -> None:
    workers = world.start_ready(2)
    writer = world.writer()
    with writer.working():
        writer.until_more(30)
        world.server.end(ENDS[how])
        writer.until_more(30)
    for worker in workers:
        worker.wait_for("listening", 60, recovered=True)
        assert worker.saw("the database is away, waiting for it")
    world.check(writer)
    assert [worker.stop() for worker in workers] == [0, 0]


def test_a_server_that_stays_away_is_waited_for(world: World) -> None:
    workers = world.start_ready(2)
    writer = world.writer()
    with writer.working():
        writer.until_more(50)
        with world.server.away(ENDS["fast"]):
            time.sleep(_AWAY_SECONDS)  # the fault itself
            assert [worker.process.poll() for worker in workers] == [None, None]
        back = time.monotonic()
        writer.until_more(10)
        for worker in workers:
            worker.wait_for("listening", 60, recovered=True)
        tell(f"listening again {time.monotonic() - back:.1f} s after it was let come back")
    world.check(writer)
    assert [worker.stop() for worker in workers] == [0, 0]
