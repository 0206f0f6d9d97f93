"""What the tests share: databases, bars as CSV files, real worker processes, waiting.

Nothing here sleeps for a fixed time: `until` waits for a named state with a deadline.
"""

import contextlib
import csv
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import psycopg
from psycopg.rows import DictRow, dict_row

ROOT = Path(__file__).parent.parent
T = TypeVar("T")
Conn = psycopg.Connection[DictRow]


def connect(url: str) -> Conn:
    """An autocommit connection whose rows are dicts."""
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


def until(what: str, probe: Callable[[], T | None], seconds: float = 20.0) -> T:
    """Wait until `probe` returns something true and return it; `what` names the state.

    The last look begins after the deadline, however long the process stood still before it.
    """
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() > deadline
        value = probe()
        if value:
            return value
        if late:
            raise AssertionError(f"not within {seconds} s: {what} (last: {value!r})")
        time.sleep(0.01)


def value(conn: Conn, query: str, parameters: Sequence[Any] = ()) -> Any:
    """The single value that a query returns."""
    row = conn.execute(query.encode(), parameters or None).fetchone()
    assert row is not None, query
    return next(iter(row.values()))


def insert_prediction(
    conn: Conn,
    assets: Any,
    impact: Any = None,
    *,
    moment: str | dt.datetime = "2024-03-05 15:00+00",
    confidence: float | None = 0.5,
    status: str = "completed",
) -> int:
    """Insert one prediction as the owner's program would; returns its id."""
    return int(
        value(
            conn,
            "INSERT INTO predictions (assets, market_impact, confidence, analysis_status, post_timestamp)"
            " VALUES (%s, %s, %s, %s, %s) RETURNING id",
            [json.dumps(assets), json.dumps(impact), confidence, status, moment],
        )
    )


def sessions(conn: Conn, start: str, end: str, calendar: str = "XNYS") -> list[dt.date]:
    """The calendar's session dates in a range, ascending."""
    rows = conn.execute(
        "SELECT session FROM market_sessions WHERE calendar = %s AND session BETWEEN %s AND %s ORDER BY 1",
        [calendar, start, end],
    )
    return [row["session"] for row in rows]


def write_csv(
    folder: Path, symbol: str, rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] = ()
) -> Path:
    """Write a symbol's file in the csv provider's format; keys of the first row are the header."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{quote(symbol, safe='')}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns or rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def flat_bars(
    days: Sequence[dt.date], start: float = 100.0, step: float = 1.0
) -> list[dict[str, Any]]:
    """Bars whose close is `start`, `start + step`, … one per day, for outcomes computed by hand."""
    return [
        {
            "date": day.isoformat(),
            "open": start + step * n,
            "high": start + step * n + 0.5,
            "low": start + step * n - 0.5,
            "close": start + step * n,
            "volume": 1000,
        }
        for n, day in enumerate(days)
    ]


def environment(url: str, **settings: str) -> dict[str, str]:
    """The environment of a process of ours: this database, nothing of the caller's settings."""
    ours = ("DATABASE_URL", "LISTEN_DATABASE_URL", "BACKFILL_DAYS", "PORT", "PS", "DYNO")
    clean = {
        name: text
        for name, text in os.environ.items()
        if name not in ours
        and not name.startswith(("MARKET_", "WORKER_", "LOG_", "RAW_"))
        and not name.endswith(("_API_KEY", "_BASE_URL"))
    }
    return {
        **clean,
        "DATABASE_URL": url,
        "LOG_FORMAT": "json",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'hooks'}",
        **settings,
    }


def command(
    url: str, *arguments: str, cwd: Path | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` to its end, as a user would, in a folder of its own if given."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env=environment(url, **settings),
        cwd=cwd or ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class WorkerProcess:
    """A real worker process; its log is read back as events (dicts)."""

    def __init__(self, url: str, log: Path, *arguments: str, **settings: str) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", *arguments],
                env=environment(url, **settings),
                cwd=ROOT,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the worker has logged so far."""
        lines = self._log.read_text(errors="replace").splitlines()
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def saw(self, event: str, **fields: Any) -> dict[str, Any] | None:
        """The first logged event of this name with these fields."""
        for entry in self.events:
            if entry.get("event") == event and all(entry.get(k) == v for k, v in fields.items()):
                return entry
        return None

    def wait_for(self, event: str, seconds: float = 30.0, **fields: Any) -> dict[str, Any]:
        """Wait until the worker has logged something; fails with the log when it ended instead."""

        def probe() -> dict[str, Any] | None:
            # Asked before the log is read: what it logs last must not come in between.
            ended = self.process.poll() is not None
            found = self.saw(event, **fields)
            if found is None and ended:
                raise AssertionError(f"the worker ended without {event!r}: {self._log.read_text()}")
            return found

        return until(f"the worker logs {event!r}", probe, seconds)

    def ready(self) -> "WorkerProcess":
        """Wait until the worker hears itself over LISTEN."""
        self.wait_for("listening")
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this very process."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        self.process.kill()
        self.process.wait(60)

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextlib.contextmanager
def cleaned_up(processes: list[WorkerProcess]) -> Iterator[None]:
    """Kill what a test left running."""
    try:
        yield
    finally:
        for worker in processes:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGCONT)
                worker.kill()
