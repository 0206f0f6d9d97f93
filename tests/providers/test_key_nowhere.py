"""A key that a provider echoes, at every place and in every writing: in no column and no log."""

import datetime as dt
import functools
import gzip
import json
import logging
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from psycopg import sql

from market.prices import backfill
from market.prices.ingestion import Run
from market.providers import Answer, Provider
from market.providers.limits import guarded_fetch
from sql.database import Database
from tests.providers.raw import Raw, chunked
from tests.providers.vendor import Said, Vendor
from tests.providers.wiring import wired
from tests.providers.words import ALL, KEY, request
from tests.support.clock import at, stopped_clock, utc
from tests.support.db import Conn, connect, value
from tests.support.market import insert_prediction
from tests.support.process import WorkerProcess, cleaned_up
from tests.support.secrets import WRITINGS, shows
from tests.support.waiting import until

PROVIDERS = pytest.mark.parametrize("name", ALL)
# What the key stands in: the words that the adapters look for, in a JSON object and as a text.
FIELDS = ("Information", "Error Message", "error", "message", "Note", "status")


def bodies(written: str, before: int) -> Iterator[str]:
    """Answers with the key after so many characters."""
    pad = "We have detected your API key as "
    words = f"{(pad * 9)[-before:] if before else ''}{written} and your limit reached per day"
    yield words
    for inside in (words, words.replace("\\", "\\\\").replace('"', '\\"')):
        yield "{" + ", ".join(f'"{field}": "{inside}"' for field in FIELDS) + "}"
    yield f'{{"{words[:2000]}": 1}}'


def everything(conn: Conn) -> str:
    """All columns of all tables, and the bodies that are kept."""
    tables = conn.execute(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        " AND tablename NOT IN ('market_sessions', 'reckoner_schema')"
    ).fetchall()
    texts = [
        str(row)
        for table in tables
        for row in conn.execute(
            sql.SQL("SELECT t::text AS text FROM {} t").format(sql.SQL(table["name"]))
        )
    ]
    kept = conn.execute("SELECT body FROM provider_payloads").fetchall()
    texts += [zlib.decompress(row["body"]).decode("latin-1") for row in kept]
    return "\n".join(texts)


class Desk:
    """Fetches of one symbol, all that is written for them included."""

    def __init__(self, database: Database, conn: Conn) -> None:
        self._database, self.conn = database, conn
        self.symbol = "AAPL"
        with at(database) as inside:
            inside.execute(
                "SELECT registry_register(ARRAY['AAPL', 'BTC-USD'], ARRAY[NULL::int, NULL])"
            )

    def fetch(self, provider: Provider) -> str:
        """Fetch once, as if nothing had been before; returns the reason."""
        self.conn.execute(
            "UPDATE reckoner_providers SET paused_until = NULL, failures = 0, next_request_at = 'epoch',"
            " spacing = '0'"
        )
        self.conn.execute(
            "UPDATE provider_quotas SET minute_used = 0, day_used = 0, month_used = 0"
        )
        with at(self._database) as conn:
            plan = backfill.plan(conn, self.symbol, 30)
        assert plan is not None
        verdict = backfill.fetch(self._database, [provider], plan, lambda _: None)
        with at(self._database) as conn:
            summary = backfill.store(conn, plan, verdict, Run())
        return f"{summary} {getattr(verdict, 'reason', '')}"


@pytest.fixture
def desk(url: str) -> Iterator[Desk]:
    with stopped_clock(url, utc("2026-03-14 12:00")) as database, connect(url) as clocked:
        yield Desk(database, clocked)


