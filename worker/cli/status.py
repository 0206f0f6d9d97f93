"""`worker status`, `health`, `url`: the state of the queue, and the way to its database."""

import contextlib
import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from market.cli.console import JsonOption, command_database, say
from market.cli.display import Column, View, draws, emit, emit_json, emit_tables
from market.cli.display.options import answering_from
from sql import embedded
from sql.access import open_database
from sql.database import Database
from sql.errors import InvalidInput
from sql.settings import DatabaseSettings, SettingsError, load
from sql.urls import with_passfile, without_password
from worker.cli.words import counted
from worker.queue import status as queue_status
from worker.settings import AlertSettings

# How long an embedded server stays after `url`: a client needs a moment to connect.
_LINGER_SECONDS = 30
# From this age on an event that waits is told in the sentence.
_HELD_UP = dt.timedelta(hours=1)


def status(as_json: JsonOption = False) -> None:
    """Show late events, workers and the queue.

    With the oldest event, and the time until the queue is empty. Examples:
    `python -m worker status`, `python -m worker status --json | jq .totals`.
    """
    with command_database() as database, database.transaction() as conn:
        document = {"database": database.place, **queue_status.status(conn)}
        if as_json:
            emit_json(document)
            return
        tables = {name: document[name] for name in ("stuck", "workers", "queue")}
        if draws():
            shown = {**tables, "workers": [_worker(row) for row in tables["workers"]]}
            views = _VIEWS | {"workers": _workers_view(document["totals"])}
            emit_tables(
                {name: rows for name, rows in shown.items() if rows or name == "workers"},
                views,
                _sentence(document["totals"], document["stuck"]),
            )
        else:
            emit_tables({"totals": [document["totals"]], **tables})


def _sentence(totals: Mapping[str, Any], stuck: Sequence[Mapping[str, Any]]) -> str:
    """Say whether events are late, and who works on them.

    stuck: the oldest that wait. After an hour that is no retry, but a provider that does not answer.
    """
    waiting, dead, late = totals["waiting"], totals["dead"], totals["late"]
    crew = counted(totals["workers"], "worker") if totals["workers"] else "no worker"
    waits = f"{counted(waiting, 'event')} {'waits' if waiting == 1 else 'wait'}"
    waits = waits if waiting else "nothing waits"
    if totals["eta_minutes"] is not None:
        waits += f" (done in about {max(1, round(totals['eta_minutes']))} min)"
    if late:
        said = f"LATE: {counted(late, 'event')}, {crew}"
    elif not totals["workers"]:
        said = f"NO WORKER: {waits}"
    elif dead:
        return f"DEAD: {counted(dead, 'event')}; {waits}, {crew}."
    elif any(row["age"] > _HELD_UP for row in stuck):
        said = f"HELD UP: {waits}, {crew}"
    else:
        said = f"All well: {waits}, {crew}"
    return f"{said}{f'; {dead:,} dead' if dead else ''}."


def _worker(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a worker's row with how long it was up, and how it waits as a word."""
    mode = "gone" if not row["alive"] else "asleep" if row["asleep_until"] else row["mode"]
    return {**row, "mode": mode, "up": row["last_seen_at"] - row["started_at"]}


def _workers_view(totals: Mapping[str, Any]) -> View:
    alone = not totals["workers"]
    return View(
        _WORKERS,
        sort=lambda row: (row["mode"] != "gone", row["name"]),
        empty="none",
        next=["python -m worker"] if alone else ["python -m worker health"],
        record=False,
    )


_WORKERS = [
    Column("name", "worker", rank=0),
    Column("mode", rank=0, kind="state"),
    Column("last_seen_at", "seen", rank=1),
    Column("up", rank=2),
    Column("in_flight", rank=0),
    Column("last_heard_at", "heard", rank=4),
    Column("asleep_until", rank=4),
]
_VIEWS = {
    "stuck": View(
        [
            Column("id", "event", rank=0),
            Column("topic", rank=0),
            Column("key", rank=0),
            Column("status", rank=1),
            Column("age", rank=1),
            Column("next_at", "next", rank=1),
            Column("why", rank=0, least=24, wrap=True, of=("reason", "is_late")),
        ],
        next=["python -m worker explain --event ID"],
        record=False,
    ),
    "queue": View(
        [
            Column("topic", rank=0),
            Column("status", rank=0),
            Column("count", "events", rank=0),
            Column("oldest_age", "oldest", rank=1),
            Column("eta", rank=2),
            Column("done_last_hour", rank=3),
        ],
        record=False,
    ),
}


def health(as_json: JsonOption = False) -> None:
    """Check database, schema, workers, backlog and more; exit 0 or 3.

    Examples: `python -m worker health`, `python -m worker health --json`.
    """
    with open_database(load(DatabaseSettings), name="reckoner command", size=2) as database:
        checks = queue_status.health(database)
        place = database.place
        if any(check.check == "workers" and check.state == "fail" for check in checks):
            _note_alerts(database)
    healthy = all(check.state != "fail" for check in checks)
    rows = queue_status.as_rows(checks)
    if as_json:
        emit_json({"healthy": healthy, "checks": rows})
    else:
        answering_from(place)
        emit(rows, _verdict(rows), as_json=False)
    sys.exit(0 if healthy else 3)


def _note_alerts(database: Database) -> None:
    """Open the alert that no worker is alive; the next worker sends it, because none is there.

    Without the rights to write, as in a read-only database, only the exit code says it.
    """
    with (
        contextlib.suppress(psycopg.Error, SettingsError),
        database.transaction(seconds=5, lock_seconds=1) as conn,
    ):
        conn.execute("SELECT alerts_check(%s::text[])", [load(AlertSettings).channels])


def _verdict(checks: Sequence[Mapping[str, Any]]) -> View:
    """Say the verdict in a word, and fold what is well."""
    failing, doubtful = (
        ", ".join(check["check"] for check in checks if check["state"] == state)
        for state in ("fail", "warn")
    )
    look = f"; look at {doubtful}" if doubtful else ""
    return View(
        [
            Column("state", rank=0),
            Column("check", rank=0),
            Column("message", "what", rank=0, least=24, wrap=True),
            Column("remedy", rank=0),
        ],
        sort=lambda row: ("fail", "warn", "ok").index(row["state"]),
        summary=f"UNHEALTHY: {failing}{look}." if failing else f"Healthy{look}.",
        record=False,
        fold=lambda row: row["check"] if row["state"] == "ok" else None,
        folded="ok",
    )


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
