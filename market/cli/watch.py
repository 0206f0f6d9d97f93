"""`watch`, one command of both `python -m market` and `python -m worker`."""

import contextlib
import signal

from market.cli.console import JsonOption, command_database
from market.cli.display import draws, emit_json, emit_tables
from sql.settings import DatabaseSettings, load


def command(as_json: JsonOption = False) -> None:
    """Watch the queue, the workers, the last events and outcomes, until Ctrl-C.

    Where stdout is not a terminal, and with --json, once. Times are UTC. Examples:
    `python -m market watch`, `python -m worker watch --json`.
    """
    # Imported here: otherwise every command would load rich at its start.
    from market.cli.watch_page import tables  # noqa: PLC0415
    from market.cli.watcher import Watcher  # noqa: PLC0415

    settings = load(DatabaseSettings)
    with (
        command_database() as database,
        contextlib.closing(
            Watcher(database, settings.listen_database_url or database.url)
        ) as watcher,
    ):
        if as_json:
            emit_json(watcher.read())
        elif not draws():
            emit_tables(tables(watcher.read()))
        else:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            watcher.show()
