"""A desk with the provider that restates, and a prediction that is filled up to T+3."""

import pytest

from tests.market.desk import Desk
from tests.market.revision.remote import AT_T3, MOMENT, Remote


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def desk(url: str, remote: Remote) -> Desk:
    return Desk(url, remote)


@pytest.fixture
def prediction(desk: Desk) -> int:
    """A prediction of MOMENT, filled up to T+3."""
    number = desk.predict(AT_T3, "ACME", MOMENT)
    desk.turn(AT_T3)
    return number
