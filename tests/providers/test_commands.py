"""The commands with providers over the wire: what they show, and that a key is nowhere to be found."""

import datetime as dt
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import pytest
from psycopg import sql as psql

from tests.providers.vendor import Asked, Said, Vendor
from tests.providers.wiring import wired
from tests.providers.words import KEY
from tests.support.cli import command
from tests.support.clock import clock, utc
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, sessions
from tests.support.process import WorkerProcess
from tests.support.waiting import until


@pytest.fixture
def days(url: str, conn: Conn) -> list[dt.date]:
    """The sessions of two years until a Saturday, at whose noon the commands live.

    No quota's day and no session ends there between two of them.
    """
    with clock(url, utc("2026-03-14 12:00")):
        return sessions(conn, "2024-03-14", "2026-03-14")


def fmp(days: list[dt.date], close: float = 100.0) -> Callable[[Asked], Said]:
    def says(asked: Asked) -> Said:
        first, last = asked.query["from"], asked.query["to"]
        return Said(
            [
                dict.fromkeys(("open", "high", "low", "close"), close)
                | {"symbol": asked.query["symbol"], "date": f"{day}", "volume": 1000}
                for day in reversed(days)
                if first <= f"{day}" <= last
            ]
        )

    return says


def test_a_fetch_over_the_wire_and_what_is_told_of_it(
    url: str, conn: Conn, vendor: Vendor, days: list[dt.date]
) -> None:
    vendor.says = fmp(days)
    settings = wired(vendor, "fmp,polygon")
    done = command(url, "market", "fetch-prices", "-s", "AAPL", "-d", "30", "--json", **settings)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["result"], row["provider"], row["rejected"]) == ("fetched", "fmp", 0)
    assert value(conn, "SELECT array_agg(DISTINCT source) FROM market_prices") == ["fmp"]

    done = command(url, "market", "providers", "--json", **settings)
    assert done.returncode == 0, done.stderr
    rows = {row["provider"]: row for row in json.loads(done.stdout)}
    assert [name for name, row in rows.items() if row["order"]] == ["fmp", "polygon"]
    told = rows["fmp"]
    assert (told["order"], told["breaker"], told["errors"]) == (1, "closed", None)
    assert (told["used"], told["remaining"]) == ({"day": 1}, {"day": 249})
    assert told["plan"].startswith("free")
    assert told["last_ok_at"]
    assert told["score"] == 1.0
    assert rows["polygon"]["remaining"] == {"minute": 5}
    assert rows["yahoo"]["plan"] == "not in use"
    table = command(url, "market", "providers", **settings)
    assert table.stdout.splitlines()[1].startswith("fmp\t1\tfree")


def test_an_open_breaker_and_the_classes_of_errors_are_shown(
    url: str, conn: Conn, vendor: Vendor
) -> None:
    vendor.says = Said("<html>a new page</html>")
    settings = wired(vendor, "fmp")
    for symbol in ("AAPL", "MSFT", "NVDA"):
        done = command(url, "market", "fetch-prices", "-s", symbol, **settings)
        assert done.returncode == 1
    (row, *_) = json.loads(command(url, "market", "providers", "--json", **settings).stdout)
    assert row["breaker"] == "open"
    assert row["errors"] == {"bad_answer": 3}
    assert row["score"] == 0
    assert "3 failures in a row" in row["pause_reason"]
    assert "another form: the document" in row["last_error"]
    conn.execute("UPDATE reckoner_providers SET paused_until = now() WHERE name = 'fmp'")
    (row, *_) = json.loads(command(url, "market", "providers", "--json", **settings).stdout)
    assert (row["breaker"], row["paused_until"]) == ("half-open", None)
    vendor.says = Said({"Error Message": "Invalid API KEY"}, 401)
    command(url, "market", "fetch-prices", "-s", "AMD", **settings)
    conn.execute("UPDATE reckoner_providers SET failures = 0 WHERE name = 'fmp'")
    (row, *_) = json.loads(command(url, "market", "providers", "--json", **settings).stdout)
    assert row["breaker"] == "paused"
    assert row["errors"] == {"bad_answer": 3, "plan": 1}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"MARKET_PROVIDERS": "fmpp"}, "error: MARKET_PROVIDERS: unknown provider fmpp"),
        ({"MARKET_PROVIDERS": "fmp", "FMP_API_KEY": ""}, "error: FMP_API_KEY: the provider fmp"),
    ],
)
@pytest.mark.parametrize(
    "arguments", [["market", "fetch-prices", "-s", "A"], ["market", "providers"], ["worker"]]
)
def test_a_provider_that_cannot_be_used_is_one_line_and_exit_2(
    url: str, vendor: Vendor, settings: dict[str, str], words: str, arguments: list[str]
) -> None:
    done = command(url, *arguments, **{**wired(vendor, ""), **settings})
    assert done.returncode == 2
    assert done.stderr.startswith(words)
    assert len(done.stderr.splitlines()) == 1
    assert vendor.log == []


