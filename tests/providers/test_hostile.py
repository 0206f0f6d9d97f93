"""Providers as attackers: what they send costs one bad answer, and neither memory nor time."""

import datetime as dt
import functools
import gzip
import itertools
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from market.providers import Kind
from market.providers import http as http_module
from market.providers.bounds import (
    DAY_SECONDS,
    MOST_BYTES,
    MOST_KEPT,
    MOST_ROWS,
    check_size,
    retry_after,
)
from tests.providers.raw import Raw, Script, chunked, whole
from tests.providers.vendor import Said, Vendor
from tests.providers.words import ALL, DAYS, KEY, alpha_daily, request
from tests.support.process import ROOT, environment

PROVIDERS = pytest.mark.parametrize("name", ALL)
MB = 2**20

# A process of its own, because memory that was used once is not given back.
CHILD = """
import json, resource, sys
from market.providers.http import new_http
from tests.providers.words import ALL, request

http = new_http()
ALL["fmp"].make(http, "http://127.0.0.1:1").fetch(request())  # all is imported
names, url = sys.argv[1:]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 1200 * 2**20,) * 2)
for name in names.split(","):
    answer = ALL[name].make(http, url).fetch(request())
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([answer.kind, answer.message, used / 1024]))
"""


def in_a_process(names: str, script: Script) -> list[tuple[str, str, float]]:
    """The class of each answer, its message, and the megabytes that all until then took."""
    with Raw(script) as server:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, names, server.url],
            env=environment(""),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@functools.cache
def bomb(encode: str, size: int) -> bytes:
    """Zeros, compressed."""
    wbits = {"gzip": 31, "deflate": 15, "raw": -15}[encode]
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join([*(packer.compress(bytes(MB)) for _ in range(size // MB)), packer.flush()])


def in_json(start: bytes, piece: bytes, end: bytes, size: int) -> bytes:
    return start + piece * (size // len(piece)) + end


BOMBS: dict[str, Callable[[], Iterator[bytes]]] = {
    "gzip": lambda: whole(bomb("gzip", 400 * MB), headers=[("Content-Encoding", "gzip")]),
    "deflate": lambda: whole(bomb("deflate", 400 * MB), headers=[("Content-Encoding", "deflate")]),
    "raw deflate": lambda: whole(bomb("raw", 400 * MB), headers=[("Content-Encoding", "deflate")]),
    "gzip twice": lambda: whole(
        gzip.compress(bomb("gzip", 400 * MB)), headers=[("Content-Encoding", "gzip, gzip")]
    ),
    "gzip in members": lambda: whole(
        gzip.compress(bytes(MB)) * 400, headers=[("Content-Encoding", "gzip")]
    ),
    "br": lambda: whole(b"\x5b\xff\xff\x8f" * 1000, headers=[("Content-Encoding", "br")]),
    "zstd": lambda: whole(b"\x28\xb5\x2f\xfd" * 1000, headers=[("Content-Encoding", "zstd")]),
    "a plain endless body": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\n\r\n"], itertools.repeat(b"x" * MB)
    ),
    "endless chunks": lambda: chunked(itertools.repeat(b"[1," * 20_000)),
    "a length of exabytes": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\n"],
        itertools.repeat(b"x" * MB),
    ),
}


@pytest.mark.parametrize("name", ["fmp", "stooq"])
@pytest.mark.parametrize("what", BOMBS)
def test_a_body_without_end_is_cut_after_decompression(name: str, what: str) -> None:
    next(BOMBS[what]())  # made before anybody waits for it
    [(kind, message, megabytes)] = in_a_process(name, lambda _: BOMBS[what]())
    assert kind == Kind.BAD_ANSWER, message
    assert "no end after" in message or "not asked for" in message
    assert megabytes < 100


OBJECTS: dict[str, bytes] = {
    "empty objects": in_json(b"[", b"{},", b"{}]", 4 * MB),
    "empty objects in rows": in_json(
        b'{"status":"OK","adjusted":true,"results":[', b"{},", b"{}]}", 15 * MB
    ),
    "empty lists": in_json(b"[", b"[],", b"[]]", 15 * MB),
    "nulls": in_json(b"[", b"null,", b"null]", 15 * MB),
    "wrong elements": in_json(b'{"s":"ok","t":[', b'"x",', b'"x"]}', 2 * MB),
    "as many rows as are read": b"[" + b"{}," * (MOST_ROWS - 10) + b"{}]",
    "as many dates as are read": json.dumps(
        {"Time Series (Daily)": {f"{n}": {} for n in range(MOST_ROWS - 10)}}
    ).encode(),
    "depth": b"[" * (15 * MB),
    "depth of objects": b'{"a":' * (3 * MB),
    "a number": b"[" + b"9" * (15 * MB) + b"]",
    "a string": b'["' + b"\\u0041" * (2 * MB) + b'"]',
    "commas": b"Date,Open,High,Low,Close\n" + b"," * (15 * MB),
    "lines": b"Date,Open,High,Low,Close\n" + b"\n2026-11-20,1,1,1,1" * (700_000),
    "line ends": b"Date,Open,High,Low,Close" + b"\r" * (15 * MB),
}


@pytest.mark.parametrize("what", OBJECTS)
def test_a_document_that_is_more_than_its_bytes_is_not_parsed(what: str) -> None:
    # Each way of parsing once: a list, columns, an object of rows, one of texts, CSV.
    names = "fmp,finnhub,alpha_vantage,twelve_data,stooq"
    for kind, message, megabytes in in_a_process(names, lambda _: whole(OBJECTS[what])):
        assert kind in {Kind.BAD_ANSWER, Kind.EMPTY}, message
        assert megabytes < 260, message


TRICKLES: dict[str, Callable[[], Iterator[bytes | None]]] = {
    "the body": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\n\r\n"], itertools.chain.from_iterable(itertools.repeat((b"x", None)))
    ),
    "the status": lambda: itertools.chain.from_iterable(
        (bytes([byte]), None) for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\n")
    ),
    "headers": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\n"],
        itertools.chain.from_iterable(itertools.repeat((b"A", None))),
    ),
    "continues": lambda: itertools.chain.from_iterable(
        itertools.repeat((b"HTTP/1.1 100 Continue\r\n\r\n", None))
    ),
    "a chunk's extension": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"],
        itertools.chain.from_iterable(itertools.repeat((b"a", None))),
    ),
    "trailers": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"],
        itertools.chain.from_iterable(itertools.repeat((b"a", None))),
    ),
}


