"""Secrets are masked by their form, and known ones in whatever a text makes of them."""

import json
import string
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sql.redaction import MASK, Secrets, one_line, redact
from tests.support.secrets import KEY, WRITINGS, shows

HIDDEN = "Hidden-Word_42"

FORMS = [
    "postgresql://someone:{}@db.example/shop",
    "connection to postgres://someone:{}@db.example failed",
    "postgres://some@one:{}/?#:@@db.example:5432/shop",
    "postgresql+asyncpg://:{}@h",
    "postgres://u:two words {}@h/d",
    "https://u:{}@proxy.example:8080/path?x=y",
    "redis://:{}@cache",
    "postgresql://u@h/d?sslmode=require&password={}&x=1",
    "host=x password={} user=y",
    "host=x password = {} user=y",
    "host=x password='{}' user=y",
    "host=x password='a b\\'{}\\\\' user=y",
    "sslpassword={}",
    "https://api.example/q?apikey={}&symbol=A",
    "https://api.example/q?symbol=A&api_token={}",
    "https://api.example/q?token={}#there",
    "https://api.example/q?key={}",
    "https://query2.example/chart/A?crumb={}",
    "https://bucket.example/x?sig={}&se=1",
    "X-Amz-Signature&signature={}",
    "https://discord.com/api/webhooks/123456789/{}",
    "https://discord.com/api/v10/webhooks/123456789/{}?wait=true",
    "https://hooks.slack.com/services/T000/B000/{}",
    "crumb={}",
    "token: {}",
    '{{"password": "{}"}}',
    '{{"password":"{}", "x": "y"}}',
    '{{"db_password": "a \\" {}", "x": "y"}}',
    '{{"password": "{}',
    '{{"said": "{{\\"apiKey\\": \\"{}\\"}}"}}',
    '{{"Authorization": "Bearer {}"}}',
    "{{'api_key': '{}'}}",
    "{{b'x-api-key': b'{}'}}",
    "Headers([('x-finnhub-token', '{}')])",
    "PGPASSWORD={}",
    "PGPASSWORD={} psql",
    "'PGPASSWORD=two words {}' in the environment",
    'export PGPASSWORD="two words {}"',
    "PGPASSWORD=a&b;c,d\"e'{}",
    "FMP_API_KEY={}",
    "TWELVE_DATA_API_KEY: {}",
    "SLACK_TOKEN={}",
    "WEBHOOK_SECRET={}",
    "AWS_SECRET_ACCESS_KEY={}",
    "Authorization: Bearer {}",
    "authorization: Basic {}==",
    "Authorization: apikey {}",
    "Proxy-Authorization: Basic {}",
    "-H 'Authorization: Bearer {}' https://api.example",
    "sent Bearer {} to it",
    "X-API-Key: {}",
    "x-api-key:{}",
    "Cookie: A3=d={}; GUC=x",
    "Set-Cookie: A3={}; Path=/",
    "--password {}",
    "--api-key={}",
]


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_of_a_secret(form: str) -> None:
    text = form.format(HIDDEN)
    once = redact(text)
    assert HIDDEN not in once
    assert MASK in once
    assert redact(once) == once
    assert HIDDEN not in one_line(f"before {text}\nafter")


