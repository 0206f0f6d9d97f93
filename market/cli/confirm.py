"""The question that a command asks before it rewrites many rows.

It names the last backup, because that is what the answer depends on. A script gives --yes.
"""

import datetime as dt
import sys

import typer

from market.backups import records
from sql.database import Database
from sql.errors import InvalidInput, ReckonerError
from sql.visible import visible_line

# A rewrite of no more rows is not worth a question.
_FEW_ROWS = 10


def confirm_rewrite(database: Database, rows: int) -> None:
    """Name the last backup and ask before many rows are rewritten.

    rows: about how many; few rows are not asked about. Raises ReckonerError when the answer is no,
    InvalidInput when stdin is not a terminal.
    """
    if rows <= _FEW_ROWS:
        return
    _warn(f"this rewrites up to {rows} rows; {_backup(database)}")
    if not typer.confirm("Go on?", err=True):
        raise ReckonerError("nothing was changed")


def confirm_by_name(database: Database, loss: str, name: str) -> None:
    """Say what is lost, and ask for a name to be typed.

    Raises ReckonerError for another answer, InvalidInput when stdin is not a terminal.
    """
    _warn(f"{loss}; {_backup(database)}")
    if typer.prompt(f"Type {visible_line(name)} to go on", err=True).strip().upper() != name:
        raise ReckonerError("nothing was changed")


def _backup(database: Database) -> str:
    last = records.last(database)
    if not last:
        return "there is no backup (python -m market db backup)"
    age = dt.timedelta(seconds=round(last["age"].total_seconds()))
    return f"the last backup is {last['kind']} {last['name']}, {age} old"


def _warn(warning: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput(f"{warning}: give --yes, or --dry-run to see")
    sys.stderr.write(f"{warning[0].upper()}{warning[1:]}.\n")
