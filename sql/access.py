"""From settings to a `Database`, starting the embedded server where the settings say so.

A command that reads starts the server of data that is there, because the server stops with its last
user. It never makes a database: whoever forgot DATABASE_URL would look into an empty one.
"""

import contextlib
from collections.abc import Iterator

from sql import embedded
from sql.database import Database
from sql.settings import DatabaseSettings, SettingsError


@contextlib.contextmanager
def open_database(
    settings: DatabaseSettings, *, name: str = "reckoner", size: int = 4, may_make: bool = False
) -> Iterator[Database]:
    """Yield the database of the settings; the embedded server is kept running meanwhile.

    Connections are made when they are first needed. may_make: make an embedded database where none
    is. Raises EmbeddedError, and SettingsError where none is and none may be made.
    """
    path = settings.embedded_path
    if path is None:
        with Database(settings.database_url, name=name, size=size) as database:
            yield database
        return
    if not may_make and not embedded.exists(path):
        is_set = "database_url" in settings.model_fields_set
        raise SettingsError(
            f"{'' if is_set else 'DATABASE_URL: not set, and '}there is no database in {path}:"
            f" {'' if is_set else 'set it, or '}make one with python -m worker migrate"
        )
    with (
        embedded.use(path) as url,
        Database(url, name=name, size=size, place=settings.database_url) as database,
    ):
        yield database