def everything(conn: psycopg.Connection[Any]) -> str:
    """Every row of every table of ours, as text."""
    tables = conn.execute(
        "SELECT c.oid::regclass::text AS name FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
    ).fetchall()
    texts = []
    for table in tables:
        query = psql.SQL("SELECT coalesce(string_agg(t::text, ' '), '') AS text FROM {} t")
        row = conn.execute(query.format(psql.Identifier(table["name"]))).fetchone()
        assert row is not None
        texts.append(f"{table['name']}: {row['text']}")
    return "\n".join(texts)


def assert_without_key(*texts: str) -> None:
    for text in texts:
        for form in (KEY, quote(KEY, safe=""), quote_plus(KEY), KEY.replace("/", "\\/")):
            assert form not in text


def echoing(asked: Asked) -> Said:
    """Every provider says the key that it was given, each in another class of answer."""
    key = asked.query.get("apikey") or asked.headers.get("x-finnhub-token")
    key = key or asked.headers["authorization"].split()[-1]
    words = f"your API key {key}, or apikey={quote(key, safe='')}, is not liked"
    if asked.path.startswith("/stable"):
        return Said({"Error Message": words})
    if asked.path == "/time_series":
        return Said(
            {
                "code": 404,
                "status": "error",
                "message": f"**symbol** is missing or invalid: {words}",
            }
        )
    if asked.path.startswith("/v2"):
        return Said({"status": "NOT_AUTHORIZED", "message": words}, 403)
    if asked.path == "/query":
        return Said({"Information": f"We have detected {words}, 25 requests per day"})
    return Said(words, 500)


def test_a_key_is_nowhere_to_be_found(
    url: str,
    conn: Conn,
    vendor: Vendor,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    settings = wired(vendor, "fmp,twelve_data,polygon,alpha_vantage,finnhub", BACKFILL_DAYS="60")
    vendor.says = echoing
    worker = start_worker(LOG_LEVEL="DEBUG", PYTHONVERBOSE="", **settings).ready()
    insert_prediction(conn, ["AAPL"], {"AAPL": "bullish"}, moment=dt.datetime.now(dt.UTC))
    until(
        "the ticker's event was tried",
        lambda: value(conn, "SELECT count(*) FROM outbox WHERE last_error IS NOT NULL"),
        60,
    )
    assert len({asked.path.split("/")[1] for asked in vendor.log}) >= 5
    told = [
        command(url, *arguments, LOG_LEVEL="DEBUG", **settings)
        for arguments in (
            ["market", "fetch-prices", "-s", "MSFT"],
            ["market", "providers", "--json"],
            ["worker", "health", "--json"],
            ["worker", "explain", "AAPL"],
        )
    ]
    worker.stop()
    assert_without_key(json.dumps(worker.events, ensure_ascii=False))
    assert_without_key(*(done.stdout for done in told), *(done.stderr for done in told))
    found = everything(conn)
    assert "is not liked" in found
    assert_without_key(found)


def test_two_providers_that_do_not_agree_are_both_kept(
    url: str, conn: Conn, vendor: Vendor, days: list[dt.date]
) -> None:
    def says(asked: Asked) -> Said:
        if not asked.path.startswith("/v2/aggs/ticker"):
            return fmp(days)(asked)
        first, last = asked.path.split("/")[-2:]
        rows = [
            {"t": int(dt.datetime.combine(day, dt.time(12), dt.UTC).timestamp() * 1000)}
            | {"o": 100.0, "h": 110.0, "l": 90.0, "v": 1.0, "c": 100.2 if day < days[-2] else 103.0}
            for day in days
            if first <= f"{day}" <= last
        ]
        name = asked.path.split("/")[4]
        return Said({"ticker": name, "adjusted": True, "status": "OK", "results": rows})

    vendor.says = says
    settings = wired(vendor, "fmp,polygon", MARKET_CROSS_CHECK_SAMPLE="2")
    for symbol in ("AAPL", "MSFT", "NVDA"):
        assert command(url, "market", "fetch-prices", "-s", symbol, **settings).returncode == 0
    before = conn.execute("SELECT * FROM market_prices ORDER BY symbol, date").fetchall()

    off = command(url, "market", "cross-check", **wired(vendor, "fmp,polygon"))
    assert off.returncode == 2
    assert "MARKET_CROSS_CHECK_SAMPLE is 0" in off.stderr
    dry = json.loads(
        command(url, "market", "cross-check", "--json", "--dry-run", **settings).stdout
    )
    asked = len(vendor.log)
    done = command(url, "market", "cross-check", "--json", **settings)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["symbol"] for row in rows] == [row["symbol"] for row in dry]
    assert len(rows) == 2
    stored = [row["date"] for row in before if row["symbol"] == rows[0]["symbol"]]
    late = [day for day in stored if day >= days[-2]]
    for row in rows:
        assert (row["provider"], row["other"]) == ("fmp", "polygon")
        assert (row["compared"], row["differ"]) == (5, len(late))
    assert len(vendor.log) == asked + 2
    kept = conn.execute(
        "SELECT symbol, date, provider, close, other_provider, other_close"
        " FROM provider_disagreements ORDER BY symbol, date"
    ).fetchall()
    assert {tuple(row.values()) for row in kept} == {
        (row["symbol"], day, "fmp", 100.0, "polygon", 103.0) for row in rows for day in late
    }
    assert conn.execute("SELECT * FROM market_prices ORDER BY symbol, date").fetchall() == before
