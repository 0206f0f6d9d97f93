"""The bytes that prices were read from: kept once, without keys, and for their time."""

import datetime as dt
import hashlib
from pathlib import Path

import pytest

from market.prices import ingestion
from market.providers import Kind, Payload, Request
from market.providers.csv_files import CsvFiles
from market.settings import MarketSettings
from sql.database import Database
from tests.market.provenance.scenes import (
    LATER,
    NOW,
    T1,
    audit,
    payloads,
    raw,
    sweep_at,
    turn,
    versions,
)
from tests.support.cli import command
from tests.support.clock import day
from tests.support.db import Conn, value
from tests.support.providers import FakeProvider
from worker.settings import WorkerSettings


@pytest.mark.usefixtures("prediction")
def test_every_bar_knows_the_bytes_that_it_was_read_from(
    url: str, conn: Conn, folder: Path
) -> None:
    (kept,) = payloads(conn)
    body = (folder / "ACME.csv").read_bytes()
    assert value(conn, "SELECT array_agg(DISTINCT payload_id) FROM market_prices") == [kept["id"]]
    assert kept["sha256"] == hashlib.sha256(body).hexdigest()
    assert (kept["provider"], kept["url"], kept["class"]) == ("csv", "ACME.csv", "ok")
    assert (kept["status"], kept["size"]) == (None, len(body))
    assert len(kept["body"]) < len(body) / 2
    printed = command(url, "market", "payload", str(kept["id"]))
    assert (printed.returncode, printed.stdout) == (0, body.decode().replace("\r\n", "\n"))


@pytest.mark.usefixtures("prediction")
def test_the_same_bytes_are_kept_once_and_unchanged_bars_are_not_touched(
    url: str, conn: Conn, folder: Path
) -> None:
    before, bars = payloads(conn), versions(conn)
    told = turn(url, CsvFiles(folder), now=LATER, refetch=True)
    assert (told["inserted"], told["updated"]) == (0, 0)
    (kept,) = payloads(conn)
    assert kept["id"] == before[0]["id"]
    assert versions(conn) == bars
    assert [row["payload_id"] for row in audit(conn)] == [kept["id"]] * 2


@pytest.mark.usefixtures("prediction")
def test_other_bytes_with_the_same_prices_touch_no_bar_either(
    url: str, conn: Conn, folder: Path
) -> None:
    bars = versions(conn)
    path = folder / "ACME.csv"
    path.write_text(path.read_text() + "\n")
    turn(url, CsvFiles(folder), now=LATER, refetch=True)
    assert len(payloads(conn)) == 2
    assert versions(conn) == bars


@pytest.mark.parametrize("kind", [Kind.BAD_ANSWER, Kind.THROTTLED, Kind.PLAN, Kind.DOWN])
def test_what_could_not_be_used_is_kept_for_whoever_mends_it(
    url: str, conn: Conn, kind: Kind
) -> None:
    turn(url, FakeProvider("remote", raw(kind, "<html>Sorry</html>")))
    (kept,) = payloads(conn)
    (row,) = audit(conn)
    assert (kept["class"], kept["status"]) == (kind, 200)
    assert row["outcome"] == ("failed" if kind is Kind.BAD_ANSWER else "later")
    (asked,) = row["asked"]
    assert (asked["provider"], asked["class"]) == ("remote", kind)
    assert (asked["payload_id"], asked["hash"]) == (kept["id"], kept["sha256"])
    assert row["error"]
    printed = command(url, "market", "payload", str(kept["id"]))
    assert printed.stdout == "<html>Sorry</html>"


def test_a_paused_provider_is_in_the_audit_though_nobody_asked_it(url: str, conn: Conn) -> None:
    provider = FakeProvider("remote", raw(Kind.THROTTLED, "slow down"))
    turn(url, provider)
    turn(url, provider, now=NOW + dt.timedelta(minutes=1), refetch=True)
    assert len(provider.asked) == 1
    classes = [row["asked"][0]["class"] for row in audit(conn)]
    assert classes == ["throttled", "paused"]


