"""The benchmark's bars, which every snapshot compares with: read once, and again when they change."""

import datetime as dt
import time
from typing import TYPE_CHECKING, NamedTuple

from market.snapshots.stored import Stored, read
from sql.database import Connection

if TYPE_CHECKING:
    from market.indicators import Bars

# Bars that are changed by hand do not show in the registry.
_SECONDS = 60.0


class Compared(NamedTuple):
    """The benchmark's bars until a day. digest: of just these; None without any."""

    symbol: str
    bars: "Bars | None"
    as_of: dt.date | None
    digest: int | None


class Benchmark:
    """The bars of one symbol, kept for the snapshots of many. Threads may share it."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._kept: tuple[object, float, _Loaded] | None = None

    def until(self, conn: Connection, day: dt.date) -> Compared:
        """Return its stored bars until a day."""
        return self._load(conn).until(conn, day)

    def _load(self, conn: Connection) -> "_Loaded":
        row = conn.execute(
            "SELECT last_price_update FROM ticker_registry WHERE symbol = %s", [self.symbol]
        ).fetchone()
        updated, kept = row and row["last_price_update"], self._kept
        if kept and kept[0] == updated and time.monotonic() - kept[1] < _SECONDS:
            return kept[2]
        [stored] = read(conn, [self.symbol])
        loaded = _Loaded(stored)
        self._kept = updated, time.monotonic(), loaded
        return loaded


class _Loaded:
    """The benchmark's bars as they were read, and what was asked of them."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._bars = stored.arrays()
        self._found: dict[dt.date, Compared] = {}

    def until(self, conn: Connection, day: dt.date) -> Compared:
        symbol, last = self._stored.symbol, self._stored.last
        if last is None:
            return Compared(symbol, None, None, None)
        if last <= day:
            return Compared(symbol, self._bars, last, self._stored.digest)
        if day not in self._found:
            self._found[day] = self._cut(conn, day)
        return self._found[day]

    def _cut(self, conn: Connection, day: dt.date) -> Compared:
        """Return the bars until a day before the last: of a symbol that has no newer one itself."""
        import numpy as np  # noqa: PLC0415 - see `stored`

        count = int(np.searchsorted(self._bars.dates, np.datetime64(day), side="right"))
        if not count:
            return Compared(self._stored.symbol, None, None, None)
        bars = self._bars.where(np.arange(self._stored.bars) < count)
        as_of = bars.dates[-1].item()
        row = conn.execute(
            "SELECT bars_digest(%s, %s) AS digest", [self._stored.symbol, as_of]
        ).fetchone()
        return Compared(self._stored.symbol, bars, as_of, row["digest"] if row else None)
