"""Our Yahoo, running, and a town around it that many tests live in, one after the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.db import connect
from tests.support.process import WorkerProcess, cleaned_up
from tests.yahoo.scenes import (
    NOW,
    SETTINGS,
    Town,
    database_living_at,
    hold_back,
    trading_days,
)
from tests.yahoo.server import Yahoo


def _checked(yahoo: Yahoo) -> Iterator[Yahoo]:
    with yahoo:
        yield yahoo
    assert yahoo.errors == []
    assert not yahoo.strangers, "somebody else than Yahoo was called"


@pytest.fixture
def yahoo(tmp_path: Path) -> Iterator[Yahoo]:
    """A Yahoo without listings, at NOW; `yahoo.environment` is what a worker needs."""
    yield from _checked(Yahoo(tmp_path, NOW))


@pytest.fixture(scope="package")
def common_yahoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yahoo]:
    """One for all who live in the town."""
    yield from _checked(Yahoo(tmp_path_factory.mktemp("yahoo"), NOW))


@pytest.fixture(scope="package")
def common_url(server_url: str, template: str) -> Iterator[str]:
    """The town's database, living at NOW."""
    with database_living_at(NOW, server_url, template) as url:
        with connect(url) as conn:
            hold_back(conn)
        yield url


@pytest.fixture(scope="package")
def common_town(
    common_url: str, common_yahoo: Yahoo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    """A town with its worker listening."""
    log = tmp_path_factory.mktemp("town") / "worker.log"
    started: list[WorkerProcess] = []
    with connect(common_url) as conn, cleaned_up(started):
        # Its one sweep comes some time after it listens: in the first test's middle, perhaps.
        settings = {**SETTINGS, "WORKER_DAILY_SYNC": "0"}
        worker = WorkerProcess(common_url, log, **settings, **common_yahoo.environment)
        started.append(worker)
        town = Town(conn, common_yahoo, worker.ready(), trading_days(conn))
        yield town
        assert worker.process.poll() is None, "the worker died"


@pytest.fixture
def town(common_town: Town) -> Town:
    """The town, as new."""
    common_town.fresh()
    return common_town