@pytest.mark.parametrize("what", TRICKLES)
def test_what_trickles_is_down_after_the_time_of_a_request(
    what: str, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "_ANSWER_SECONDS", 0.7)
    started = time.monotonic()
    with Raw(lambda _: TRICKLES[what]()) as server:
        answer = ALL["fmp"].make(http, server.url).fetch(request())
    assert answer.kind is Kind.DOWN, answer.message
    assert "no end after 0.7 s" in answer.message
    assert time.monotonic() - started < 5


HEADS = [
    b"",
    b"\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 \xff\xfe OK\r\n\r\n",
    b"HTTP/1.1 999999 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\nx\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * 500_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA\0B: \0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://[::1\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://\xff\xfe.example/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://" + b"a" * 70_000 + b"/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://x:99999999/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://xn--\xc3\xa4.example/\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=hex_codec\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Type: x; charset=utf-16\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
]


@pytest.mark.parametrize("number", range(len(HEADS)))
def test_whatever_the_head_is_the_answer_is_an_answer(number: int, http: httpx.Client) -> None:
    for name in ALL:
        with Raw(lambda _: [HEADS[number]]) as server:
            answer = ALL[name].make(http, server.url).fetch(request())
        assert answer.kind in {Kind.DOWN, Kind.BAD_ANSWER}, answer.message
        assert answer.message


VALUES = [
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "9" * 400,
    "9" * 10_000,
    "1e308",
    "5e-324",
    "-0.0",
    "0",
    "9223372036854775808",
    "253402300800",
    "253402300800000",
    "-99999999999999999",
    "null",
    "true",
    '""',
    '"\\u0000"',
    '"\\ud800"',
    '"9999-12-31"',
    '"10000-01-01"',
    '"0001-01-01"',
    '"%s"' % ("9" * 10_000),
    "[]",
    "{}",
    "[[[[]]]]",
    '{"a": [null]}',
    "[" * 3000 + "]" * 3000,
]


def replaced(document: Any, text: str) -> Iterator[bytes]:
    """The document with each of its places once instead of what it has there."""

    def places(node: Any) -> Iterator[tuple[Any, Any]]:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in list(items):
            yield node, key
            if isinstance(child, dict | list) and child:
                yield from places(child)

    for node, key in list(places(document)):
        before, node[key] = node[key], "@@@"
        yield json.dumps(document).replace('"@@@"', text).encode()
        node[key] = before
    yield text.encode()


@PROVIDERS
@pytest.mark.parametrize("number", range(len(VALUES)))
def test_whatever_stands_in_a_document_the_answer_is_an_answer(
    name: str, number: int, http: httpx.Client, vendor: Vendor
) -> None:
    good = ALL[name].good
    whole_document = good.body if isinstance(good, Said) else alpha_daily()
    # The places of a document are replaced; a CSV has none.
    for document in [] if isinstance(whole_document, str) else [whole_document]:
        for body in replaced(json.loads(json.dumps(document)), VALUES[number]):
            vendor.says = (
                (
                    lambda asked, body=body: (
                        good(asked) if asked.query["function"] == "SPLITS" else Said(body)
                    )
                )
                if callable(good)
                else Said(body)
            )
            answer = ALL[name].make(http, vendor.url).fetch(request())
            assert answer.kind in {Kind.OK, Kind.EMPTY, Kind.BAD_ANSWER, Kind.DOWN}, answer.message
            assert len(answer.message) <= 400
            for bar in answer.bars:
                assert DAYS[0] <= bar.date <= DAYS[-1]


