"""What no adapter foresaw: an error of any kind is a bad answer, and a lane lives on."""

from collections.abc import Iterator

import pytest

from market.providers import Answer, Kind, Request
from market.providers.base import Capabilities
from market.providers.limits import attempt
from sql.database import Database
from tests.providers.words import request
from tests.support.db import Conn, value


class PanicError(BaseException):
    """As an extension in Rust raises: no `Exception`."""


class Failing:
    """A provider whose parser raises."""

    name = "failing"
    canary = "SPY"
    capabilities = Capabilities()

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def fetch(self, _request: Request) -> Answer:
        raise self._error


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with Database(url) as database:
        yield database


@pytest.mark.parametrize(
    "error",
    [PanicError("a\0b \ud800"), MemoryError(), RecursionError("deep"), KeyError("x"), OSError(5)],
)
def test_no_error_of_an_adapter_ends_a_lane(
    database: Database, conn: Conn, error: BaseException
) -> None:
    answer = attempt(database, Failing(error), request(), lambda _: None)
    assert isinstance(answer, Answer)
    assert answer.kind is Kind.BAD_ANSWER
    assert type(error).__name__ in answer.message
    kept = value(conn, "SELECT last_error FROM reckoner_providers WHERE name = 'failing'")
    assert type(error).__name__ in kept


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_what_is_to_end_the_process_does(database: Database, error: BaseException) -> None:
    with pytest.raises(type(error)):
        attempt(database, Failing(error), request(), lambda _: None)


@pytest.mark.parametrize("seconds", [1e20, 9999999999.0, float("inf"), float("nan"), -5.0])
def test_a_pause_is_bounded_whoever_asks_for_it(
    database: Database, conn: Conn, seconds: float
) -> None:
    class Refusing(Failing):
        def fetch(self, _request: Request) -> Answer:
            return Answer(Kind.THROTTLED, message="no", retry_after=seconds)

    attempt(database, Refusing(OSError()), request(), lambda _: None)
    within = (
        "SELECT paused_until BETWEEN now() AND now() + interval '25 hours' FROM reckoner_providers"
    )
    assert value(conn, f"{within} WHERE name = 'failing'")
