"""All orders there are of the small scenes."""

import pytest

from tests.interleavings.explore import Explorer


@pytest.mark.parametrize(
    ("pair", "least"),
    [
        ("batch-store", 100),
        ("batch-update", 20),
        ("batch-batch", 30),
        ("claim-requeue", 6),
        ("claim-expire", 40),
        ("store-killed", 7),
        ("sleeper-writer", 20),
    ],
)
def test_every_order_of_a_pair_holds(explorer: Explorer, pair: str, least: int) -> None:
    seen = set()
    for ran in explorer.all_orders(pair):
        assert ran.violation is None, str(explorer.shortest(ran))
        seen.add(tuple(ran.order))
    assert len(seen) >= least
