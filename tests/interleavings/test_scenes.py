"""Random orders of the larger scenes, from a fixed seed; `./dev explore` runs many more."""

import pytest

from tests.interleavings.explore import Explorer
from tests.interleavings.scenes import PAIRS, SCENES

# The others' orders are all run in test_pairs.py.
_RANDOM = [name for name in SCENES if name not in PAIRS]
_ORDERS = 20


@pytest.mark.parametrize("scene", _RANDOM)
def test_random_orders_of_a_scene_hold(explorer: Explorer, scene: str) -> None:
    for number in range(_ORDERS):
        ran = explorer.random_order(scene, f"15.{number}")
        assert ran.violation is None, str(explorer.shortest(ran))


def test_every_scene_says_what_it_is() -> None:
    assert all(scene.__doc__ for scene in SCENES.values())


@pytest.mark.parametrize("scene", ["leases", "people"])
def test_an_order_can_be_run_again(explorer: Explorer, scene: str) -> None:
    first = explorer.random_order(scene, "15.again")
    again = explorer.given_order(scene, "15.again", first.order)
    assert again.order == first.order
    assert [(step.name, step.label) for step in again.steps] == [
        (step.name, step.label) for step in first.steps
    ]