@pytest.mark.parametrize(
    "text",
    [
        'password authentication failed for user "x"',
        "FMP_API_KEY: not set, and the policy needs one",
        "another form: values.0.key: Field required",
        "https://query2.finance.yahoo.com/v8/finance/chart/ACME?period1=1&events=div%2Csplits",
        "postgresql://reckoner@/reckoner?host=%2Ftmp%2Freckoner",
        "postgresql://h:5432/d",
        "HTTP 429: You've exceeded the maximum requests per minute",
        "basic knowledge",
        "2024-03-05: given twice, with closes of 1.0 and 2.0",
        "write to someone@example.com",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


ODD = st.text(string.ascii_letters + string.digits + "@:/?#&=+%\\'\"$!;,.-_~[]{}()", min_size=6)
BEFORE = st.sampled_from(["", "error: ", "at 12:00, ", "x=1 ", "{'a': 1} ", "see https://h/p, "])
AFTER = st.sampled_from(["", " and more", "\nnext line"])


def jsons(secret: str) -> str:
    return json.dumps({"password": secret, "x": 1})


CONTEXTS: list[Callable[[str], str]] = [
    jsons,
    lambda s: json.dumps({"said": jsons(s)}),
    lambda s: json.dumps({"api_key": s}, separators=(",", ":")),
    lambda s: f"PGPASSWORD={s}",
    lambda s: f"POLYGON_API_KEY={s}",
    lambda s: f"GITHUB_TOKEN={s}",
    lambda s: f"postgresql://user:{s}@host/d",
    lambda s: f"postgresql://user:{quote(s, safe='')}@host/d",
    lambda s: f"https://api.example/q?apikey={quote(s, safe='')}&x=1",
    lambda s: "password='" + s.replace("\\", "\\\\").replace("'", "\\'") + "' host=x",
    lambda s: f"X-API-Key: {s}",
]


@settings(max_examples=400, deadline=None)
@given(
    secret=ODD,
    context=st.sampled_from(CONTEXTS),
    before=BEFORE,
    after=AFTER,
    cut=st.integers(0, 200),
)
def test_whatever_a_secret_is_made_of_its_form_hides_it(
    secret: str, context: Callable[[str], str], before: str, after: str, cut: int
) -> None:
    # What begins like a quoted value, or like what was masked, is one: Python cannot know better.
    if secret[0] in "\"'\\" or secret.startswith(MASK) or "***" in secret:
        secret = f"x{secret}"
    text = before + context(secret) + after
    once = redact(text)
    written = context(secret)
    for piece in (secret, json.dumps(secret)[1:-1], quote(secret, safe="")):
        if piece in written and len(piece) >= 6:
            assert piece not in once
            # Cut short before it was cleaned, as another program may have done.
            ended = text[: len(before) + written.index(piece) + len(piece) + min(cut, 0)]
            if "://" not in written:  # a URL without its @ is no URL with a password
                assert piece not in redact(ended)
    assert redact(once) == once


# --- known secrets, in every writing ---


@pytest.mark.parametrize("writing", WRITINGS)
def test_a_known_secret_is_masked_in_every_writing_at_every_place(writing: str) -> None:
    written, secrets = WRITINGS[writing](KEY), Secrets([KEY])
    assert shows(written), "the test sees what it looks for"
    for before in range(0, 200, 7):
        text = "x " * before + written + " tail"
        cleaned = secrets.clean(text)
        assert not shows(cleaned), cleaned
        assert cleaned.endswith(" tail")
        assert cleaned.startswith("x " * before)


@pytest.mark.parametrize("writing", WRITINGS)
def test_a_fragment_of_it_is_masked_too(writing: str) -> None:
    written, secrets = WRITINGS[writing](KEY), Secrets([KEY])
    for at in range(len(written)):
        assert not shows(secrets.clean(written[at:]))
        assert not shows(secrets.clean(written[:at]))


@settings(max_examples=300, deadline=None)
@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40),
    writing=st.sampled_from(sorted(WRITINGS)),
    around=st.text(max_size=40),
)
def test_any_key(key: str, writing: str, around: str) -> None:
    cleaned = Secrets([key]).clean(around + WRITINGS[writing](key) + around)
    assert key.lower() not in cleaned.lower()


def test_wide_characters() -> None:
    body = f'{{"said": "{KEY}"}}'.encode("utf-16")
    cleaned = Secrets([KEY]).clean_bytes(body)
    assert not shows(cleaned.decode("utf-16", errors="replace"))
    assert not shows(cleaned.replace(b"\0", b"").decode("latin-1"))


def test_what_has_no_secret_is_left_as_it_is() -> None:
    body = json.dumps(
        [{"date": "2026-11-20", "close": 121.79, "volume": 114364809}] * 1000
    ).encode()
    assert Secrets([KEY]).clean_bytes(body) is body
    assert Secrets([""]).clean("all of it") == "all of it"


def test_of_a_large_body_with_a_key_nothing_is_kept() -> None:
    body = b"x" * 2**20 + KEY.encode() + b"x" * 2**20
    assert Secrets([KEY]).clean_bytes(body) == b"*** (2097172 bytes with a key in them)"


@pytest.mark.parametrize(
    "text",
    [
        "a://" * 25_000,
        "a://b:" * 15_000 + "@",
        "postgres://" * 9_000,
        "postgres://" + "@" * 90_000,
        "password=" * 11_000,
        'token="' * 14_000,
        "\\" * 100_000 + '"',
        '"x_token=\\' * 10_000,
        "Basic " * 16_000,
        "authorization:" * 7_000,
        "%5c" * 33_000,
        "&amp;" * 20_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    one_line(text)
    Secrets([KEY]).clean(text)
    assert time.process_time() - started < 3
