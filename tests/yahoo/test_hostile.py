"""A Yahoo that attacks: bombs, redirects, odd pauses; a process of its own asks it.

The fixture fails where a host is called that is not Yahoo's.
"""

import gzip
import json
import subprocess
import sys
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from market.providers.bounds import DAY_SECONDS, MOST_ROWS
from tests.support.clock import utc
from tests.support.db import Conn
from tests.support.process import ROOT, environment
from tests.yahoo.listings import steady
from tests.yahoo.scenes import LAST, Town, trading_days
from tests.yahoo.server import Reply, Yahoo

MB = 2**20
CHART = "/v8/finance/chart/"

CHILD = """
import datetime, json, resource, sys
from market.providers import Request
from market.providers.yahoo import Yahoo

day = datetime.date.fromisoformat(sys.argv[1])
yahoo = Yahoo(seconds=float(sys.argv[2]))
yahoo._ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for symbol in sys.argv[3:]:
    answer = yahoo.fetch(Request(symbol, day, day, [day]))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    body = answer.payload.body.decode(errors="replace")[:200] if answer.payload else None
    print(json.dumps([answer.kind, answer.message, answer.retry_after, used / 1024, body]))
"""


@dataclass(frozen=True)
class Got:
    """What the process made of an answer; megabytes: what all until then had cost."""

    kind: str
    message: str
    retry_after: float | None
    megabytes: float
    body: str | None