@pytest.mark.parametrize(
    ("header", "seconds", "is_said"),
    [
        ("42", 42.0, False),
        ("86400", DAY_SECONDS, False),
        ("86401", DAY_SECONDS, True),
        ("9999999999", DAY_SECONDS, True),
        ("9" * 20, DAY_SECONDS, True),
        ("9" * 10_000, DAY_SECONDS, True),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY_SECONDS, True),
        ("Fri, 31 Dec 9999 23:59:59 -2359", DAY_SECONDS, True),  # in the year 10000
        ("-5", None, False),
        ("0", None, False),
        ("", None, False),
        (None, None, False),
        ("1e3", None, False),
        ("nan", None, False),
        ("inf", None, False),
        ("٤٢", None, False),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None, False),
        ("Wed, 99 Foo 99999 99:99:99", None, False),
        ("soon", None, False),
        ("\0", None, False),
    ],
)
def test_a_pause_is_a_day_at_most(header: str | None, seconds: float | None, is_said: bool) -> None:
    found, words = retry_after(header)
    assert found == seconds
    assert bool(words) is is_said


def test_a_date_is_so_many_seconds_from_now() -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=100)
    found, words = retry_after(format_datetime(soon, usegmt=True))
    assert found is not None
    assert 90 < found <= 100
    assert words == ""


@PROVIDERS
def test_a_longer_pause_is_said(name: str, http: httpx.Client, vendor: Vendor) -> None:
    vendor.says = Said("Too Many Requests", 429, {"Retry-After": "9" * 20})
    answer = ALL[name].make(http, vendor.url).fetch(request())
    assert (answer.kind, answer.retry_after) == (Kind.THROTTLED, DAY_SECONDS)
    assert "a day" in answer.message


@PROVIDERS
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_nowhere(
    name: str, status: int, http: httpx.Client, vendor: Vendor
) -> None:
    with Vendor() as other:
        other.says = ALL[name].good
        vendor.says = Said(
            "", status, {"Location": f"{other.url}/there", "Set-Cookie": "a=b; Path=/"}
        )
        for _ in range(2):
            answer = ALL[name].make(http, vendor.url).fetch(request())
            assert answer.kind is Kind.BAD_ANSWER
        assert other.log == []
    assert all("cookie" not in asked.headers for asked in vendor.log)
    assert all(KEY not in asked.path for asked in vendor.log)


def test_a_symbol_is_one_segment_of_a_path(http: httpx.Client, vendor: Vendor) -> None:
    polygon = ALL["polygon"].make(http, vendor.url)
    for symbol in (".", "..", "..."):
        answer = polygon.fetch(request(symbol))
        assert answer.kind is Kind.BAD_ANSWER
        assert "is not a symbol" in answer.message
    assert vendor.log == []
    heads: list[bytes] = []

    def answer_all(head: bytes) -> Iterator[bytes]:
        heads.append(head.split(b"\r\n")[0])
        return whole(b"{}")

    with Raw(answer_all) as server:
        polygon = ALL["polygon"].make(http, server.url)
        for symbol in ("../../../X", "A/B/C", "A?B#C", "%2E%2E", "A\\..\\B", "X;Y"):
            polygon.fetch(request(symbol))
    for head in heads:
        path = head.split(b" ")[1].partition(b"?")[0]
        assert path.startswith(b"/v2/aggs/ticker/")
        assert path.count(b"/") == 9, head


def test_of_what_is_no_good_answer_a_part_is_kept(http: httpx.Client, vendor: Vendor) -> None:
    vendor.says = Said("x" * MB)
    payload = ALL["fmp"].make(http, vendor.url).fetch(request()).payload
    assert payload is not None
    assert payload.body == b"x" * MOST_KEPT


def test_the_limits_leave_room_for_the_largest_good_answers() -> None:
    market = [
        {
            "T": f"A{n}",
            "v": 1e9,
            "vw": 1.5,
            "o": 1.5,
            "c": 1.5,
            "h": 1.5,
            "l": 1.5,
            "t": 1794978000000,
            "n": 10,
        }
        for n in range(12_500)
    ]
    body = json.dumps({"status": "OK", "adjusted": True, "results": market}).encode()
    check_size(body)
    assert len(body) * 5 < MOST_BYTES
