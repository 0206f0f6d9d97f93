"""Each safeguard taken out is found, and in a short order.

Among all orders of a pair, or the first random ones of a larger scene, from a fixed seed.
"""

from collections.abc import Iterator

import pytest

from tests.interleavings.explore import Explorer, Ran
from tests.interleavings.safeguards import SAFEGUARDS
from tests.interleavings.scenes import PAIRS
from tests.interleavings.world import World

_ORDERS = 60
# The most turns that the shortest order names; what follows from them is not part of it.
_TURNS = 8


def tried(explorer: Explorer, scene: str) -> Iterator[Ran]:
    if scene in PAIRS:
        yield from explorer.all_orders(scene)
    for number in range(_ORDERS):
        yield explorer.random_order(scene, f"15.{number}")


@pytest.mark.parametrize("name", SAFEGUARDS)
def test_a_safeguard_that_is_taken_out_is_found(own_world: World, name: str) -> None:
    safeguard = SAFEGUARDS[name]
    explorer = Explorer(own_world, without=name)
    with safeguard.take_out(own_world):
        failed = next((ran for ran in tried(explorer, safeguard.scene) if ran.violation), None)
        assert failed is not None, f"not within {explorer.count} orders"
        shortest = explorer.shortest(failed)
    assert shortest.violation is not None
    assert shortest.violation.kind in safeguard.kinds
    assert len(shortest.order) <= _TURNS
    command = str(shortest).splitlines()[-1]
    assert command.startswith(
        f"./dev explore --pair {safeguard.scene} --seed {failed.seed} --order "
    )
    assert command.endswith(f"--without {name}")
