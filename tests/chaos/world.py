"""A small world for a fault: a database, tickers with prices, workers, and a check at the end."""

import contextlib
import datetime as dt
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos import audit
from tests.chaos.server import Server
from tests.chaos.writer import Writer
from tests.support.db import Conn, connect, value
from tests.support.market import sessions, write_csv
from tests.support.process import SHORT, WorkerProcess, cleaned_up, is_at_rest
from tests.support.waiting import until

TICKERS = [f"TICK{number}" for number in range(8)]
# Its prices end in the middle of what is predicted: some of its outcomes can never be, and
# who is asked for its last year only has nothing, which is a failure.
ENDING = "ENDED"
# No provider knows it.
UNKNOWN = "NOBODY"

LEASE_SECONDS = float(SHORT["WORKER_LEASE_SECONDS"])
_LEASED = "SELECT count(*) FROM outbox WHERE status = 'processing'"
LIVE = "SELECT count(*) FROM outbox WHERE status <> 'dead'"


class World:
    """A database on a server, a folder of bars, and the workers that were started on it."""

    def __init__(self, server: Server, url: str, folder: Path) -> None:
        self.server = server
        self.url = url
        self.folder = folder
        self.bars = folder / "bars"
        self.workers: list[WorkerProcess] = []
        self._conn: Conn | None = None
        self.days = sessions(self.conn, "2024-01-02", "2024-09-30")
        audit.count_events(self.conn)
        self._write_bars()

    @property
    def conn(self) -> Conn:
        """The test's own connection; made anew when it was lost, as soon as the server answers."""
        if self._conn is None or self._conn.closed:
            self._conn = until("the server takes a connection", self._connect, 60)
        return self._conn

    def _connect(self) -> Conn | None:
        with contextlib.suppress(psycopg.OperationalError):
            return connect(self.url)
        return None

    def _write_bars(self) -> None:
        chance = random.Random(20240305)  # noqa: S311 - no secret
        # Up to today: a provider that has nothing for the last year has failed.
        days = sessions(self.conn, "2022-06-01", self.ask("SELECT now()::date::text"))
        for symbol in [*TICKERS, ENDING]:
            price, rows = chance.uniform(5, 500), []
            for day in days:
                price *= chance.uniform(0.97, 1.03)
                if symbol == ENDING and day > dt.date(2024, 6, 14):
                    break
                close = round(price, 4)
                prices = dict.fromkeys(("open", "high", "low", "close"), close)
                rows.append({"date": day.isoformat(), **prices, "volume": 1})
            write_csv(self.bars, symbol, rows)

    def start(self, *arguments: str, url: str | None = None, **settings: str) -> WorkerProcess:
        """Start a worker with short leases and the csv provider."""
        defaults = {"MARKET_PROVIDERS": "csv", "MARKET_CSV_DIR": str(self.bars), **SHORT}
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(url or self.url, log, *arguments, **{**defaults, **settings})
        self.workers.append(worker)
        return worker

    def start_ready(self, count: int = 1, **settings: str) -> list[WorkerProcess]:
        """Start workers at once and wait until each hears itself."""
        workers = [self.start(**settings) for _ in range(count)]
        return [worker.ready() for worker in workers]

    def writer(self, **options: Any) -> Writer:
        """Another program on this database's tickers."""
        return Writer(self.url, [*TICKERS, ENDING, UNKNOWN], self.days, **options)

    def ask(self, query: str) -> Any:
        """A single value, as soon as the server answers."""

        def probe() -> list[Any]:
            try:
                return [value(self.conn, query)]
            except psycopg.OperationalError:
                return []

        return until(f"the server answers {query}", probe, 60)[0]

    def is_at_rest(self) -> bool:
        """Whether a stopped worker was stopped in no transaction and holds no event."""
        return is_at_rest(self.conn) and bool(self.ask(_LEASED) == 0)

    def freeze(self, worker: WorkerProcess) -> None:
        """SIGSTOP a worker while it holds nothing."""

        def probe() -> bool:
            worker.signal(signal.SIGSTOP)
            if self.is_at_rest():
                return True
            worker.signal(signal.SIGCONT)
            return False

        until("a worker is stopped at rest", probe)

    def settle(self, seconds: float = 90.0) -> None:
        """Wait until nothing is left to do."""
        try:
            until("the outbox is empty", lambda: self.ask(LIVE) == 0, seconds)
        except AssertionError:
            left = self.conn.execute("SELECT * FROM outbox ORDER BY id LIMIT 5").fetchall()
            said = [worker.events[-5:] for worker in self.workers]
            raise AssertionError(f"events are left: {left}; their workers said {said}") from None

    def check(self, writer: Writer | None = None, *, dead: int = 0, attempts: int = 0) -> None:
        """Wait for the end of all work, then compare every table with what it must hold."""
        self.settle()
        figures: Counter[str] = Counter()
        if writer is not None:
            figures["committed"] = audit.check_commits(self.conn, writer)
            figures["interrupted"] = writer.interrupted
        figures["outcomes"] = audit.check_outcomes(self.conn, audit.read_closes(self.bars))
        figures += audit.check_events(self.conn, dead=dead, attempts=attempts, failing=[ENDING])
        figures["snapshots"] = audit.check_snapshots(self.conn)
        # Nothing but its own provider's word makes a ticker invalid.
        registry = self.conn.execute("SELECT symbol FROM ticker_registry WHERE status <> 'active'")
        assert {row["symbol"] for row in registry} <= {UNKNOWN}
        tell(" ".join(f"{name}={number}" for name, number in figures.items()))

    def check_health(self) -> dict[str, tuple[str, str]]:
        """What `health` says, by the check's name."""
        rows = self.conn.execute("SELECT name, state, message FROM reckoner_health()")
        return {row["name"]: (row["state"], row["message"]) for row in rows}

    def close(self) -> None:
        """Let go of the database."""
        if self._conn is not None:
            self._conn.close()


@contextlib.contextmanager
def made(server: Server, folder: Path) -> Iterator[World]:
    """Make a world on a server, and remove it."""
    url = server.create()
    world = World(server, url, folder)
    try:
        with cleaned_up(world.workers):
            yield world
    finally:
        world.close()
        server.drop(url)


def tell(figure: str) -> None:
    """Print a figure for people; pytest shows it with -s."""
    sys.stderr.write(f"\n  {figure}\n")
