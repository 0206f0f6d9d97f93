"""A vendor for each test, and the HTTP client of the product."""

from collections.abc import Iterator

import httpx
import pytest

from market.providers.http import new_http
from tests.providers.vendor import Vendor


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A server that answers what the test says."""
    with Vendor() as vendor:
        yield vendor


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """The client that the product makes."""
    with new_http() as client:
        yield client
