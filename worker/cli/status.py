"""`worker status`, `health`, `url`: the state of the queue, and the way to its database."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from market.cli.console import JsonOption, command_database, say
from market.cli.display import View, emit, emit_json, emit_tables
from sql import embedded
from sql.access import open_database
from sql.errors import InvalidInput
from sql.settings import DatabaseSettings, load
from sql.urls import with_passfile, without_password
from worker.queue import status as queue_status

# How long an embedded server stays after `url`: a client needs a moment to connect.
_LINGER_SECONDS = 30


def status(as_json: JsonOption = False) -> None:
    """Show the queue, the workers and the pace.

    With the oldest event, and the time until the queue is empty. Examples:
    `python -m worker status`, `python -m worker status --json | jq .totals`.
    """
    with command_database() as database, database.transaction() as conn:
        document = {"database": database.place, **queue_status.status(conn)}
    if as_json:
        emit_json(document)
        return
    if sys.stdout.isatty():
        say(str(document["database"]))
    emit_tables(
        {
            "totals": [document["totals"]],
            "queue": document["queue"],
            "workers": document["workers"],
        },
        {"queue": View(empty="the queue is empty"), "workers": View(empty="no worker")},
    )


def health(as_json: JsonOption = False) -> None:
    """Check database, schema, workers, listening, backlog, providers; exit 0 or 3.

    Examples: `python -m worker health`, `python -m worker health --json`.
    """
    with open_database(load(DatabaseSettings), name="reckoner command", size=2) as database:
        checks = queue_status.health(database)
    healthy = all(check.state != "fail" for check in checks)
    rows = queue_status.as_rows(checks)
    if as_json:
        emit_json({"healthy": healthy, "checks": rows})
    else:
        emit(rows, as_json=False)
    sys.exit(0 if healthy else 3)


def url(
    passfile: Annotated[
        Path | None,
        typer.Option(help="Write the password into this file, for libpq, and name it in the URL."),
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Print the password too; a command line shows it.")
    ] = False,
) -> None:
    """Print the libpq URL of the database in use, without its password.

    An embedded server stays up while it is used. Examples:
    `psql "$(python -m worker url --passfile ~/.reckoner.pgpass)"`, `python -m worker url`.
    """
    settings = load(DatabaseSettings)
    with open_database(settings) as database:
        try:
            shown = with_passfile(database.url, passfile) if passfile else database.url
            shown = shown if password else without_password(shown)
        except (OSError, ValueError) as error:
            raise InvalidInput(str(error)) from None
        if settings.embedded_path is not None:
            embedded.linger(settings.embedded_path, _LINGER_SECONDS)
        say(shown)
