"""`worker migrate`: apply the schema, print what is missing, or remove what Reckoner made."""

import sys
from dataclasses import asdict, fields
from typing import Annotated

import psycopg
import typer

from market.cli.console import JsonOption, command_database, say, waiting
from market.cli.display import Column, View, draws, emit
from sql.database import Database
from sql.errors import InvalidInput, ReckonerError
from sql.rows import Rows
from sql.schema import migrate, remove
from sql.schema.migrate import Change
from worker.cli.words import counted


def migrate_command(
    check: Annotated[
        bool, typer.Option("--check", help="Only print what is missing; exit 3 if anything is.")
    ] = False,
    removing: Annotated[
        bool, typer.Option("--remove", help="Print the SQL that removes our objects, not the data.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="With --remove: run that SQL.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Apply sql/ to the database; safe to repeat and to run twice at once.

    --remove leaves predictions, tickers, prices and outcomes; live events are lost. Examples:
    `python -m worker migrate --check`, `python -m worker migrate --remove > remove.sql`.
    """
    if apply and not removing:
        raise InvalidInput("--apply goes with --remove")
    if check and removing:
        raise InvalidInput("give one of --check and --remove")
    making = not (check or removing)
    with command_database(any_schema=True, may_make=making) as database:
        if removing:
            _remove(database, apply=apply, as_json=as_json)
            return
        if check:
            with database.transaction(seconds=300) as conn:
                migrate.refuse_ids(conn)
                missing = migrate.pending(conn)
                changes = [*missing, *migrate.advise(conn)]
        else:
            try:
                with waiting("applying sql/"):
                    changes, missing = migrate.migrate(database), []
            except migrate.NamesTaken as error:
                _print_changes(error.changes, "Nothing was changed", as_json=as_json)
                raise
        _print_changes(changes, _sentence(changes, done=not check), as_json=as_json)
    if missing:
        sys.exit(3)


def _sentence(changes: list[Change], *, done: bool) -> str:
    """Say what was done, or what is missing."""
    found = [change for change in changes if change.action not in {"optional", "blocked", "clash"}]
    if any(change.action == "clash" for change in changes):
        return f"Refused: {counted(len(changes), 'name of ours is', 'names of ours are')} taken"
    if not found:
        return "Up to date: nothing to do"
    did = "Applied" if done else "Missing:"
    return f"{did} {counted(len(found), 'change')}"


def _print_changes(changes: list[Change], summary: str, *, as_json: bool) -> None:
    """Print what was or would be done, and the SQL that resolves what is blocked."""
    rows = Rows([asdict(change) for change in changes], [field.name for field in fields(Change)])
    missing = summary.startswith("Missing")
    view = View(
        [Column("action", rank=0), Column("name", rank=0, least=30, wrap=True, of=("sql",))],
        summary=f"{summary}.",
        next=["python -m worker migrate"] if missing else [],
        record=False,
    )
    emit(rows, view, as_json=as_json)
    if as_json or not draws():
        return
    for change in changes:
        if change.sql:
            when = (
                f"To make room, where what uses {change.name.split()[1]} by name can follow"
                if change.action == "clash"
                else f"For {change.name.partition(':')[0]}, when you want it"
            )
            say(f"{when}:\n{change.sql}")


def _remove(database: Database, *, apply: bool, as_json: bool) -> None:
    """Print the SQL that removes our objects, or run it. Raises ReckonerError."""
    if apply:
        try:
            lines = remove.apply(database)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            raise ReckonerError(
                "gave up waiting for a lock, so as not to hold up other programs;"
                " nothing was changed, try again"
            ) from None
        except psycopg.errors.DependentObjectsStillExist as error:
            detail = (error.diag.message_detail or "").splitlines()
            raise ReckonerError(
                f"something that is not ours is built on ours: {'; '.join(detail)}"
            ) from None
    else:
        with database.transaction() as conn:
            lines = remove.statements(conn)
    if as_json or apply:
        name = "removed" if apply else "would_remove"
        did = "Removed" if apply else "Would remove"
        said = f"{did} what is ours with {counted(len(lines), 'statement')}; your data stays."
        view = View(
            [Column(name, rank=0, least=40, wrap=True)],
            summary=said if lines else "Nothing to do: nothing of ours is here.",
            record=False,
        )
        emit(Rows([{name: line} for line in lines], [name]), view, as_json=as_json)
    elif lines:
        say(remove.script(lines).rstrip())
