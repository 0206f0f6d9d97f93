"""Lets a test hold a fetch of the csv provider: `HangingTicker` in tests/support/hanging.py.

Python imports this module when a process of the tests starts. The provider refuses a FIFO; here,
and only where a link `SYMBOL.fifo` beside `SYMBOL.csv` says that a test made it, it is read.
"""

from pathlib import Path

from market import files

_read = files.read_inside


def _read_or_hang(folder: Path, name: str, most: int) -> bytes:
    path = folder / name
    if path.is_fifo() and path.with_suffix(".fifo").is_fifo():
        return path.read_bytes()
    return _read(folder, name, most)


files.read_inside = _read_or_hang
