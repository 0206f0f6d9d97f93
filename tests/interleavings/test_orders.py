"""The choice of orders alone, without a database."""

from collections.abc import Sequence

from tests.interleavings import orders
from tests.interleavings.orders import All
from tests.interleavings.scheduler import Choose


def run(choose: Choose, left: dict[str, int]) -> list[str]:
    """An order of actors with so many steps each."""
    left, order = dict(left), []
    last: str | None = None
    while names := [name for name, n in left.items() if n]:
        last = choose(names, last)
        left[last] -= 1
        order.append(last)
    return order


def test_all_orders_are_all_and_each_once() -> None:
    every = All()
    found = [run(every.choose, {"a": 3, "b": 2})]
    while every.next():
        found.append(run(every.choose, {"a": 3, "b": 2}))
    assert len(found) == len({tuple(each) for each in found}) == 10  # of five steps, two are b's


def test_a_seed_gives_the_same_order_and_another_seed_others() -> None:
    steps = {"a": 8, "b": 8, "kill:a": 1}
    found = [run(orders.any_kind(f"{n}"), steps) for n in range(50)]
    assert found == [run(orders.any_kind(f"{n}"), steps) for n in range(50)]
    assert len({tuple(each) for each in found}) > 30


def test_a_given_order_is_followed_as_far_as_it_is_possible() -> None:
    steps = {"a": 2, "b": 2, "kill:a": 1}
    assert run(orders.given(["b", "a", "b", "b"]), steps) == ["b", "a", "b", "a", "kill:a"]


def test_the_shortest_order_has_nothing_that_it_does_not_need() -> None:
    def fails(order: Sequence[str]) -> bool:
        return "x" in order and "y" in order[order.index("x") :]

    order = ["a"] * 9 + ["x"] + ["b", "c"] * 9 + ["y", "a"]
    assert orders.shortest(order, fails) == ["x", "y"]


def test_an_order_is_written_and_read() -> None:
    order = ["w1", "w1", "kill:w1", "w2.ticker"]
    assert orders.written(order) == "w1*2 kill:w1 w2.ticker"
    assert orders.read(orders.written(order)) == order
