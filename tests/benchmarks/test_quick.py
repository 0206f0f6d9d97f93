"""Each benchmark runs, tiny and without its peers, which are not installed where tests run.

Nothing here asserts how long anything takes: at these sizes no figure means anything.
"""

import math
from collections.abc import Iterator

import pytest

from tests.benchmarks.__main__ import NAMES, run_one
from tests.benchmarks.server import Server, serve


@pytest.fixture(scope="module")
def bench_server() -> Iterator[Server]:
    with serve({"fsync": "off", "synchronous_commit": "off"}) as server:
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_run_measures_something(bench_server: Server, name: str) -> None:
    bench = run_one(name, bench_server, quick=True, alone=True)
    assert bench.figures
    assert all(math.isfinite(figure) for values in bench.figures.values() for figure in values)
    assert {line.benchmark for line in bench.lines} == {name}
