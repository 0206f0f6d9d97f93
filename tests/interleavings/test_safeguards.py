"""Each safeguard taken out is found, within a few orders from a fixed seed, and in a short order."""

import pytest

from tests.interleavings.explore import Explorer
from tests.interleavings.safeguards import SAFEGUARDS
from tests.interleavings.world import World

# The seed whose orders begin shortly before the first that fails, and the most steps that it needs then.
_SEEDS = {
    "fence": ("1", 150, 6),
    "second-look": ("1", 0, 6),
    "lock-order": ("1", 0, 6),
    "fill-order": ("1", 0, 8),
}
_ORDERS = 60


@pytest.mark.parametrize("name", SAFEGUARDS)
def test_a_safeguard_that_is_taken_out_is_found(own_world: World, name: str) -> None:
    safeguard = SAFEGUARDS[name]
    seed, first, most = _SEEDS[name]
    explorer = Explorer(own_world)
    with safeguard.take_out(own_world):
        failed = next(
            (
                ran
                for number in range(first, first + _ORDERS)
                if (ran := explorer.random_order(safeguard.scene, f"{seed}.{number}")).violation
            ),
            None,
        )
        assert failed is not None, f"not within {_ORDERS} orders"
        shortest = explorer.shortest(failed)
    assert shortest.violation is not None
    assert shortest.violation.kind in safeguard.kinds
    assert len(shortest.order) <= most
    assert f"./dev explore --pair {safeguard.scene} --seed {failed.seed}" in str(shortest)
