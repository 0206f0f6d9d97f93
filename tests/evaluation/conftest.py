"""A database with outcomes of known prices, which tests of this folder only read."""

from collections.abc import Iterator

import pytest

from tests.evaluation.known import fill
from tests.support.db import Conn, shared_database, url_of


@pytest.fixture(scope="session")
def outcomes(server_url: str, template: str) -> Iterator[Conn]:
    """A connection to the filled database."""
    with shared_database(server_url, template) as conn:
        fill(conn, url_of(conn))
        yield conn


@pytest.fixture(scope="session")
def outcomes_url(outcomes: Conn) -> str:
    """The URL of the filled database."""
    return url_of(outcomes)
