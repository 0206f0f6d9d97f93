"""`market schedules preview`, `export`, `import`: triggers and files of schedules before they count."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from psycopg.types.json import Jsonb

from market.cli.console import DryRunOption, JsonOption, YesOption, command_database
from market.cli.display import emit
from market.cli.runs import actor
from market.cli.schedules import TimezoneOption, app
from market.cli.views import schedules as views
from sql.database import Connection, one
from sql.errors import Conflict, InvalidInput, ReckonerError, translated
from sql.redaction import redact
from sql.rows import Rows, fetch_rows

# Its commands are of the group `schedules`.
__all__ = ["app"]


@app.command("preview")
def preview(
    trigger: Annotated[str, typer.Argument(metavar="TRIGGER", help="Or a schedule's name.")],
    timezone: TimezoneOption = "UTC",
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many ticks.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Show the next ticks of a trigger, in UTC and in its zone, and what else is due then.

    Examples: `python -m market schedules preview 'XNYS close + 45 minutes' -n 10`,
    `python -m market schedules preview '30 1 * * *' --timezone Europe/Berlin`.
    """
    with command_database() as database, database.transaction() as conn, translated():
        found = conn.execute("SELECT * FROM schedules WHERE name = %s", [trigger]).fetchone()
        if found:
            trigger, timezone = found["trigger"], found["timezone"]
        rows = fetch_rows(
            conn, "SELECT * FROM schedule_preview(%s, %s, %s)", [trigger, timezone, count]
        )
    emit(rows, views.preview(rows, trigger, timezone), as_json=as_json)


@app.command("export")
def export(
    file: Annotated[Path | None, typer.Argument(help="Where to; else stdout.")] = None,
) -> None:
    """Write all schedules as JSON: the same schedules are the same text.

    Examples: `python -m market schedules export schedules.json`,
    `python -m market schedules export`.
    """
    with command_database() as database, database.transaction() as conn:
        wanted = one(conn, "SELECT schedule_export() AS schedules")["schedules"]
    text = json.dumps(wanted, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}") from None


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A file of `export`.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete schedules that the file does not name.")
    ] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make schedules as a file says: show the differences, ask, apply all or nothing.

    Examples: `python -m market schedules import schedules.json --dry-run`,
    `python -m market schedules import schedules.json --prune --yes`.
    """
    with command_database() as database:
        wanted = _read(file)
        with database.transaction() as conn, translated():
            rows = _import(conn, wanted, dry_run=True, prune=prune)
        if rows and not dry_run:
            if not yes and not sys.stdin.isatty():
                raise InvalidInput(f"{len(rows)} changes: give --yes, or --dry-run to see")
            if not yes:
                shown = _shown(rows)
                emit(shown, views.imported(shown, applied=False), as_json=False)
                if not typer.confirm("Apply?", err=True):
                    raise ReckonerError("nothing was changed")
            with database.transaction() as conn, translated():
                if _import(conn, wanted, dry_run=False, prune=prune) != rows:
                    raise Conflict(
                        "the schedules changed meanwhile: nothing was changed, try again"
                    )
    shown = _shown(rows)
    emit(shown, views.imported(shown, applied=not dry_run), as_json=as_json)


def _shown(rows: Rows) -> Rows:
    """Return the changes without secrets: a hook may have the address of a webhook."""
    shown = (
        {**row, "before": _masked(row["before"]), "after": _masked(row["after"])} for row in rows
    )
    return Rows(shown, rows.columns)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return (
        {name: _masked(each) for name, each in value.items()} if isinstance(value, dict) else value
    )


def _import(conn: Connection, wanted: Any, *, dry_run: bool, prune: bool) -> Rows:
    return fetch_rows(
        conn,
        "SELECT * FROM schedule_import(%s, %s, %s, %s)",
        [Jsonb(wanted), dry_run, prune, actor()],
    )


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInput(f"{file} is not JSON: {error}") from None