def test_no_key_reaches_a_row(url: str, conn: Conn) -> None:
    address = "https://remote/ACME?apikey=SECRET7&from=1"
    turn(url, FakeProvider("remote", raw(Kind.BAD_ANSWER, "token=SECRET7 is wrong", address)))
    for table in ("provider_payloads", "ingestion_audit", "data_quality_log", "ticker_registry"):
        assert "SECRET7" not in str(value(conn, f"SELECT json_agg(t) FROM {table} t"))  # noqa: S608
    assert payloads(conn)[0]["url"] == "https://remote/ACME?apikey=***&from=1"


@pytest.mark.usefixtures("prediction")
def test_payloads_go_after_their_time_and_bars_and_hashes_stay(url: str, conn: Conn) -> None:
    (kept,), bars = payloads(conn), versions(conn)
    sweep_at(url, NOW + dt.timedelta(days=89), 90)
    assert len(payloads(conn)) == 1
    sweep_at(url, NOW + dt.timedelta(days=91), 90)
    assert payloads(conn) == []
    assert versions(conn) == bars
    assert [row["hash"] for row in audit(conn)] == [kept["sha256"]]
    gone = command(url, "market", "payload", str(kept["id"]))
    assert gone.returncode == 1
    assert "RAW_RETENTION_DAYS" in gone.stderr


@pytest.mark.usefixtures("prediction")
def test_bytes_that_came_again_stay_as_long_again(url: str, conn: Conn, folder: Path) -> None:
    turn(url, CsvFiles(folder), now=NOW + dt.timedelta(days=60), refetch=True)
    sweep_at(url, NOW + dt.timedelta(days=100), 90)
    assert len(payloads(conn)) == 1
    sweep_at(url, NOW + dt.timedelta(days=151), 90)
    assert payloads(conn) == []


def test_nothing_is_kept_where_nothing_shall_be(
    url: str, conn: Conn, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAW_RETENTION_DAYS", "0")
    monkeypatch.setenv("MARKET_PROVIDERS", "csv")
    monkeypatch.setenv("MARKET_CSV_DIR", str(folder))
    assert MarketSettings().raw_retention_days == WorkerSettings().raw_retention_days == 0
    done = command(
        url, "market", "fetch-prices", "-s", "ACME", "-d", "900",
        MARKET_PROVIDERS="csv", MARKET_CSV_DIR=str(folder), RAW_RETENTION_DAYS="0",
    )  # fmt: skip
    assert done.returncode in {0, 1}
    assert payloads(conn) == []
    (row,) = audit(conn)
    assert (row["payload_id"], len(row["hash"])) == (None, 64)


def test_nobody_waits_for_whoever_else_stores_the_same_bytes(database: Database) -> None:
    """Some bodies are everyone's: the page that says "too many requests"."""
    request = Request("ACME", day(T1), day(T1), [day(T1)])
    page = Payload("https://remote/ACME", 429, b"Too Many Requests")
    asked = [ingestion.Attempt("remote", request, "throttled", "", 0.1, page)]
    with database.transaction() as first:
        known = ingestion.keep(first, asked, ingestion.Run())
    with database.transaction() as one, database.transaction(lock_seconds=0.5) as other:
        assert ingestion.keep(one, asked, ingestion.Run()) == known
        assert ingestion.keep(other, asked, ingestion.Run()) == known


def test_many_payloads_are_pruned_in_bites(url: str, conn: Conn) -> None:
    conn.execute(
        "INSERT INTO provider_payloads (sha256, provider, url, class, size, body, fetched_at, last_seen_at)"
        " SELECT n::text, 'csv', 'x', 'ok', 1, '', now(), now() - interval '1 year'"
        " FROM generate_series(1, 1500) n"
    )
    assert value(conn, "SELECT sweep_payloads(90)") == 1000
    assert value(conn, "SELECT sweep_payloads(90)") == 500
    assert url
