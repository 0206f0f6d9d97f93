"""`market schedules …`: the operator's verbs on schedules, each a SQL function of 68_schedule_verbs.sql."""

import datetime as dt
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from psycopg.types.json import Jsonb

from market.cli.console import JsonOption, YesOption, application, command_database
from market.cli.display import emit, emit_json, emit_tables
from market.cli.runs import actor, parameters, wait_for
from market.cli.views import schedules as views
from sql.database import Connection, one
from sql.errors import InvalidInput, NotFound, ReckonerError, translated
from sql.rows import fetch_rows

app = application("Schedules: what runs by the clock, and why it did not.", no_args_is_help=True)

_TICKS = 10
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the schedule.")]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why, for those who look at it at night.")
]
TimezoneOption = Annotated[
    str, typer.Option("--timezone", help="Of a cron line, like Europe/Berlin.")
]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the schedules: state, next tick, and what became of the last one.

    Examples: `python -m market schedules list`, `python -m market schedules list -o wide`.
    """
    with command_database() as database, database.transaction() as conn:
        rows = fetch_rows(conn, "SELECT * FROM schedule_status")
    emit(rows, views.listing(rows), as_json=as_json)


@app.command("show")
def show(name: Name, as_json: JsonOption = False) -> None:
    """Show a schedule and its last ticks, each with the reason why it was skipped.

    Examples: `python -m market schedules show coverage`,
    `python -m market schedules show coverage --json`.
    """
    with command_database() as database, database.transaction() as conn:
        row = _row(conn, name)
        ticks = fetch_rows(
            conn,
            "SELECT t.tick_at, t.verdict, t.reason, t.run_id AS run, r.status, r.error"
            " FROM schedule_ticks t LEFT JOIN job_run r ON r.id = t.run_id"
            " WHERE t.schedule = %s ORDER BY t.tick_at DESC LIMIT %s",
            [name, _TICKS],
        )
    if as_json:
        emit_json({"schedule": row, "ticks": list(ticks)})
    else:
        emit_tables(
            {"schedule": [row], "ticks": ticks},
            {"schedule": views.schedule(row), "ticks": views.ticks(ticks)},
        )


@app.command("create")
def create(
    name: Name,
    task: Annotated[str, typer.Option("--task", help="What runs; `market tasks` lists them.")],
    trigger: Annotated[
        str,
        typer.Option(
            "--trigger",
            help="When: `30 22 * * MON-FRI`, `every 5 minutes` or `XNYS close + 45 minutes`.",
        ),
    ],
    timezone: TimezoneOption = "UTC",
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Of the task.")
    ] = None,
    fields: Annotated[
        str, typer.Option("--fields", metavar="JSON", help="Other fields, as `export` shows them.")
    ] = "{}",
    as_json: JsonOption = False,
) -> None:
    """Create a schedule.

    Examples: `python -m market schedules create nightly --task backfill_5m
    --trigger 'XNYS close + 60 minutes' --param n_days=2`,
    `python -m market schedules create sync --task daily_sync --trigger '30 22 * * MON-FRI'`.
    """
    with command_database() as database, database.transaction() as conn, translated():
        given = {**_fields(fields), "params": parameters(conn, task, param)}
        conn.execute(
            "SELECT schedule_create(%s, %s, %s, %s, %s, %s)",
            [name, task, trigger, timezone, Jsonb(given), actor()],
        )
        _compute_next(conn, name)
        row = _row(conn, name)
    emit([row], views.schedule(row), as_json=as_json)


@app.command("update")
def update(
    name: Name,
    fields: Annotated[
        list[str],
        typer.Option("--set", metavar="FIELD=VALUE", help="May be repeated; a value may be JSON."),
    ],
    version: Annotated[
        int | None,
        typer.Option("--version", help="The version that you saw; another one is refused."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change fields of a schedule.

    Examples: `python -m market schedules update coverage --set 'trigger=0 5 * * *' --version 3`,
    `python -m market schedules update five-minute --set enabled=true`.
    """
    with command_database() as database, database.transaction() as conn, translated():
        _row(conn, name)
        conn.execute(
            "SELECT schedule_update(%s, %s, coalesce(%s, (SELECT version FROM schedules"
            " WHERE schedules.name = %s)), %s)",
            [name, Jsonb(_changes(fields)), version, name, actor()],
        )
        _compute_next(conn, name)
        row = _row(conn, name)
    emit([row], views.schedule(row), as_json=as_json)


