"""A durable server for the folder, and a world on it for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import world as worlds
from tests.chaos.server import Server, serving
from tests.chaos.world import World
from tests.support.db import server_folder


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """The server that the faults of this folder strike, one test after the other."""
    with server_folder() as folder, serving(folder, {"max_connections": "60"}) as server:
        yield server


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    """A database of this test alone with tickers, without workers."""
    server.until_back()
    with worlds.made(server, tmp_path) as world:
        yield world
