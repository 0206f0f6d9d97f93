"""`indicators`: every column of 500 symbols with 2,500 bars each, from arrays in memory.

`latest` is what a night computes: the last bar's values from the whole history. `series` computes them on
every bar. Beside them TA-Lib, called per symbol for the 32 columns that it has (on every bar, for it can
do no less), and plain pandas, which gets a few symbols. The numbers of all sides are compared.
"""

import time
from typing import Any

import numpy as np

from market.indicators import COLUMNS, Bars, latest, series
from tests.benchmarks.bench import Bench

SLICE = 3  # symbols for pandas


def _bars(number: int, symbol: int) -> Bars:
    """A random walk, with a bar for each weekday."""
    random = np.random.default_rng(symbol)
    close = 100 * np.exp(np.cumsum(random.normal(0.0002, 0.015, number)))
    opened = close * np.exp(random.normal(0, 0.005, number))
    high = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 0.004, number)))
    low = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 0.004, number)))
    dates = np.busday_offset(np.datetime64("2016-01-04"), np.arange(number))
    return Bars(dates, opened, high, low, close, np.full(number, 1e6))


def measure(bench: Bench) -> None:
    symbols, number = bench.size(500, 5), bench.size(2_500, 300)
    benchmark, *each = [_bars(number, symbol) for symbol in range(symbols + 1)]
    for _ in bench.rounds():
        for name, compute in (("latest", latest), ("series", series)):
            begun = time.perf_counter()
            for bars in each:
                compute(bars, benchmark)
            bench.add(name, (time.perf_counter() - begun) / symbols * 1e6)
        if not bench.alone:
            _peers(bench, each)
    if not bench.alone:
        _compare(each[0])


def _peers(bench: Bench, each: list[Bars]) -> None:
    from tests.benchmarks.peers import per_symbol  # noqa: PLC0415 - not in the tests' environment

    sides = (
        ("TA-Lib", per_symbol.with_talib, each),
        ("pandas", per_symbol.with_pandas, each[:SLICE]),
    )
    for name, compute, some in sides:
        begun = time.perf_counter()
        for bars in some:
            compute(bars)
        bench.add(name, (time.perf_counter() - begun) / len(some) * 1e6)


def _compare(bars: Bars) -> None:
    """Nobody is fast by being wrong."""
    from tests.benchmarks.peers import per_symbol  # noqa: PLC0415 - as above

    ours: dict[str, Any] = latest(bars)
    for side in (per_symbol.with_talib, per_symbol.with_pandas):
        theirs = side(bars)
        for name in set(theirs) & set(COLUMNS):
            value = theirs[name][-1]
            if COLUMNS[name] != "text":
                assert abs(ours[name] - value) <= 1e-6 * max(1, abs(value)), (side, name)


def judge(bench: Bench) -> None:
    ours, every = bench.median("latest"), bench.median("series")
    if not bench.alone:
        talib, pandas = bench.median("TA-Lib"), bench.median("pandas")
        bench.at_most("latest ÷ TA-Lib's set on every bar", ours / talib, 2)
        bench.beside("series ÷ TA-Lib's set on every bar", every / talib)
        bench.at_least("plain pandas ÷ series", pandas / every, 20)
        bench.beside("TA-Lib, a symbol", talib, " us")
        bench.beside("pandas, a symbol", pandas, " us")
    bench.beside("latest, a symbol", ours, " us")
    bench.beside("series, a symbol", every, " us")
