"""golden.csv: bars, and their indicators by another program (golden.md says whose)."""

import csv
from pathlib import Path

import numpy as np

from market.indicators import Bars
from market.indicators.bars import Floats

ROWS = list(csv.DictReader(Path(__file__).with_name("golden.csv").read_text().splitlines()))


def column(name: str) -> Floats:
    return np.array([float(row[name] or "nan") for row in ROWS])


BARS = Bars(
    np.array([row["date"] for row in ROWS], dtype="datetime64[D]"),
    *(column(name) for name in ("open", "high", "low", "close", "volume")),
)
