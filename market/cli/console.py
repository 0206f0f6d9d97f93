"""What the commands share: tables for people and programs, and errors as one line.

On a terminal a table, in a pipe TSV that nothing cuts, with `--json` one document. Exit
codes: 0 done, 1 failed, 2 wrong usage or settings, 3 unhealthy or another schema, 130
interrupted.
"""

import contextlib
import datetime as dt
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

import psycopg
import typer
from typer.completion import completion_init  # type: ignore[attr-defined] # in no __all__

from sql.access import open_database
from sql.database import Database
from sql.errors import InvalidInput, ReckonerError, Unhealthy
from sql.redaction import redact
from sql.schema import migrate
from sql.settings import DatabaseSettings, load

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask, whatever is rewritten.")]


def application(help_text: str, **options: Any) -> typer.Typer:
    """Make a command line that looks and fails like our others."""
    return typer.Typer(
        help=help_text,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        **options,
    )


@contextlib.contextmanager
def command_database(*, any_schema: bool = False) -> Iterator[Database]:
    """Yield the database of the settings for a command; raises at once when nobody answers.

    Raises MigrationError where the schema is not this version's, unless any_schema.
    """
    with contextlib.ExitStack() as stack:
        with waiting("reaching the database"):
            settings = load(DatabaseSettings)
            database = stack.enter_context(open_database(settings, name="reckoner command", size=2))
            database.connect().close()  # the pool would be patient, and a person waits
            if not any_schema:
                with database.transaction() as conn:
                    migrate.expect(conn)
        yield database


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal (stderr) what a person waits for; says nothing elsewhere."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

    with Console(stderr=True).status(what):
        yield


# With this in the environment a command line says what may follow, see `./dev completion`.
_COMPLETE = "_RECKONER_COMPLETE"


def run(app: Callable[..., Any]) -> None:
    """Run a typer app; every expected error becomes one line on stderr and an exit code."""
    completion_init()
    try:
        app(complete_var=_COMPLETE)
    except ReckonerError as error:
        fail(str(error), exit_code(error))
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
        fail("the database lacks Reckoner's tables or functions: run python -m worker migrate", 3)
    except psycopg.Error as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        fail(f"the database: {lines[0]}", 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our pipe left (`… | head`); that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def exit_code(error: ReckonerError) -> int:
    """Return the exit code that an error means."""
    match error:
        case InvalidInput():
            return 2
        case Unhealthy():
            return 3
        case _:
            return 1


def fail(message: str, code: int) -> None:
    """Print one error line, without secrets, and exit."""
    sys.stderr.write(f"error: {' '.join(redact(message).split())}\n")
    sys.exit(code)


def emit(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str = "nothing") -> None:
    """Print rows of one shape: JSON list, table on a terminal, TSV with a header in a pipe."""
    if as_json:
        emit_json(rows)
    elif sys.stdout.isatty():
        _table(rows, empty)
    elif rows:
        sys.stdout.write("\t".join(rows[0]) + "\n")
        for row in rows:
            sys.stdout.write("\t".join(_cell(value) for value in row.values()) + "\n")


def emit_json(document: Any) -> None:
    """Print one JSON document; times in ISO 8601, durations in seconds."""
    sys.stdout.write(json.dumps(document, default=_plain, indent=2, allow_nan=False) + "\n")


def say(text: str) -> None:
    """Print a line for a person on stdout."""
    sys.stdout.write(text + "\n")


def _table(rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415 - the same

    console = Console()
    if not rows:
        console.print(empty)
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.timedelta):
        return str(dt.timedelta(seconds=round(value.total_seconds())))
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict | list):
        return json.dumps(value, default=_plain)
    return " ".join(str(value).split())


def _plain(value: Any) -> Any:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return str(value)
