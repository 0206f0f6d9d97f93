"""One world for a file: its orders come one after the other, on one database."""

from collections.abc import Iterator

import pytest

from tests.interleavings.explore import Explorer
from tests.interleavings.world import World, world_of
from tests.support.db import copy_of, drop


@pytest.fixture(scope="module")
def world(server_url: str, template: str) -> Iterator[World]:
    url = copy_of(server_url, template, word="orders")
    with world_of(url) as world:
        yield world
    drop(server_url, url)


@pytest.fixture
def own_world(url: str) -> Iterator[World]:
    """A world of this test alone, whose functions it may replace."""
    with world_of(url) as world:
        yield world


@pytest.fixture(scope="module")
def explorer(world: World) -> Explorer:
    return Explorer(world)