@app.command("delete")
def delete(name: Name, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete a schedule; its ticks and runs stay.

    Examples: `python -m market schedules delete nightly`,
    `python -m market schedules delete nightly --yes`.
    """
    with command_database() as database:
        with database.transaction() as conn:
            row = _row(conn, name)
        if not yes and sys.stdin.isatty() and not typer.confirm(f"Delete {name}?", err=True):
            raise ReckonerError("nothing was changed")
        with database.transaction() as conn, translated():
            conn.execute("SELECT schedule_delete(%s, %s, %s)", [name, row["version"], actor()])
    emit([row], views.said(f"{name} is deleted."), as_json=as_json)


@app.command("pause")
def pause(
    name: Name,
    reason: ReasonOption,
    until: Annotated[
        str | None,
        typer.Option("--until", help="A moment like 2026-07-08T12:00Z; else until it is resumed."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Pause a schedule: its ticks are skipped, each with the reason.

    Examples: `python -m market schedules pause coverage --reason 'new disk' --until 2026-07-09`,
    `python -m market schedules pause history --reason 'until Ann is back'`.
    """
    end = None if until is None else _moment(until)
    _verb("SELECT schedule_pause(%s, %s, %s, %s)", [name, reason, end, actor()], as_json=as_json)


@app.command("resume")
def resume(name: Name, as_json: JsonOption = False) -> None:
    """Resume a paused schedule.

    Examples: `python -m market schedules resume coverage`,
    `python -m market schedules resume coverage --json`.
    """
    _verb("SELECT schedule_resume(%s, %s)", [name, actor()], as_json=as_json)


@app.command("skip-next")
def skip_next(
    name: Name,
    ticks: Annotated[int, typer.Option("--ticks", min=0, max=1000, help="How many.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Skip the next tick of a schedule.

    Examples: `python -m market schedules skip-next coverage`,
    `python -m market schedules skip-next coverage --ticks 3`.
    """
    _verb("SELECT schedule_skip_next(%s, %s, %s)", [name, ticks, actor()], as_json=as_json)


@app.command("run-now")
def run_now(
    name: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run ends.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a schedule's task now, beside its ticks.

    Examples: `python -m market schedules run-now coverage --wait`,
    `python -m market schedules run-now history --json`.
    """
    with command_database() as database:
        with database.transaction() as conn, translated():
            run = one(conn, "SELECT schedule_run_now(%s, %s) AS id", [name, actor()])["id"]
        wait_for(database, run, wait=wait, as_json=as_json)


def _fields(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"not JSON: {error}") from None
    if not isinstance(given, dict):
        raise InvalidInput('not a JSON object like {"enabled": false}')
    return given


def _changes(given: Sequence[str]) -> dict[str, Any]:
    """Read FIELD=VALUE; a value that is not JSON is a text."""
    read = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator:
            raise InvalidInput(f"--set {text}: write FIELD=VALUE")
        try:
            read[name.strip()] = json.loads(value)
        except ValueError:
            read[name.strip()] = value
    return read


def _moment(text: str) -> dt.datetime:
    """Read an ISO moment; without a zone it is UTC."""
    try:
        read = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"--until: {text} is not a moment like 2026-07-08T12:00Z") from None
    return read if read.tzinfo else read.replace(tzinfo=dt.UTC)


def _compute_next(conn: Connection, name: str) -> None:
    """Compute the next tick now, so that it is shown; a worker would do so in a moment."""
    conn.execute(
        "UPDATE schedules SET next_tick_at = coalesce(trigger_next(trigger, timezone, reckoner_now()), 'infinity')"
        " WHERE name = %s AND enabled AND next_tick_at = '-infinity'",
        [name],
    )


def _row(conn: Connection, name: str) -> dict[str, Any]:
    row = conn.execute("SELECT * FROM schedule_status WHERE name = %s", [name]).fetchone()
    if row is None:
        raise NotFound(f'there is no schedule "{name}"; python -m market schedules list has them')
    return dict(row)


def _verb(query: str, arguments: list[Any], *, as_json: bool) -> None:
    with command_database() as database, database.transaction() as conn, translated():
        conn.execute(query.encode(), arguments)
        row = _row(conn, arguments[0])
    emit([row], views.schedule(row), as_json=as_json)