def ask(yahoo: Yahoo, *symbols: str, seconds: float = 20.0) -> list[Got]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, f"{LAST}", f"{seconds}", *symbols],
        env=environment("", **yahoo.environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [Got(*json.loads(line)) for line in done.stdout.splitlines()]


def test_bombs_cost_a_bad_answer_and_no_memory(yahoo: Yahoo) -> None:
    zeros = bytes(300 * MB)
    bombs = {
        "GZIP": Reply(200, gzip.compress(zeros, 6), headers=(("Content-Encoding", "gzip"),)),
        "TWICE": Reply(
            200,
            gzip.compress(gzip.compress(zeros, 6)),
            headers=(("Content-Encoding", "gzip, gzip"),),
        ),
        "PLAIN": Reply(200, zeros),
        "OBJECTS": Reply(200, b'{"chart":{"result":[' + b"{}," * (4 * MB) + b"{}]}}"),
        "ROWS": Reply(
            200,
            b'{"chart":{"result":[{"meta":{"symbol":"ROWS"},"timestamp":['
            + b"1," * MOST_ROWS
            + b'1],"indicators":{"quote":[{}]}}]}}',
        ),
        "DEPTH": Reply(200, b"[" * (15 * MB)),
        "NUMBER": Reply(200, b'{"chart":' + b"9" * (15 * MB) + b"}"),
    }
    yahoo.instead = lambda _host, target: bombs.get(target.partition("?")[0].removeprefix(CHART))
    for symbol, got in zip(bombs, ask(yahoo, *bombs), strict=True):
        assert got.kind == "bad_answer", (symbol, got)
        assert got.megabytes < 150, (symbol, got)


def test_a_bomb_instead_of_a_cookie_or_a_crumb_or_a_consent(yahoo: Yahoo, conn: Conn) -> None:
    yahoo.listings["ACME"] = steady(trading_days(conn))
    bomb = Reply(
        200, gzip.compress(b"<a>" * (20 * MB)), "text/html", headers=(("Content-Encoding", "gzip"),)
    )
    yahoo.instead = lambda _host, target: None if target.startswith(CHART) else bomb
    (got,) = ask(yahoo, "ACME")
    # Charts need neither cookie nor crumb.
    assert got.kind == "ok", got
    assert got.megabytes < 150


@pytest.mark.parametrize(
    "target",
    [
        "https://other.example/v8/finance/chart/ACME",
        "http://query1.finance.yahoo.com/v8/finance/chart/ACME",
        "https://query1.finance.yahoo.com:8443/v8/finance/chart/ACME",
        "https://query1.finance.yahoo.com@other.example/",
        "https://query1.finance.yahoo.com:x@other.example/",
        "https://user@query1.finance.yahoo.com/v8/finance/chart/ACME",
        "https://other.example\\@query1.finance.yahoo.com/",
        "https://query1.finance.yahoo.com\\.other.example/",
        "https://yahoo.com.other.example/",
        "https://notyahoo.com/",
        "https://query1.finance.yahoo.com./x",
        "//other.example/v8/finance/chart/ACME",
        "https://[::1]/",
        "https://127.0.0.1/",
        "https://x:99999999/",
        "ftp://query1.finance.yahoo.com/x",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_that_leaves_yahoo_is_not_followed(yahoo: Yahoo, target: str) -> None:
    away = Reply(302, b"a stranger's body", headers=(("Location", target),))
    yahoo.instead = lambda _host, address: away if address.startswith(CHART) else None
    (got,) = ask(yahoo, "ACME")
    assert got.kind == "bad_answer", got
    assert "leaves Yahoo" in got.message
    assert got.body is None
    assert not yahoo.strangers


def test_a_redirect_within_yahoo_is_followed_a_few_times(yahoo: Yahoo, conn: Conn) -> None:
    yahoo.listings["ACME"] = steady(trading_days(conn))

    def instead(host: str, target: str) -> Reply | None:
        path, _, query = target.partition("?")
        if path == f"{CHART}LOOP":
            return Reply(302, b"", headers=(("Location", target),))
        if path.startswith(CHART) and host.startswith("query2"):
            there = f"https://query1.finance.yahoo.com{path}?{query}"
            return Reply(302, b"", headers=(("Location", there),))
        return None

    yahoo.instead = instead
    good, loop = ask(yahoo, "ACME", "LOOP")
    assert good.kind == "ok", good
    assert loop.kind == "bad_answer"
    assert "redirects" in loop.message


def test_a_consent_form_that_posts_elsewhere_is_not_sent(yahoo: Yahoo) -> None:
    form = b'<form action="https://other.example/take"><input name="csrfToken" value="t"></form>'

    def instead(host: str, target: str) -> Reply | None:
        if target.startswith(CHART):
            to = "https://consent.yahoo.com/v2/form"
            return Reply(302, b"", headers=(("Location", to),))
        return Reply(200, form, "text/html") if host == "consent.yahoo.com" else None

    yahoo.instead = instead
    (got,) = ask(yahoo, "ACME")
    assert got.kind == "bad_answer", got
    assert not yahoo.strangers


def test_a_symbol_is_one_segment_of_the_path(yahoo: Yahoo) -> None:
    seen: list[str] = []

    def instead(_host: str, target: str) -> Reply | None:
        if "getcrumb" not in target and target.startswith("/v"):
            seen.append(target.partition("?")[0])
        return None

    yahoo.instead = instead
    symbols = ["../../../X", "A/B", "^GSPC", "EURUSD=X", "A?B#C", "A%2FB"]
    answers = ask(yahoo, ".", "..", *symbols)
    assert {got.kind for got in answers[:2]} == {"bad_answer"}
    assert set(seen) == {CHART + quote(symbol, safe="") for symbol in symbols}


@pytest.mark.parametrize("seconds", ["9" * 20, "9999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_pause_longer_than_a_day_is_a_day(yahoo: Yahoo, seconds: str) -> None:
    refusal = Reply(999, b"", headers=(("Retry-After", seconds),))
    yahoo.instead = lambda _host, target: refusal if target.startswith(CHART) else None
    (got,) = ask(yahoo, "ACME")
    assert (got.kind, got.retry_after) == ("throttled", DAY_SECONDS)
    assert "a day is kept" in got.message


def test_a_page_that_yfinance_cannot_read_is_no_exception(yahoo: Yahoo) -> None:
    page = Reply(200, b'<form><input name="csrfToken"></form>', "text/html; charset=hex_codec")

    def instead(_host: str, target: str) -> Reply | None:
        return Reply(401, b"{}") if target.startswith(CHART) else page

    yahoo.instead = instead
    for got in ask(yahoo, "ACME", "ACME"):
        assert got.kind in {"bad_answer", "plan", "down"}


def test_texts_that_postgres_cannot_hold_cost_an_attempt_and_no_event(town: Town) -> None:
    town.list_("ACME")
    words = "a\0b\ud800 \u202e" + "x" * 5000
    odd = json.dumps({"chart": {"result": None, "error": {"description": words}}}).encode()
    town.yahoo.instead = lambda _host, target: Reply(200, odd) if target.startswith(CHART) else None
    try:
        town.predict("ACME")
        (failed,) = town.until_tried("ACME")
        assert (failed["status"], failed["attempts"]) == ("failed", 1)
    finally:
        town.yahoo.instead = None
    town.go_on()
    town.until_complete()


def test_a_pause_of_centuries_costs_no_attempt_and_a_day(town: Town) -> None:
    town.list_("ACME")
    refusal = Reply(999, b"", headers=(("Retry-After", "9" * 20),))
    town.yahoo.instead = lambda _host, target: refusal if target.startswith(CHART) else None
    try:
        town.predict("ACME")
        (waiting,) = town.until_tried("ACME")
        assert (waiting["status"], waiting["attempts"]) == ("pending", 0)
        row = town.conn.execute(
            "SELECT paused_until, pause_reason FROM reckoner_providers WHERE name = 'yahoo'"
        ).fetchone()
        assert row is not None
        assert row["paused_until"] <= utc("2024-05-18 22:10")
        assert "a day is kept" in row["pause_reason"]
    finally:
        town.yahoo.instead = None
