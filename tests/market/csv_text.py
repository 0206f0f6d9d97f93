"""Files of the csv provider as text, and one question to it."""

import datetime as dt
from pathlib import Path

from market.providers import Answer, Request
from market.providers.csv_files import CsvFiles
from tests.support.clock import day

HEADER = "date,open,high,low,close,volume"


def ask(
    folder: Path,
    text: str | bytes | None,
    symbol: str = "ACME",
    name: str = "",
    *,
    month: str = "2024-01",
) -> Answer:
    """Write the file, if any, and ask for a month, by default January 2024."""
    if text is not None:
        raw = text if isinstance(text, bytes) else text.encode()
        (folder / (name or f"{symbol}.csv")).write_bytes(raw)
    start = day(f"{month}-01")
    end = start + dt.timedelta(days=29 if month[-2:] in {"04", "06", "09", "11"} else 30)
    days = [start + dt.timedelta(days=n) for n in range((end - start).days + 1)]
    return CsvFiles(folder).fetch(Request(symbol, start, end, days))


def lines(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"
