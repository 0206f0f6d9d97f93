"""`market db audit`, `repair`, `check`, `backup`, `roles`: a DBA's commands.

They also work on a database of another schema version, because that is when they are needed.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from market.backups import dump, records
from market.cli.console import JsonOption, application, command_database, say, waiting
from market.cli.display import draws, emit, emit_json, emit_tables
from market.cli.views import database as views
from market.settings import NeonSettings
from sql.errors import InvalidInput
from sql.rows import Rows
from sql.schema import check as checking
from sql.schema import repair as repairing
from sql.schema import roles as roles_sql
from sql.schema.drift import Difference
from sql.settings import DatabaseSettings, load

app = application("The DBA's commands.", no_args_is_help=True)


@app.command()
def audit(as_json: JsonOption = False) -> None:
    """Compare the database with what this version expects of it; exit 3 where it differs.

    Prints each difference with its risk and the SQL that repairs it. Of tables that another program
    made, only the columns that Reckoner uses are compared. Changes nothing. Examples:
    `python -m market db audit`, `python -m market db audit --json`.
    """
    with command_database(any_schema=True) as database, waiting("comparing"):
        found = repairing.look(database)
    if as_json:
        emit_json([asdict(each) for each in found])
    else:
        _print_differences(found, "The database is as this version expects.")
    if found:
        sys.exit(3)


@app.command()
def repair(
    apply: Annotated[
        bool, typer.Option("--apply", help="Run the additive statements; the others are printed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the SQL that repairs the differences of `audit`; with --apply run the additive part.

    Additive statements make a missing object or enable one again. Exit 3 where differences are
    left, 1 where a statement failed. Examples: `python -m market db repair > repair.sql`,
    `python -m market db repair --apply --json`.
    """
    with command_database(any_schema=True) as database:
        before = repairing.look(database)
        if not apply:
            _print_script(before, as_json=as_json)
            return
        with waiting("repairing"):
            results = repairing.apply(database, before)
        left = repairing.look(database)
    counts = {
        "differences_before": len(before),
        "applied": sum(result == "done" for result in results.values()),
        "failed": sum(result != "done" for result in results.values()),
        "differences_after": len(left),
    }
    if as_json:
        emit_json({**counts, "applied_to": results, "left": [asdict(each) for each in left]})
    else:
        done = [{"object": name, "result": result} for name, result in results.items()]
        ran = Rows(done, ("object", "result"))
        emit_tables(
            {
                "counts": [counts],
                "applied": ran,
                "left": _differences(left),
            },
            {
                "counts": views.repaired(counts),
                "applied": views.applied(ran),
                "left": views.differences(_differences(left), "nothing is left", is_left=True),
            },
        )
        _print_sql(left)
    if counts["failed"]:
        sys.exit(1)
    if left:
        sys.exit(3)


def _print_script(found: list[Difference], *, as_json: bool) -> None:
    if as_json:
        emit_json([asdict(each) for each in found])
    elif found:
        say(repairing.script(found))


def _print_differences(found: list[Difference], empty: str) -> None:
    rows = _differences(found)
    emit(rows, views.differences(rows, empty), as_json=False)
    _print_sql(found)


def _differences(found: list[Difference]) -> Rows:
    """Return a table; in a pipe the SQL is a column."""
    columns = ["object", "difference", "level", "risk", "repair"]
    if not draws():
        columns.append("sql")
    rows = [
        asdict(each) | {"repair": "additive" if each.additive else "by hand", "sql": each.short}
        for each in found
    ]
    return Rows([{name: row[name] for name in columns} for row in rows], columns)


def _print_sql(found: list[Difference]) -> None:
    """Print the SQL below the table of a terminal."""
    if found and draws():
        say(repairing.script(found))


@app.command()
def check(as_json: JsonOption = False) -> None:
    """Check the server: version, endpoint, LISTEN, rights, sizes, dead rows, transactions, clock.

    Exit 3 where a check fails. Examples: `python -m market db check`,
    `python -m market db check --json`.
    """
    settings = load(DatabaseSettings)
    with command_database(any_schema=True) as database, waiting("checking"):
        checks = checking.check(database, settings.listen_database_url or database.url)
        sizes = checking.sizes(database)
    rows = [asdict(each) for each in checks]
    if as_json:
        emit_json({"checks": rows, "tables": sizes})
    else:
        emit_tables(
            {"checks": rows, "sizes": sizes},
            {"checks": views.checks(rows), "sizes": views.sizes(sizes)},
        )
    if any(each.state == "fail" for each in checks):
        sys.exit(3)


@app.command("backup")
def backup_command(
    pg_dump: Annotated[
        Path | None, typer.Option("--pg-dump", help="A new file, in pg_dump's own format.")
    ] = None,
    neon_branch: Annotated[
        bool, typer.Option("--neon-branch", help="A branch, by NEON_API_KEY and NEON_PROJECT_ID.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Back up the database and record the backup, which later commands name.

    Restore a file with `pg_restore --clean --if-exists -d URL FILE`. Examples:
    `python -m market db backup --pg-dump before.dump`, `python -m market db backup --neon-branch`.
    """
    if (pg_dump is None) != neon_branch:
        raise InvalidInput("give one of --pg-dump FILE and --neon-branch")
    with command_database() as database, waiting("backing up"):
        if pg_dump is not None:
            row = dump.dump(database, pg_dump)
        else:
            from market.backups import neon  # noqa: PLC0415 - brings httpx, for this alone

            at = records.now(database)
            made = neon.create_branch(load(NeonSettings), at)
            records.record(database, "neon-branch", made["id"], at, None)
            row = {"backup": "neon-branch", "name": made["id"], "taken_at": at, "bytes": None}
    emit([row], views.backed_up(row), as_json=as_json)


@app.command()
def roles(
    worker: Annotated[str, typer.Option(help="The role that processes.")] = "reckoner_worker",
    dashboard: Annotated[str, typer.Option(help="The role that reads.")] = "reckoner_dashboard",
    analyst: Annotated[str, typer.Option(help="The role that inserts.")] = "reckoner_analyst",
    as_json: JsonOption = False,
) -> None:
    """Print the SQL that makes three roles of least rights; changes nothing, sets no password.

    Run it as the owner of the tables, and again after a migrate that added some. Examples:
    `python -m market db roles | psql "$(python -m worker url --passfile ~/.reckoner.pgpass)"`,
    `python -m market db roles --worker reckoner --json`.
    """
    if len({worker, dashboard, analyst}) < 3:
        raise InvalidInput("three roles need three names")
    with command_database() as database, database.transaction() as conn:
        try:
            lines = roles_sql.statements(conn, worker, dashboard, analyst)
        except ValueError as error:
            raise InvalidInput(str(error)) from None
    if as_json:
        emit_json(lines)
    else:
        body = "".join(f"{line};\n" for line in lines)
        say(f"BEGIN;\n{body}COMMIT;\n-- Then \\password for each that logs in with one.")
