"""What every command shares: its options, its database, and errors as one line.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 unhealthy or another schema, 130
interrupted. `display` prints rows.

Printed text is often strangers' text. `run` replaces stdout and stderr by `sql.streams`, so that no
control character reaches the terminal, whichever module prints it. rich draws on the stream beneath
(`drawing`), with texts that went through `sql.visible`.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Annotated, Any

import psycopg
import typer
from typer.completion import completion_init  # type: ignore[attr-defined] # in no __all__
from typer.exceptions import TyperException

from market.cli.display.options import answering_from, with_output_options
from market.cli.usage import Grouped, Worded, in_words
from sql.access import open_database
from sql.database import Database
from sql.errors import InvalidInput, ReckonerError, Unhealthy
from sql.redaction import redact
from sql.schema import migrate
from sql.settings import DatabaseSettings, load
from sql.streams import ReaderGone, beneath, guard
from sql.unreachable import ConnectionFailed
from sql.visible import visible_line, visible_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

# PostgreSQL has no function for a larger id.
LARGEST_ID = 2**63 - 1

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before rows are rewritten.")]


class Application(typer.Typer):
    """Commands that take `-o` and `--columns` wherever they take `--json`."""

    def command(self, *arguments: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        """Register a command."""
        register = super().command(*arguments, **{"cls": Worded, **options})
        return lambda function: register(with_output_options(function))


def application(help_text: str, **options: Any) -> typer.Typer:
    """Make a typer application with the options that all command lines share."""
    return Application(
        help=help_text,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        cls=Grouped,
        **options,
    )


@contextlib.contextmanager
def command_database(*, any_schema: bool = False, may_make: bool = False) -> Iterator[Database]:
    """Yield the database of the settings; raises at once when it does not answer.

    may_make: make an embedded database where none is. Raises MigrationError where the schema is not
    this version's, unless any_schema. Its errors carry a note that names the database.
    """
    with contextlib.ExitStack() as stack:
        with waiting("reaching the database"):
            settings = load(DatabaseSettings)
            database = stack.enter_context(
                open_database(settings, name="reckoner command", size=2, may_make=may_make)
            )
            stack.enter_context(_naming(database.place))
            answering_from(database.place)
            with database.transaction() as conn:
                if not any_schema:
                    migrate.expect(conn)
        yield database


@contextlib.contextmanager
def _naming(place: str) -> Iterator[None]:
    """Note on errors of the database which one it is."""
    try:
        yield
    except (psycopg.Error, migrate.MigrationError) as error:
        if place not in str(error):
            error.add_note(place)
        raise


def _named(error: Exception, message: str) -> str:
    """Return a message with the database that the error came from."""
    notes = getattr(error, "__notes__", [])
    return f"{message} ({notes[0]})" if notes else message


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show a spinner on stderr during a long step, where that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with spinner(what):
        yield


def drawing(stream: IO[str], **options: Any) -> "Console":
    """Make a rich console on a stream. Give it Text of `sql.visible`, never strangers' markup."""
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

    return Console(file=beneath(stream), **options)


@contextlib.contextmanager
def spinner(text: str) -> Iterator["Status"]:
    """Show a spinner on stderr, which is a terminal; yields it for updates."""
    from rich.text import Text  # noqa: PLC0415 - only a terminal needs it

    own = sys.stdout, sys.stderr
    with drawing(sys.stderr).status(Text(visible_line(text))) as status:
        # rich replaces both streams, and its stand-ins obey strangers' escapes.
        sys.stdout, sys.stderr = own
        yield status


# With this variable a command line prints its completions, see `./dev completion`.
_COMPLETE = "_RECKONER_COMPLETE"


def run(app: Callable[..., Any]) -> None:
    """Run a typer application and exit.

    Every expected error becomes one line on stderr and an exit code.
    """
    completion_init()
    guard()
    try:
        _run(app)
    finally:
        with contextlib.suppress(ReaderGone):  # else at the interpreter's end, as a traceback
            sys.stdout.flush()


def _run(app: Callable[..., Any]) -> None:
    try:
        code = app(complete_var=_COMPLETE, standalone_mode=False)
        if isinstance(code, int) and code:
            sys.exit(code)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # typer does not export it
            sys.stderr.write(f"{error.format_message()}\n")
            sys.exit(2)
        fail(in_words(error), 2)
    except typer.Abort:
        fail("aborted", 1)
    except ReckonerError as error:
        fail(_named(error, str(error)), exit_code(error))
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction) as error:
        lacks = "the database lacks Reckoner's tables or functions: run python -m worker migrate"
        fail(_named(error, lacks), 3)
    except ConnectionFailed as error:
        fail(str(error), 2 if error.is_lasting else 1)
    except psycopg.Error as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        fail(_named(error, f"the database: {lines[0]}"), 1)
    except UnicodeEncodeError as error:
        # Surrogates: bytes of an argument or a file name that are not UTF-8.
        fail(f"not a text: {error.object[:50]!r} has bytes that are not UTF-8", 2)
    except KeyboardInterrupt:
        sys.exit(130)


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
    sys.stderr.write(f"error: {visible_line(redact(message))}\n")
    sys.exit(code)


def say(text: str) -> None:
    """Print text on stdout; its line ends are kept, its control characters shown."""
    sys.stdout.write(visible_lines(text) + "\n")


def emit_bytes(body: bytes) -> None:
    """Write bytes to stdout, unchanged.

    On a terminal they are shown as text.
    """
    if sys.stdout.isatty():
        say(body.decode(errors="backslashreplace"))
    else:
        sys.stdout.flush()
        try:
            sys.stdout.buffer.write(body)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            sys.stdout.flush()  # which ends the command
            raise
