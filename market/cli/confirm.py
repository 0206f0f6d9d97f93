"""The question that a command asks before it rewrites many rows.

It names the last backup, because that is what the answer depends on. A script gives --yes.
"""

import datetime as dt
import sys

import typer

from market.backups import records
from sql.database import Database
from sql.errors import InvalidInput, ReckonerError

# A rewrite of no more rows is not worth a question.
_FEW_ROWS = 10


def confirm_rewrite(database: Database, rows: int) -> None:
    """Name the last backup and ask before many rows are rewritten.

    rows: about how many; few rows are not asked about. Raises ReckonerError when the answer is no,
    InvalidInput when stdin is not a terminal.
    """
    if rows <= _FEW_ROWS:
        return
    last = records.last(database)
    backup = "there is no backup (python -m market db backup)"
    if last:
        age = dt.timedelta(seconds=round(last["age"].total_seconds()))
        backup = f"the last backup is {last['kind']} {last['name']}, {age} old"
    warning = f"this rewrites up to {rows} rows; {backup}"
    if not sys.stdin.isatty():
        raise InvalidInput(f"{warning}: give --yes, or --dry-run to see")
    sys.stderr.write(f"{warning[0].upper()}{warning[1:]}.\n")
    if not typer.confirm("Go on?", err=True):
        raise ReckonerError("nothing was changed")
