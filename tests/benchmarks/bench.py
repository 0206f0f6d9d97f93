"""What every benchmark is given: rounds, a place for raw figures, and goals to be measured by.

A benchmark interleaves the sides that it compares: each round has a turn of every side, so
that whatever else the machine does hits all alike, and what counts is the median over the
rounds. Nothing is corrected, left out or repeated because of what it says.
"""

import datetime as dt
import importlib.metadata
import json
import math
import os
import platform
import signal
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tests.benchmarks.server import SETTINGS, Server
from tests.support.db import connect, value

ROUNDS = 5
# No round is begun that would not end within this; what hangs all the same is cut off.
BUDGET_SECONDS = 160.0
LIMIT_SECONDS = 178
PACKAGES = (
    "apscheduler", "asyncpg", "duckdb", "numpy", "pandas", "pgqueuer", "polars", "procrastinate", "psycopg",
    "sqlalchemy", "TA-Lib", "uvloop",
)  # fmt: skip


class OutOfTimeError(Exception):
    """A benchmark did not end within three minutes."""


@dataclass(frozen=True)
class Line:
    """One line of the table; without a goal it is there to compare with."""

    benchmark: str
    what: str
    goal: str
    reached: str
    holds: str
    rounds: int


class Bench:
    """One run of one benchmark. quick: a run that shows only that it runs. alone: without peers."""

    def __init__(self, name: str, server: Server, *, quick: bool, alone: bool) -> None:
        self.name = name
        self.server = server
        self.quick = quick
        self.alone = alone
        self.lines: list[Line] = []
        self.remarks: list[str] = []
        self.figures: dict[str, list[float]] = defaultdict(list)
        self._started = time.monotonic()
        self._load = os.getloadavg()
        self._rounds = 0

    def size(self, full: int, quick: int) -> int:
        """How much of something to use."""
        return quick if self.quick else full

    def rounds(self, wanted: int = ROUNDS) -> Iterator[int]:
        """Number the rounds; ends early rather than over time."""
        longest = 0.0
        for number in range(1 if self.quick else wanted):
            begun = time.monotonic()
            if number and begun - self._started + longest > BUDGET_SECONDS:
                self.remark(f"{number} rounds instead of {wanted}: three minutes allow no more")
                return
            self.progress(f"round {number + 1}")
            yield number
            longest = max(longest, time.monotonic() - begun)
            self._rounds = number + 1

    def progress(self, text: str) -> None:
        """Say on stderr where it is."""
        seconds = time.monotonic() - self._started
        sys.stderr.write(f"{self.name}: {seconds:5.1f} s, {text}\n")

    def remark(self, text: str) -> None:
        """Say something under the table."""
        self.remarks.append(f"{self.name}: {text}")

    @contextmanager
    def timed(self, figure: str) -> Iterator[None]:
        """Add the seconds that the body takes to a figure."""
        begun = time.perf_counter()
        yield
        self.add(figure, time.perf_counter() - begun)

    def add(self, figure: str, *values: float) -> None:
        """Add raw values to a figure."""
        self.figures[figure].extend(values)

    def median(self, figure: str) -> float:
        """The median over the rounds; NaN where the time was not enough for one."""
        return statistics.median(self.figures[figure] or [math.nan])

    def at_most(self, what: str, reached: float, goal: float, unit: str = "") -> None:
        """A goal that is held when `reached` is not above it."""
        self._line(what, f"≤ {_number(goal)}{unit}", reached, unit, holds=reached <= goal)

    def at_least(self, what: str, reached: float, goal: float, unit: str = "") -> None:
        """A goal that is held when `reached` is not below it."""
        self._line(what, f"≥ {_number(goal)}{unit}", reached, unit, holds=reached >= goal)

    def beside(self, what: str, reached: float, unit: str = "") -> None:
        """A figure without a goal."""
        self._line(what, "", reached, unit, holds=None)

    def _line(self, what: str, goal: str, reached: float, unit: str, *, holds: bool | None) -> None:
        said = "" if holds is None else "yes" if holds else "NO"
        text = f"{_number(reached)}{unit}"
        if math.isnan(reached):
            said, text = "?", "not measured"
        line = Line(self.name, what, goal, text, said, self._rounds)
        self.lines.append(line)

    def write(self, folder: Path) -> Path:
        """Write everything that was measured, and under which conditions."""
        folder.mkdir(exist_ok=True)
        moment = dt.datetime.now(dt.UTC)
        path = folder / f"{self.name}-{moment:%Y%m%dT%H%M%S}{'-quick' if self.quick else ''}.json"
        document = {
            "benchmark": self.name,
            "finished_at": moment.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._started, 1),
            "conditions": {**conditions(self.server), "load": [self._load, os.getloadavg()]},
            "lines": [asdict(line) for line in self.lines],
            "remarks": self.remarks,
            "figures": self.figures,
        }
        path.write_text(json.dumps(document, indent=1) + "\n")
        return path


def _number(number: float) -> str:
    if number == 0 or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def conditions(server: Server) -> dict[str, Any]:
    """Versions, processor and settings, without which figures mean nothing."""
    with connect(server.url) as conn:
        postgres = value(conn, "SELECT current_setting('server_version')")
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "postgresql": postgres,
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "settings": SETTINGS,
        "packages": versions,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def limited(seconds: int = LIMIT_SECONDS) -> Iterator[None]:
    """Raise OutOfTimeError in the body when it takes longer."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise OutOfTimeError(f"not finished after {seconds} s")

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
