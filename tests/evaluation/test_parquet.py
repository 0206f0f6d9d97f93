"""`market outcomes --parquet`: the rows of the list, with their types, for data tools."""

import datetime as dt
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.cli import command, error_line
from tests.support.db import Conn
from tests.support.process import ROOT


def test_the_file_has_the_rows_and_types_of_the_view(
    outcomes: Conn, outcomes_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "some.parquet"
    done = command(
        outcomes_url, "market", "outcomes", "-t", "t7", "-s", "UPCO", "--parquet", str(path)
    )
    assert done.returncode == 0, done.stderr
    table = pq.read_table(path)
    assert done.stdout.strip() == f"{path}: {table.num_rows:,} outcomes."
    rows = outcomes.execute(
        "SELECT * FROM outcome_facts WHERE symbol = 'UPCO' AND horizon = 't7'"
        " ORDER BY prediction_id DESC, sessions"
    ).fetchall()
    told = table.to_pylist()
    assert len(told) == len(rows) > 0
    for name in ("prediction_id", "entry_session", "return_pct", "correct", "model", "asset_class"):
        assert [row[name] for row in told] == [row[name] for row in rows], name
    assert told[0]["moment"].tzinfo is not None
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert kinds["prediction_id"] == "int64"
    assert kinds["moment"] == "timestamp[us, tz=UTC]"
    assert kinds["exit_session"] == "date32[day]"
    assert table.schema.field("return_pct").metadata[b"comment"].startswith(b"price return")
    about = json.loads(table.schema.metadata[b"reckoner"])
    assert (about["symbol"], about["horizons"]) == ("UPCO", ["t7"])
    assert dt.datetime.fromisoformat(about["made"]).tzinfo is not None


def test_no_row_has_the_same_types(url: str, outcomes_url: str, tmp_path: Path) -> None:
    schemas = []
    for number, each in enumerate((url, outcomes_url)):
        path = tmp_path / f"{number}.parquet"
        assert command(each, "market", "outcomes", "--parquet", str(path)).returncode == 0
        schemas.append(pq.read_schema(path))
    assert schemas[0].equals(schemas[1])
    assert pq.read_table(tmp_path / "0.parquet").num_rows == 0


def test_what_cannot_be_written_is_one_line(outcomes_url: str, tmp_path: Path) -> None:
    done = command(outcomes_url, "market", "outcomes", "--parquet", "/proc/nowhere/x")
    assert "/proc/nowhere/x" in error_line(done, 1)
    for more in (["-o", "csv"], ["--json"], ["--columns", "symbol"]):
        done = command(outcomes_url, "market", "outcomes", "--parquet", str(tmp_path / "x"), *more)
        assert "--parquet" in error_line(done, 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["pyarrow"])
def test_without_pyarrow_one_line_says_so(outcomes_url: str, tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise ImportError('not installed')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    wanted = tmp_path / "out.parquet"
    done = command(
        outcomes_url, "market", "outcomes", "--parquet", str(wanted), cwd=tmp_path, PYTHONPATH=path
    )
    assert error_line(done, 2) == "error: --parquet needs the extra 'parquet' (pyarrow)"
    assert not wanted.exists()
