"""The audit: a row for each symbol and run, of one transaction with the bars, and as a file."""

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from market.prices import ingestion
from market.providers import Answer, Bar, Kind, Payload, Request
from market.providers.csv_files import CsvFiles
from sql.database import Database
from tests.market.provenance.scenes import NOW, T1, audit, payloads, raw, sweep_at, turn
from tests.support.cli import command
from tests.support.clock import day
from tests.support.db import Conn, value
from tests.support.market import flat_bars, sessions, write_csv
from tests.support.providers import FakeProvider


def test_one_row_for_each_symbol_and_run(url: str, conn: Conn, folder: Path) -> None:
    told = turn(url, FakeProvider("remote", raw(Kind.EMPTY, "[]")), CsvFiles(folder))
    (row,) = audit(conn)
    event = value(conn, "SELECT max(id) FROM outbox_history")
    assert row["job"] == f"event {event}"
    assert (row["symbol"], row["outcome"], row["provider"]) == ("ACME", "fetched", "csv")
    assert (row["rows"], row["inserted"], row["rejected"]) == (told["bars"], told["inserted"], 0)
    assert (str(row["range_from"]), str(row["range_to"])) == (told["from"], told["to"])
    assert (row["score"], row["error"]) == (1.0, None)
    assert row["duration"] >= 0
    assert row["hash"] == hashlib.sha256((folder / "ACME.csv").read_bytes()).hexdigest()
    assert [each["class"] for each in row["asked"]] == ["empty", "ok"]


def test_old_records_are_pruned(url: str, conn: Conn, folder: Path) -> None:
    turn(url, CsvFiles(folder))
    sweep_at(url, NOW + dt.timedelta(days=399), 90)
    assert len(audit(conn)) == value(conn, "SELECT count(*) FROM data_quality_log") == 1
    sweep_at(url, NOW + dt.timedelta(days=401), 90)
    assert len(audit(conn)) == value(conn, "SELECT count(*) FROM data_quality_log") == 0


Fetch = Callable[..., Any]


@pytest.fixture
def fetch(url: str, conn: Conn, tmp_path: Path) -> Fetch:
    """`market fetch-prices` of symbols with files up to yesterday."""
    today = value(conn, "SELECT current_date")
    days = sessions(conn, str(today - dt.timedelta(days=60)), str(today))
    for symbol in ("ACME", "BETA"):
        write_csv(tmp_path / "recent", symbol, flat_bars(days))

    def fetch(*arguments: str) -> Any:
        return command(
            url, "market", "fetch-prices", "-d", "30", *arguments,
            MARKET_PROVIDERS="csv", MARKET_CSV_DIR=str(tmp_path / "recent"),
        )  # fmt: skip

    return fetch


def test_the_audit_as_json_lines(conn: Conn, fetch: Fetch, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text('{"earlier": true}\n')
    done = fetch("-s", "ACME", "-s", "BETA", "-s", "NOPE", "--audit", str(file), "--json")
    assert done.returncode == 1  # nobody knows NOPE
    earlier, *lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert earlier == {"earlier": True}
    assert [(line["symbol"], line["outcome"], line["job"]) for line in lines] == [
        ("ACME", "fetched", "fetch-prices"),
        ("BETA", "fetched", "fetch-prices"),
        ("NOPE", "unknown", "fetch-prices"),
    ]
    stored = conn.execute("SELECT to_jsonb(a) AS row FROM ingestion_audit a ORDER BY id").fetchall()
    assert lines == [row["row"] for row in stored]


def test_an_audit_file_that_cannot_be_opened_stops_before_anything(
    conn: Conn, fetch: Fetch, tmp_path: Path
) -> None:
    done = fetch("-s", "ACME", "--audit", str(tmp_path / "nowhere" / "runs.jsonl"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "nothing was fetched" in done.stderr
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 0


def test_a_full_disk_is_one_line_and_nothing_is_half_stored(conn: Conn, fetch: Fetch) -> None:
    done = fetch("-s", "ACME", "--audit", "/dev/full")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device" in done.stderr
    for table in ("market_prices", "ingestion_audit", "provider_payloads", "data_quality_log"):
        assert value(conn, f"SELECT count(*) FROM {table}") == 0  # noqa: S608


def test_a_line_whose_transaction_fails_is_taken_back(tmp_path: Path) -> None:
    file = ingestion.AuditFile(tmp_path / "runs.jsonl")
    with file.entry():
        file.append({"stored": True})

    def fail() -> None:
        with file.entry():
            file.append({"stored": False})
            raise RuntimeError("the commit failed")

    with pytest.raises(RuntimeError):
        fail()
    file.close()
    assert (tmp_path / "runs.jsonl").read_text() == '{"stored": true}\n'


def test_what_a_provider_says_may_hold_anything(url: str, conn: Conn) -> None:
    def answer(request: Request) -> Answer:
        bars = [Bar(date, 1.0, 1.0, 1.0, 1.0) for date in request.sessions]
        return Answer(Kind.OK, bars, "nul \0, \ud800 and\nlines", rejected=["\0\0"])

    turn(url, FakeProvider("remote", answer))
    assert value(conn, "SELECT notes[1] FROM data_quality_log") == ""


def test_nothing_of_it_is_there_when_the_store_fails(database: Database, conn: Conn) -> None:
    """The record is of one transaction with the bars."""
    attempts = [
        ingestion.Attempt(
            "csv", Request("ACME", day(T1), day(T1), [day(T1)]), "ok", "", 0.1,
            Payload("ACME.csv", None, b"bytes"),
        )
    ]  # fmt: skip

    def fail() -> None:
        with database.transaction() as inside:
            ids = ingestion.keep(inside, attempts, ingestion.Run())
            ingestion.record(inside, "ACME", attempts, ids, ingestion.Run(), "failed", {})
            raise RuntimeError("the bars could not be stored")

    with pytest.raises(RuntimeError):
        fail()
    assert (payloads(conn), audit(conn)) == ([], [])
