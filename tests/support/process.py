"""Real worker processes: their environment, their logs, stopping and freezing them."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support import forked
from tests.support.db import Conn, value
from tests.support.waiting import until

ROOT = forked.ROOT


def environment(url: str, **settings: str) -> dict[str, str]:
    """The environment of a process of ours: this database, nothing of the caller's settings."""
    ours = ("DATABASE_URL", "LISTEN_DATABASE_URL", "BACKFILL_DAYS", "PORT", "PS", "DYNO")
    clean = {
        name: text
        for name, text in os.environ.items()
        if name not in ours
        and not name.startswith(
            ("MARKET_", "WORKER_", "LOG_", "RAW_", "INDEX_", "ALERT_", "DISCORD_")
        )
        and not name.endswith(("_API_KEY", "_BASE_URL"))
    }
    return {
        **clean,
        "DATABASE_URL": url,
        "LOG_FORMAT": "json",
        # The default schedules would run at their times, in tests of other things.
        "WORKER_SCHEDULES": "false",
        "WIKIPEDIA_BASE_URL": "http://127.0.0.1:9",  # nobody: no test asks the real one
        "PYTHONPATH": forked.HOOKS,
        **settings,
    }


class WorkerProcess:
    """A real worker process; its log is read back as events (dicts)."""

    fresh = False  # whether by an interpreter of its own; else a fork

    def __init__(self, url: str, log: Path, *arguments: str, **settings: str) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = forked.spawn(
                ["worker", *arguments],
                environment(url, **settings),
                stdout=file.fileno(),
                stderr=file.fileno(),
                start_new_session=True,
                fresh=self.fresh,
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


Start = Callable[..., WorkerProcess]

# Beats and sweeps come within a second. Leases last: a worker that stands still for a few
# seconds keeps what it holds.
BRISK = {
    "WORKER_HEARTBEAT_SECONDS": "0.5",
    "WORKER_SWEEP_SECONDS": "0.5",
    "WORKER_POLL_SECONDS": "1",
}

# And here leases end as well, soon, but not as soon as a slow machine misses a few beats.
SHORT = {**BRISK, "WORKER_LEASE_SECONDS": "4"}
LASTING = {"WORKER_LEASE_SECONDS": "60"}

# Nothing wakes this worker but the bell.
BELL_ONLY = {"WORKER_POLL_SECONDS": "3600", "WORKER_SWEEP_SECONDS": "86400"}
_BACKENDS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reckoner worker'"
    " AND datname = current_database()"
)


def is_at_rest(conn: Conn) -> bool:
    """Whether the stopped workers were stopped outside of every transaction.

    Asked several times, because a statement that was sent may not have been begun.
    """
    active, busy = f"{_BACKENDS} AND state = 'active'", f"{_BACKENDS} AND state <> 'idle'"
    until("their backends have answered", lambda: value(conn, active) == 0)
    return all(value(conn, busy) == 0 for _ in range(10))


def freeze(conn: Conn, worker: WorkerProcess) -> None:
    """SIGSTOP the only worker while it is in no transaction, so that it holds no lock."""

    def probe() -> bool:
        worker.signal(signal.SIGSTOP)
        if is_at_rest(conn):
            return True
        worker.signal(signal.SIGCONT)
        return False

    until("the worker is stopped outside of a transaction", probe)


def freeze_between_heartbeats(conn: Conn, worker: WorkerProcess) -> None:
    """SIGSTOP soon after a heartbeat, when the only worker is in no transaction."""
    query = "SELECT last_seen_at FROM worker_status WHERE pid = %s"
    seen = value(conn, query, [worker.process.pid])
    until("a heartbeat", lambda: value(conn, query, [worker.process.pid]) != seen)
    freeze(conn, worker)


# A sleeping worker holds this lock on its LISTEN connection (sql/functions/20_doorbell.sql).
_SLEEPER = (
    "SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.classid = 1380271947 AND l.objid = 1 AND l.granted"
    " AND l.mode = 'ExclusiveLock' AND a.datname = current_database()"
)


def until_asleep(conn: Conn, cut: int = 0) -> int:
    """Wait until a worker sleeps, and return its LISTEN connection's backend.

    cut: one that was terminated; it tells its client so before it gives its lock back.
    """
    sleeper = f"{_SLEEPER} AND l.pid <> {cut}"
    row = until("a worker sleeps", lambda: conn.execute(sleeper.encode()).fetchone())
    assert row is not None
    return int(row["pid"])


def recovered(worker: WorkerProcess) -> list[object]:
    """What the worker logged about hearing again."""
    return [e for e in worker.events if e.get("event") == "listening" and e.get("recovered")]


def hears(worker: WorkerProcess) -> bool:
    """Whether the last that a worker said of its hearing is that it hears."""
    told = [e["event"] for e in worker.events if e.get("mode") in {"notify", "polling"}]
    return told[-1:] == ["listening"]
