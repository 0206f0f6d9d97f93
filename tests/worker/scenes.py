"""What the worker's tests have in common: short settings, a known ticker, a ticker that hangs."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import (
    Conn,
    WorkerProcess,
    flat_bars,
    insert_prediction,
    sessions,
    until,
    value,
    write_csv,
)

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

# Where every prediction of these tests lies, unless it says otherwise.
MOMENT = "2024-03-05 15:00+00"


def bars(conn: Conn, folder: Path, symbol: str, start: float = 100.0) -> Path:
    """Write a symbol's file: half a year of closes around MOMENT, one more each session."""
    return write_csv(folder, symbol, flat_bars(sessions(conn, "2024-01-01", "2024-06-30"), start))


def event(conn: Conn, key: str | int, topic: str = "ticker") -> dict[str, Any] | None:
    """The live event of a key."""
    return conn.execute(
        "SELECT * FROM outbox WHERE topic = %s AND key = %s", [topic, str(key)]
    ).fetchone()


def until_processing(conn: Conn, key: str | int, topic: str = "ticker") -> dict[str, Any]:
    """Wait until a worker holds the key's event."""

    def probe() -> dict[str, Any] | None:
        found = event(conn, key, topic)
        return found if found and found["status"] == "processing" else None

    found = until(f"a worker holds {key}", probe)
    assert found is not None
    return found


def history(conn: Conn, key: str | int, topic: str = "ticker") -> list[dict[str, Any]]:
    """The finished events of a key, oldest first."""
    return conn.execute(
        "SELECT * FROM outbox_history WHERE topic = %s AND key = %s ORDER BY id", [topic, str(key)]
    ).fetchall()


def until_done(conn: Conn, key: str | int, topic: str = "ticker") -> None:
    """Wait until an event of the key is finished."""
    until(f"the event of {key} is done", lambda: history(conn, key, topic))


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


def completed(conn: Conn) -> int:
    """How many outcomes are complete."""
    return int(value(conn, "SELECT count(*) FROM prediction_outcomes WHERE is_complete"))


def until_complete(conn: Conn, count: int, seconds: float = 30.0) -> None:
    """Wait until just this many outcomes are complete."""
    until(f"{count} outcomes are complete", lambda: completed(conn) == count, seconds)


def make_known(conn: Conn, folder: Path, symbol: str = "GOOD") -> int:
    """Have a running worker fetch a symbol, so that later predictions need no ticker event."""
    bars(conn, folder, symbol)
    before = completed(conn)
    number = insert_prediction(conn, [symbol], {symbol: "bullish"}, moment=MOMENT)
    until_complete(conn, before + 1)
    until("the outbox is empty", lambda: value(conn, "SELECT count(*) FROM outbox") == 0)
    return number


class HangingTicker:
    """A symbol whose CSV file is a FIFO: who opens it hangs until someone answers.

    The provider refuses FIFOs; `tests/hooks` makes it read one that has a link `SYMBOL.fifo`.

    `answer` lets one hanging fetch go on; `replace` gives later fetches a proper file, while
    a fetch that hangs already can still be answered.
    """

    def __init__(self, folder: Path, symbol: str = "SLOW") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.symbol = symbol
        self._path = folder / f"{symbol}.csv"
        self._held = folder / f"{symbol}.fifo"
        os.mkfifo(self._path)
        os.link(self._path, self._held)
        self._answer: int | None = None

    def until_asked(self) -> int:
        """Wait until a fetch hangs on the file; returns the descriptor to answer on."""
        if self._answer is None:
            self._answer = until(f"somebody asks for {self.symbol}", self._try_open)
        return self._answer

    def _try_open(self) -> int | None:
        try:
            # Without a reader this is ENXIO. The reader then hangs in read instead of open.
            return os.open(self._held, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return None

    def answer(self, text: str) -> None:
        """Let who hangs read this text."""
        descriptor = self.until_asked()
        self._answer = None
        try:
            assert os.write(descriptor, text.encode()) == len(text)
        finally:
            os.close(descriptor)

    def replace(self, path: Path) -> None:
        """Put a proper file in the FIFO's place."""
        path.replace(self._path)
