"""Databases of another program for every test, copied from one template per generation."""

import functools
from collections.abc import Callable, Iterator

import pytest

from market.universe import sessions
from sql.database import Database
from tests.attach import databases
from tests.attach.databases import Generation, Migration
from tests.support.db import connect, copy_of, database_of, drop


class Copies:
    """Databases on the suite's server; `drop` drops those that were made here."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._urls: list[str] = []

    def make(self, word: str, original: str | None = None) -> str:
        """Copy the database of a URL, or an empty one; returns the copy's URL."""
        template = database_of(original) if original else "template0"
        self._urls.append(copy_of(self._server_url, template, word=word))
        return self._urls[-1]

    def drop(self) -> None:
        """Drop them all, whoever is connected."""
        for url in self._urls:
            drop(self._server_url, url)


@pytest.fixture(scope="session")
def originals(server_url: str) -> Iterator[Copies]:
    """Databases that are kept until the end, for others to be copied from."""
    originals = Copies(server_url)
    yield originals
    originals.drop()


@pytest.fixture
def copies(server_url: str) -> Iterator[Copies]:
    """Databases of this test alone."""
    copies = Copies(server_url)
    yield copies
    copies.drop()


@pytest.fixture(scope="session")
def loaded(originals: Copies) -> Generation:
    """From a generation to the URL of a database of it, which nobody changes."""

    @functools.cache
    def load(generation: str) -> str:
        url = originals.make(generation)
        with connect(url) as conn:
            databases.load(conn, generation)
        return url

    return load


@pytest.fixture(scope="session")
def migrated(originals: Copies, loaded: Generation) -> Callable[[str], Migration]:
    """From a generation to what migrate made of it; sessions are loaded, and nobody changes it."""

    @functools.cache
    def migrate(generation: str) -> Migration:
        url = originals.make(generation, loaded(generation))
        with connect(url) as conn:
            columns = databases.columns(conn)
            rows = databases.contents(conn, columns)
            catalog = databases.catalog(conn, list(columns))
        changes = databases.migrate(url)
        with connect(url) as conn:
            rows_after = databases.contents(conn, columns)
            catalog_after = databases.catalog(conn, list(columns))
        with Database(url) as database:
            sessions.ensure(database)
        return Migration(url, columns, rows, catalog, changes, rows_after, catalog_after)

    return migrate


@pytest.fixture
def make_generation(copies: Copies, loaded: Generation) -> Generation:
    """From a generation to the URL of a fresh database of it, this test's alone."""
    return lambda generation: copies.make(generation, loaded(generation))


@pytest.fixture(params=databases.GENERATIONS)
def generation(request: pytest.FixtureRequest) -> str:
    """Each generation's name in turn."""
    return str(request.param)


@pytest.fixture
def owners_url(generation: str, make_generation: Generation) -> str:
    """A fresh database of each generation in turn."""
    return make_generation(generation)


@pytest.fixture
def migration(generation: str, migrated: Callable[[str], Migration]) -> Migration:
    """What migrate did to each generation in turn."""
    return migrated(generation)


@pytest.fixture
def migrated_url(migration: Migration, generation: str, copies: Copies) -> str:
    """A migrated database of each generation in turn, sessions loaded, this test's alone."""
    return copies.make(generation, migration.url)
