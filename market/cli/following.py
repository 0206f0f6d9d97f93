"""Following a job: progress for people, and its runs for the audit file.

On a terminal one line that changes, elsewhere a log line now and then. The workers do the job with
or without a follower: Ctrl-C ends the following and not the job.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from market.cli.console import spinner
from market.prices import jobs
from market.prices.ingestion import AuditError, AuditFile
from sql.database import Database
from sql.errors import InvalidInput, ReckonerError
from sql.logs import logger
from sql.visible import visible_line

_TURN_SECONDS = 0.5
_LOG_SECONDS = 30.0
_MOST_LETTERS = 2**20  # bound of a line of the audit file; a run has a few thousand


def progress(database: Database, job: int) -> dict[str, Any]:
    """Return the progress of a job; raises NotFound where it does not exist."""
    with database.transaction() as conn:
        return jobs.progress(conn, job)


def follow(database: Database, job: int, audit: "JobAudit | None" = None) -> dict[str, Any]:
    """Follow a job until no symbol is left; returns the progress at the end."""
    with _screen() as show:
        while True:
            row = progress(database, job)
            if audit:
                audit.catch_up(database, job)
            show(row)
            if not row["left"]:
                return row
            time.sleep(_TURN_SECONDS)  # progress is in tables only, without a notification


def line(row: dict[str, Any]) -> str:
    """Format a job's progress as a line for people."""
    parts = [f"job {row['job']}: {row['done']} of {row['symbols']} symbols"]
    if row["failed"]:
        parts.append(f"{row['failed']} failed")
    parts.append(f"{row['rows']:,} rows at {row['rows_per_second']:,.0f}/s")
    if row["providers"]:
        parts.append(", ".join(f"{name} {n}" for name, n in sorted(row["providers"].items())))
    if row["eta"] is not None:
        parts.append(f"{row['eta'].total_seconds():,.0f} s to go")
    if row["left"] and not row["workers"]:
        parts.append("no worker alive: start one with python -m worker")
    elif row["left"] and row["waits_for"]:
        parts.append(row["waits_for"])
    return " · ".join(parts)


@contextlib.contextmanager
def _screen() -> Iterator[Callable[[dict[str, Any]], None]]:
    if sys.stderr.isatty():
        from rich.text import Text  # noqa: PLC0415 - only a terminal needs it

        with spinner("") as status:
            yield lambda row: status.update(Text(visible_line(line(row))))
        return
    logged_at = time.monotonic()

    def show(row: dict[str, Any]) -> None:
        nonlocal logged_at
        if row["left"] and time.monotonic() - logged_at >= _LOG_SECONDS:
            logged_at = time.monotonic()
            logger().info("job under way", progress=line(row))

    yield show


class JobAudit:
    """The audit file of a job, with each run once, also after an earlier command."""

    def __init__(self, path: Path) -> None:
        """Read what is in the file and open it for appending; raises ReckonerError."""
        self._path = path
        try:
            self._known = _ids(path)
            self._file = AuditFile(path)
        except OSError as error:
            raise InvalidInput(f"--audit {path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InvalidInput(f"--audit {path}: has a line that is not JSON of a run") from None

    def catch_up(self, database: Database, job: int) -> None:
        """Append the job's newly ended runs; raises ReckonerError where the file cannot be written."""
        with database.transaction(seconds=60) as conn:
            rows = jobs.runs(conn, job)
        try:
            for row in rows:
                if row["id"] not in self._known:
                    with self._file.entry():
                        self._file.append(row)
                    self._known.add(row["id"])
        except AuditError as error:
            raise ReckonerError(
                f"--audit {self._path}: {error}; job {job} goes on without:"
                f" python -m market backfill --resume {job}"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _ids(path: Path) -> set[int]:
    """Read the ids of the runs in a file; none for a pipe or a terminal."""
    if not path.is_file():
        return set()
    with path.open(encoding="utf-8") as lines:
        found = iter(lambda: lines.readline(_MOST_LETTERS), "")
        return {json.loads(text)["id"] for text in found if text.strip()}
