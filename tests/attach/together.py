"""A generation's database with both programs at it, and every outcome computed once more.

All of it lives at NOW, the middle of a trading day in 2024: closes of today that the other
program stores are no closes yet. Prices come from CSV files written here.
"""

import datetime as dt
import functools
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.attach.databases import expected_moments
from tests.support.cli import command
from tests.support.db import Conn, value
from tests.support.market import sessions, write_csv
from tests.support.oracle import Oracle, Session
from tests.support.process import ROOT, SHORT, WorkerProcess, environment
from tests.support.waiting import until

NOW = dt.datetime(2024, 11, 13, 18, tzinfo=dt.UTC)  # a Wednesday, three hours before the close
TODAY = NOW.date()
FIRST_BAR = dt.date(2023, 1, 1)
# The first four are in every generation's registry, with bars of the other program's.
SYMBOLS = ("AAPL", "TSLA", "SPY", "BTC-USD", "NVDA", "AMD", "META", "ETH-USD", "IBM", "XOM")
# These too, and nobody names them here.
ALSO = ("MSFT", "QQQ", "GLD", "^GSPC", "CL=F")


def calendar(symbol: str) -> str:
    """The calendar of one of these symbols."""
    return "24/7" if symbol.endswith("-USD") else "XNYS"


@functools.cache
def close(symbol: str, day: dt.date) -> float:
    """What a symbol closes at: of no other day and no other symbol the same."""
    base = 40 + 37 * (SYMBOLS + ALSO).index(symbol)
    wave = 1 + 0.1 * math.sin(day.toordinal() / 9)
    return round(base * wave + day.toordinal() % 997 / 1000, 4)


class Together:
    """Both programs at one database; `conn` is a look at it from outside, at NOW."""

    def __init__(self, url: str, conn: Conn, folder: Path) -> None:
        self.conn = conn
        self.workers: list[WorkerProcess] = []
        self._url = url
        self._folder = folder
        self._last_before = value(conn, "SELECT max(id) FROM predictions")

    def write_bars(self, last: dt.date) -> None:
        """Write every symbol's file, up to this day."""
        for symbol in SYMBOLS + ALSO:
            days = sessions(self.conn, str(FIRST_BAR), str(last), calendar(symbol))
            rows = [
                {
                    "date": day,
                    **dict.fromkeys(("open", "high", "low", "close"), close(symbol, day)),
                    "volume": 1,
                }
                for day in days
            ]
            write_csv(self._folder / "bars", symbol, rows)

    @property
    def _settings(self) -> dict[str, str]:
        return {
            **SHORT,
            # Leases are short here; that one ends while its worker does not get to run parks nothing.
            "WORKER_MAX_CRASHES": "100",
            "MARKET_PROVIDERS": "csv",
            "MARKET_CSV_DIR": str(self._folder / "bars"),
        }

    def start_worker(self) -> WorkerProcess:
        """Start one more worker, and wait until it listens."""
        log = self._folder / f"worker-{len(self.workers)}.log"
        self.workers.append(WorkerProcess(self._url, log, **self._settings))
        return self.workers[-1].ready()

    def drain(self) -> None:
        """Let a worker sweep, do all that is ready, and leave."""
        done = command(self._url, "worker", "run", "--drain", cwd=ROOT, **self._settings)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def other_program(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Run it beside the body, for so long at least; the dict then holds what it said at its end."""
        said: dict[str, Any] = {}
        arguments = [
            sys.executable,
            "-m",
            "tests.attach.other_program",
            self._url,
            f"--symbols={','.join(SYMBOLS)}",
            f"--seconds={seconds}",
            f"--now={NOW.isoformat()}",
            f"--prices-from={TODAY - dt.timedelta(days=40)}",
            "--until-eof",
        ]
        pipe, env = subprocess.PIPE, environment(self._url)
        with subprocess.Popen(
            arguments, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as process:
            try:
                yield said
                out, err = process.communicate(timeout=seconds + 30)
            finally:
                process.kill()
        assert process.returncode == 0, err
        said.update(json.loads(out))

    def until_empty(self, seconds: float) -> None:
        """Wait until no event is left, of whatever state."""

        def live() -> list[dict[str, Any]]:
            return self.conn.execute(
                "SELECT topic, key, status, attempts, crashes, last_error FROM outbox LIMIT 5"
            ).fetchall()

        try:
            until("the outbox is empty", lambda: not live(), seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {live()}") from error

    def expected(self) -> dict[tuple[int, str], Oracle]:
        """An oracle for every outcome that predictions since the installation must have by now."""
        axes = {name: self._axis(name) for name in ("XNYS", "24/7")}
        moments = expected_moments(self.conn)
        found = {}
        rows = self.conn.execute("SELECT * FROM predictions WHERE id > %s", [self._last_before])
        for row in rows:
            if row["analysis_status"] != "completed":
                continue
            for symbol in filter(None, {tidy(asset) for asset in row["assets"] or []}):
                found[row["id"], symbol] = Oracle(
                    axes[calendar(symbol)],
                    moments[row["id"]],
                    sentiment(row["market_impact"], symbol),
                    row["confidence"],
                )
        return found

    def _axis(self, name: str) -> Sequence[Session]:
        rows = self.conn.execute(
            "SELECT session, closes_at FROM market_sessions WHERE calendar = %s"
            " AND session BETWEEN '2024-06-01' AND '2025-02-01' ORDER BY session",
            [name],
        )
        return [Session(row["session"], row["closes_at"]) for row in rows]

    def outcomes(self) -> list[dict[str, Any]]:
        """Every outcome that is ours."""
        return self.conn.execute(
            "SELECT * FROM prediction_outcomes WHERE engine_version = 1 ORDER BY id"
        ).fetchall()

    def check_outcomes(self, now: dt.datetime) -> None:
        """Compare every outcome of ours with its oracle, when all files reach to the day before."""
        expected = self.expected()
        ours = self.outcomes()
        assert {(row["prediction_id"], row["symbol"]) for row in ours} == expected.keys()
        for row in ours:
            oracle = expected[row["prediction_id"], row["symbol"]]
            closes = {
                session.date: close(row["symbol"], session.date)
                for session in oracle.sessions
                if session.date < now.date()
            }
            wanted = oracle.look(now, closes, (FIRST_BAR, now.date()))
            found = {name: row[name] for name in wanted}
            near = {
                name: pytest.approx(at, rel=1e-9, abs=1e-9) if type(at) is float else at
                for name, at in wanted.items()
            }
            assert found == near, (row["prediction_id"], row["symbol"], row["outcome_reason"])


def tidy(asset: Any) -> str | None:
    """Section 5 of the contract: the symbol that an element is, or None."""
    text = asset.strip().upper() if isinstance(asset, str) else ""
    return text if re.fullmatch(r"[A-Z0-9.^=:/-]{1,20}", text) else None


def sentiment(impact: Any, symbol: str) -> str | None:
    """The symbol's own entry, whatever its case."""
    words = {key.upper(): word.lower() for key, word in (impact or {}).items()}
    word = words.get(symbol)
    return word if word in {"bullish", "bearish", "neutral"} else None
