"""ACME's file, and a prediction whose bars came from it."""

from pathlib import Path

import pytest

from market.providers.csv_files import CsvFiles
from tests.market.desk import Desk
from tests.market.provenance.scenes import MOMENT, NOW
from tests.support.db import Conn
from tests.support.market import flat_bars, sessions, write_csv


@pytest.fixture
def folder(conn: Conn, tmp_path: Path) -> Path:
    write_csv(tmp_path / "bars", "ACME", flat_bars(sessions(conn, "2023-01-03", "2024-05-16")))
    return tmp_path / "bars"


@pytest.fixture
def prediction(url: str, folder: Path) -> int:
    """A prediction with a complete outcome, its bars from the file."""
    desk = Desk(url, CsvFiles(folder))
    number = desk.predict(NOW, "ACME", MOMENT)
    (told,) = desk.turn(NOW)
    assert told["verdict"] == "done"
    return number
