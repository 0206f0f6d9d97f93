"""Safeguards that can be taken out, each to be found by orders of one scene.

In SQL: complete functions without the safeguard, here and in tests/chaos/without. In Python: a method
that does what the product's does, but for the safeguard.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.chaos.safeguards import WITHOUT
from tests.interleavings.world import World
from worker.handlers import tickers
from worker.listening import sleeper

_HERE = Path(__file__).parent / "without"


@dataclass(frozen=True)
class Safeguard:
    """What is taken out, the scene that needs it, and the kinds of violations that may show it."""

    what: str
    scene: str
    kinds: frozenset[str]
    take_out: Callable[[World], AbstractContextManager[None]]


def _sql(path: Path) -> Callable[[World], AbstractContextManager[None]]:
    @contextmanager
    def replaced(world: World) -> Iterator[None]:
        world.watch.execute(path.read_bytes())
        yield

    return replaced


@contextmanager
def _no_second_look(_world: World) -> Iterator[None]:
    """Sleep as soon as the armed lock is taken, by what was seen before it."""
    arm, sleep = sleeper.Sleeper.arm, sleeper.Sleeper.sleep
    seen: dict[int, float | None] = {}

    def arm_only(self: Any, _claim: Callable[[], bool]) -> Any:
        seen[id(self)] = self._claimer.seconds_to_next()
        return arm(self, lambda: False)

    def sleep_by_that(self: Any, _due: float | None, state: Any, tick: float | None) -> None:
        sleep(self, seen[id(self)], state, tick)

    with (
        patch.object(sleeper.Sleeper, "arm", arm_only),
        patch.object(sleeper.Sleeper, "sleep", sleep_by_that),
    ):
        yield


@contextmanager
def _finish_before_fill(_world: World) -> Iterator[None]:
    """End the event with the bars, and fill the outcomes in a transaction of its own behind it."""
    real = tickers.TickerWork.store

    def work(self: Any) -> dict[str, Any]:
        with (
            patch("market.prices.store.outcomes.fill_symbol", lambda *_, **__: 0),
            patch("market.prices.store.outcomes.fill_due", lambda *_: 0),
        ):
            done = real(self)
        with self._context.database.transaction() as conn:
            conn.execute("SELECT outcomes_fill_symbol(%s, true)", [self._claim.key])
        return done

    with patch.object(tickers.TickerWork, "store", work):
        yield


@contextmanager
def _no_refill(world: World) -> Iterator[None]:
    """Nobody reads the notes of outcomes whose bars changed while they were computed."""
    with patch.object(world, "refills", False):
        yield


SAFEGUARDS = {
    "fence": Safeguard(
        "an event is ended by the holder of its newest lease alone",
        "claim-expire",
        frozenset({"ended another's"}),
        _sql(WITHOUT / "fencing.sql"),
    ),
    "second-look": Safeguard(
        "a worker looks for events once more after it took the armed lock",
        "sleeper-writer",
        frozenset({"not woken"}),
        _no_second_look,
    ),
    "lock-order": Safeguard(
        "batches register symbols in one order",
        "tickers",
        frozenset({"lock order"}),
        _sql(_HERE / "lock_order.sql"),
    ),
    "fill-order": Safeguard(
        "outcomes are filled before their event ends, in its transaction",
        "store-killed",
        frozenset({"outcome"}),
        _finish_before_fill,
    ),
    "refill": Safeguard(
        "an outcome that was computed while its bars changed is filled again",
        "batch-store",
        frozenset({"outcome"}),
        _no_refill,
    ),
}
