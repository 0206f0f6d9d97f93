"""Each safeguard taken out is found, within a few orders from a fixed seed, and in a short order."""

import pytest

from tests.interleavings.explore import Explorer
from tests.interleavings.safeguards import SAFEGUARDS
from tests.interleavings.world import World

_ORDERS = 60
# The most turns that the shortest order names; what follows from them is not part of it.
_TURNS = 8


@pytest.mark.parametrize("name", SAFEGUARDS)
def test_a_safeguard_that_is_taken_out_is_found(own_world: World, name: str) -> None:
    safeguard = SAFEGUARDS[name]
    explorer = Explorer(own_world, without=name)
    with safeguard.take_out(own_world):
        failed = next(
            (
                ran
                for number in range(_ORDERS)
                if (ran := explorer.random_order(safeguard.scene, f"15.{number}")).violation
            ),
            None,
        )
        assert failed is not None, f"not within {_ORDERS} orders"
        shortest = explorer.shortest(failed)
    assert shortest.violation is not None
    assert shortest.violation.kind in safeguard.kinds
    assert len(shortest.order) <= _TURNS
    command = str(shortest).splitlines()[-1]
    assert command.startswith(
        f"./dev explore --pair {safeguard.scene} --seed {failed.seed} --order "
    )
    assert command.endswith(f"--without {name}")
