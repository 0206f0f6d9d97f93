"""What holds for every provider over HTTP: the network's faults, other forms, and where keys go."""

import logging
import socket
from urllib.parse import quote, quote_plus

import httpx
import pytest

from market.providers import Answer, Kind, Provider
from market.providers import http as http_module
from tests.providers.vendor import Said, Vendor
from tests.providers.words import ALL, CLOSES, DAYS, KEY, request
from tests.support.waiting import until

PROVIDERS = pytest.mark.parametrize("name", ALL)


def made(name: str, http: httpx.Client, vendor: Vendor) -> Provider:
    return ALL[name].make(http, vendor.url)


@PROVIDERS
def test_a_good_answer_gives_its_bars_ascending_with_the_bytes(
    name: str, http: httpx.Client, vendor: Vendor
) -> None:
    vendor.says = ALL[name].good
    answer = made(name, http, vendor).fetch(request())
    assert answer.kind is Kind.OK, answer.message
    assert [bar.date for bar in answer.bars] == DAYS
    assert [bar.close for bar in answer.bars] == CLOSES
    assert all(type(bar.volume) in {int, type(None)} for bar in answer.bars)
    assert answer.payload is not None
    assert answer.payload.status == 200
    assert answer.payload.url.startswith(vendor.url)
    assert len(answer.payload.sha256) == 64


@PROVIDERS
def test_rows_outside_the_range_are_left_out(name: str, http: httpx.Client, vendor: Vendor) -> None:
    vendor.says = ALL[name].good
    answer = made(name, http, vendor).fetch(request(days=DAYS[:1]))
    assert [bar.date for bar in answer.bars] == DAYS[:1]


@PROVIDERS
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (Said(status=500), Kind.DOWN),
        (Said("<html>Bad Gateway</html>", 502), Kind.DOWN),
        (Said(manner="reset"), Kind.DOWN),
        (Said("[" * 1000, manner="half"), Kind.DOWN),
        (Said(manner="hang"), Kind.DOWN),
        (Said("<html>Are you a browser?</html>"), Kind.BAD_ANSWER),
        (Said(""), Kind.BAD_ANSWER),
        (Said("null"), Kind.BAD_ANSWER),
        (Said("{}"), Kind.BAD_ANSWER),
        (Said("[" * 100_000), Kind.BAD_ANSWER),
        (Said(b"\xff\xfe\x00{"), Kind.BAD_ANSWER),
        (Said({}, headers={"Content-Encoding": "gzip"}), Kind.BAD_ANSWER),
        (Said(status=302, headers={"Location": "/elsewhere"}), Kind.BAD_ANSWER),
        (Said("not here", 404), Kind.BAD_ANSWER),
        (Said("Too Many Requests", 429, {"Retry-After": "42"}), Kind.THROTTLED),
        (Said("Payment Required", 402), Kind.PLAN),
        (Said("Forbidden", 403), Kind.PLAN),
        (Said("Unauthorized", 401), Kind.PLAN),
    ],
)
def test_the_class_of_what_no_provider_means(
    name: str, http: httpx.Client, vendor: Vendor, said: Said, kind: Kind
) -> None:
    vendor.says = said
    if said.manner == "hang":
        http.timeout = httpx.Timeout(15.0, read=1.0)
    answer = made(name, http, vendor).fetch(request())
    assert answer.kind is kind, answer.message
    assert answer.bars == ()
    assert answer.message
    assert "\n" not in answer.message
    assert not answer.abstains
    # Whatever may have been counted is not sent again.
    until("it was asked", lambda: vendor.log)
    assert len(vendor.log) == 1
    if kind is Kind.THROTTLED:
        assert answer.retry_after == 42


@PROVIDERS
def test_a_truncated_document_is_a_bad_answer(
    name: str, http: httpx.Client, vendor: Vendor
) -> None:
    good = ALL[name].good
    whole = (good if isinstance(good, Said) else Said({"symbol": "AAPL", "data": []})).bytes
    vendor.says = Said(whole[: len(whole) // 3])
    assert made(name, http, vendor).fetch(request()).kind is Kind.BAD_ANSWER


@PROVIDERS
def test_nobody_there(name: str, http: httpx.Client) -> None:
    # A port that is taken and on which nobody listens: a free one may be another's by then.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        answer = ALL[name].make(http, f"http://127.0.0.1:{port}").fetch(request())
    assert answer.kind is Kind.DOWN
    assert "ConnectError" in answer.message


def test_a_connection_that_was_never_made_is_tried_again(
    http: httpx.Client, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.says = ALL["fmp"].good
    refusals = iter([ConnectionRefusedError, ConnectionRefusedError, None])
    connect = socket.create_connection

    def refusing(*arguments: object, **options: object) -> socket.socket:
        refusal = next(refusals)
        if refusal:
            raise refusal
        return connect(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", refusing)
    assert made("fmp", http, vendor).fetch(request()).kind is Kind.OK


def test_an_answer_that_never_ends_is_cut(
    http: httpx.Client, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "_ANSWER_SECONDS", 0.3)
    vendor.says = Said("x" * 1000, manner="drip")
    answer = made("polygon", http, vendor).fetch(request())
    assert answer.kind is Kind.DOWN
    assert "no end" in answer.message


def leaks(answer: Answer) -> bool:
    forms = (KEY, quote(KEY, safe=""), quote_plus(KEY), KEY.replace("/", "\\/"))
    payload = answer.payload
    texts = [answer.message, *answer.rejected, repr(answer.bars)]
    if payload is not None:
        texts += [payload.url, payload.body.decode(errors="replace")]
    return any(form in text for form in forms for text in texts)


@PROVIDERS
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("form", [KEY, quote(KEY, safe=""), KEY.replace("/", "\\/")])
def test_a_key_that_is_echoed_is_kept_nowhere(
    name: str,
    http: httpx.Client,
    vendor: Vendor,
    caplog: pytest.LogCaptureFixture,
    status: int,
    form: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpcore").setLevel(logging.DEBUG)
    words = f"We have detected your API key as {form} and do not like it"
    fields = ("Information", "Error Message", "error", "message")
    said = ", ".join(f'"{field}": "{words}"' for field in fields)
    for body in (f'{{{said}, "status": "error", "code": {status}}}', words):
        vendor.says = Said(body, status)
        answer = made(name, http, vendor).fetch(request())
        assert not leaks(answer), answer
        assert answer.payload is not None
        assert b"***" in answer.payload.body
    assert KEY not in caplog.text
    assert quote(KEY, safe="") not in caplog.text
    assert quote_plus(KEY) not in caplog.text


@PROVIDERS
def test_the_key_comes_to_the_provider_and_into_no_kept_url(
    name: str, http: httpx.Client, vendor: Vendor
) -> None:
    vendor.says = ALL[name].good
    answer = made(name, http, vendor).fetch(request())
    (*_, asked) = vendor.log
    places = {
        "fmp": asked.query.get("apikey"),
        "twelve_data": asked.headers.get("authorization", "").removeprefix("apikey "),
        "polygon": asked.headers.get("authorization", "").removeprefix("Bearer "),
        "alpha_vantage": asked.query.get("apikey"),
        "finnhub": asked.headers.get("x-finnhub-token"),
        "stooq": asked.query.get("apikey"),
    }
    assert places[name] == KEY
    assert not leaks(answer)
    assert answer.payload is not None
    assert "apikey" not in answer.payload.url
