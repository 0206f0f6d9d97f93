"""Files of the csv folder that are no prices, and the others beside them."""

import os
from pathlib import Path

from tests.support.cli import command
from tests.support.db import Conn, value
from tests.support.market import bars


def test_bad_files_pause_no_good_one(url: str, conn: Conn, tmp_path: Path) -> None:
    bars(conn, tmp_path, "GOOD")
    names = ("BADA", "BADB", "BADC", "BADD")
    for name in names:
        os.mkfifo(tmp_path / f"{name}.csv")
    symbols = [word for name in (*names, "GOOD") for word in ("-s", name)]
    settings = {"MARKET_PROVIDERS": "csv", "MARKET_CSV_DIR": str(tmp_path)}
    told = command(
        url, "market", "fetch-prices", *symbols, "-d", "4000", cwd=None, **settings
    ).stdout
    assert told.count("is not a regular file") == len(names), told
    assert "paused" not in told
    assert value(conn, "SELECT count(*) > 0 FROM market_prices WHERE symbol = 'GOOD'")
