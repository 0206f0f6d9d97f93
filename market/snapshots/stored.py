"""Reading stored bars as the strings of numbers that numpy takes without a copy per value.

numpy and the indicators are imported by what computes, so that a command or worker that computes
nothing starts as fast as before.
"""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from market.providers import Bar
from sql.columns import Dates, Floats, Integers
from sql.database import Connection

if TYPE_CHECKING:
    from market.indicators import Bars

_EPOCH = dt.date(2000, 1, 1)


class Stored(NamedTuple):
    """A symbol's bars as SQL gives them. digest: None without bars. The rest: big-endian numbers."""

    symbol: str
    bars: int
    digest: int | None
    dates: bytes | None
    opens: bytes | None
    highs: bytes | None
    lows: bytes | None
    closes: bytes | None
    volumes: bytes | None

    @property
    def last(self) -> dt.date | None:
        """The date of the newest bar."""
        if not self.dates:
            return None
        return _EPOCH + dt.timedelta(days=int.from_bytes(self.dates[-4:], signed=True))

    def arrays(self) -> "Bars":
        """Return the bars as the arrays that the indicators take."""
        import numpy as np  # noqa: PLC0415 - see above

        from market.indicators import Bars  # noqa: PLC0415

        def floats(column: bytes | None) -> "np.typing.NDArray[np.float64]":
            return np.frombuffer(column or b"", dtype=">f8").astype(np.float64)

        days = np.frombuffer(self.dates or b"", dtype=">i4").astype("timedelta64[D]")
        return Bars(
            dates=np.datetime64(_EPOCH, "D") + days,
            open=floats(self.opens),
            high=floats(self.highs),
            low=floats(self.lows),
            close=floats(self.closes),
            volume=floats(self.volumes),
        )


def read(conn: Connection, symbols: Sequence[str]) -> list[Stored]:
    """Read the bars of symbols as they are stored."""
    rows = conn.execute("SELECT * FROM snapshot_bars(%s::text[])", [list(symbols)], binary=True)
    return [Stored(**row) for row in rows]


def read_after(
    conn: Connection,
    symbol: str,
    bars: Sequence[Bar],
    start: dt.date,
    end: dt.date,
    *,
    rebased: bool,
) -> Stored:
    """Read the bars of a symbol as they will be once these are stored.

    The arguments are those of `market.prices.bars_table.store`.
    """
    columns = list(zip(*bars, strict=True)) or [()] * len(Bar._fields)
    dates, opens, highs, lows, closes, _, volumes, *_ = columns
    row = conn.execute(
        "SELECT * FROM snapshot_bars_after(p_symbol => %s, p_from => %s, p_to => %s, p_rebased => %s,"
        " p_dates => %s, p_opens => %s, p_highs => %s, p_lows => %s, p_closes => %s, p_volumes => %s)",
        [
            symbol,
            start,
            end,
            rebased,
            Dates(dates),
            *map(Floats, (opens, highs, lows, closes)),
            Integers(volumes),
        ],
        binary=True,
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has one row
    return Stored(**row)
