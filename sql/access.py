"""From settings to a `Database`, starting the embedded server where the settings say so."""

import contextlib
from collections.abc import Iterator

from sql import embedded
from sql.database import Database
from sql.settings import DatabaseSettings


@contextlib.contextmanager
def open_database(
    settings: DatabaseSettings, *, name: str = "reckoner", size: int = 4
) -> Iterator[Database]:
    """Yield the database of the settings; the embedded server is kept running meanwhile.

    Connections are made when they are first needed. Raises EmbeddedError.
    """
    with contextlib.ExitStack() as stack:
        path = settings.embedded_path
        url = settings.database_url if path is None else stack.enter_context(embedded.use(path))
        yield stack.enter_context(Database(url, name=name, size=size))