@PROVIDERS
def test_in_no_column_and_no_log_wherever_it_stands(
    name: str, http: httpx.Client, vendor: Vendor, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpcore").setLevel(logging.DEBUG)
    provider = ALL[name].make(http, vendor.url)
    cases = [
        *((writing, before) for writing in WRITINGS for before in (0, 112)),
        *(("plain", before) for before in range(0, 135, 9)),
    ]
    desk.symbol = "BTC-USD" if name == "stooq" else "AAPL"  # it is asked for no shares
    said = ""
    for number, (writing, before) in enumerate(cases):
        body = list(bodies(WRITINGS[writing](KEY), before))[number % 4]
        packed = number % 5 == 0
        vendor.says = Said(
            gzip.compress(body.encode()) if packed else body,
            [200, 403, 404, 429, 500, 402][number % 6],
            {"Content-Encoding": "gzip"} if packed else {"Retry-After": KEY, "X-Echo": KEY},
        )
        said += desk.fetch(provider)
    stored = everything(desk.conn)
    assert "***" in stored
    assert not shows(stored, KEY)
    assert not shows(said, KEY)
    # httpcore's own debug lines are not ours; nothing of ours logs at all.
    ours = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("httpcore"))
    assert not shows(ours, KEY)


@PROVIDERS
def test_at_every_place_of_every_message(name: str, http: httpx.Client, vendor: Vendor) -> None:
    provider = ALL[name].make(http, vendor.url)
    for before in [*range(90, 130), *range(0, 400, 17)]:
        for status, body in zip((403, 200, 200, 404), bodies(KEY, before), strict=True):
            vendor.says = Said(body, status)
            (answer,) = guarded_fetch(lambda: [provider.fetch(request())], 1)
            assert answer.payload is not None
            for text in (answer.message, answer.payload.body.decode("latin-1"), answer.payload.url):
                assert not shows(text, KEY), text


def test_between_two_chunks(http: httpx.Client) -> None:
    body = f"We have detected your API key as {KEY} and do not like it".encode()
    for at_byte in range(len(body)):
        with Raw(lambda _, n=at_byte: chunked([body[:n], body[n:]] if n else [body])) as server:  # type: ignore[misc]
            answer = ALL["fmp"].make(http, server.url).fetch(request())
        assert answer.payload is not None
        assert not shows(answer.payload.body.decode() + answer.message, KEY)


def fetched_once(provider: Provider) -> list[Answer]:
    return [provider.fetch(request())]


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 {}\r\n\r\n",
        "{} 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n{}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: {}\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: {}\r\n\r\nx",
        "HTTP/1.1 302 Found\r\nLocation: http://{}:x/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n",
    ],
)
def test_in_a_head_that_is_refused(head: str, http: httpx.Client) -> None:
    for before in range(0, 200, 19):
        with Raw(lambda _, n=before: [head.format("x" * n + KEY).encode()]) as server:  # type: ignore[misc]
            for name in ("fmp", "polygon"):
                provider = ALL[name].make(http, server.url)
                (answer,) = guarded_fetch(functools.partial(fetched_once, provider), 1)
                assert not shows(answer.message, KEY), answer.message
                assert answer.bars == ()


def test_a_worker_keeps_and_logs_none_of_it(
    url: str, conn: Conn, vendor: Vendor, tmp_path: Path
) -> None:
    words = "x" * 108 + KEY
    vendor.says = Said(json.dumps({"Error Message": words, "error": words}), 404)
    log = tmp_path / "worker.log"
    started: list[WorkerProcess] = []
    with cleaned_up(started):
        settings = wired(vendor, "fmp,finnhub", LOG_LEVEL="DEBUG", WORKER_POLL_SECONDS="0.2")
        worker = WorkerProcess(url, log, **settings)
        started.append(worker)
        worker.ready()
        day = dt.datetime.now(dt.UTC) - dt.timedelta(days=40)
        insert_prediction(conn, ["AAPL"], moment=day)
        until(
            "the ticker was tried",
            lambda: value(conn, "SELECT count(*) FROM ingestion_audit") or None,
            40,
        )
        worker.stop()
    assert not shows(everything(conn), KEY)
    assert not shows(log.read_text(), KEY)
