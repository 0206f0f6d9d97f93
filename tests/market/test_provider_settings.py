"""Which providers the settings give, and the one line that a bad setting gets."""

from typing import Any

import pytest

from market.providers import build
from market.settings import PROVIDER_NAMES, MarketSettings
from sql.settings import SettingsError, load

KEYS = ("FMP", "TWELVE_DATA", "POLYGON", "ALPHA_VANTAGE", "FINNHUB", "STOOQ")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No settings of whoever runs the tests, and no .env."""
    monkeypatch.chdir(tmp_path)
    for name in KEYS:
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
        monkeypatch.delenv(f"{name}_BASE_URL", raising=False)
    for name in ("MARKET_PROVIDERS", "MARKET_PROVIDER_POLICY", "MARKET_CSV_DIR"):
        monkeypatch.delenv(name, raising=False)


def names(monkeypatch: pytest.MonkeyPatch, **settings: str) -> tuple[str, ...]:
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    found = load(MarketSettings)
    assert tuple(provider.name for provider in build(found)) == found.provider_names
    return found.provider_names


def test_without_keys_it_is_yahoo(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(monkeypatch) == ("yahoo",)
    assert names(monkeypatch, MARKET_PROVIDER_POLICY="paid") == ("yahoo",)


def test_the_policy_orders_those_whose_key_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    some = {"FMP_API_KEY": "f", "POLYGON_API_KEY": "p", "FINNHUB_API_KEY": "h"}
    assert names(monkeypatch, **some) == ("yahoo", "fmp", "polygon")
    assert load(MarketSettings).chooses
    paid = names(monkeypatch, MARKET_PROVIDER_POLICY="Paid")
    assert paid == ("polygon", "fmp", "finnhub", "yahoo")


def test_a_named_list_is_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    every = {f"{name}_API_KEY": "k" for name in KEYS}
    named = ",".join(name for name in reversed(PROVIDER_NAMES))
    found = names(monkeypatch, MARKET_PROVIDERS=named, MARKET_CSV_DIR="bars", **every)
    assert found == tuple(reversed(PROVIDER_NAMES))
    assert not load(MarketSettings).chooses


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"MARKET_PROVIDERS": "yahoo,yaho"}, "MARKET_PROVIDERS: unknown provider yaho; known: "),
        ({"MARKET_PROVIDERS": " , "}, "MARKET_PROVIDERS: unknown provider (none)"),
        ({"MARKET_PROVIDERS": "fmp"}, "FMP_API_KEY: the provider fmp needs a key"),
        ({"MARKET_PROVIDERS": "yahoo,alpha_vantage"}, "ALPHA_VANTAGE_API_KEY: the provider"),
        ({"MARKET_PROVIDERS": "fmp", "FMP_API_KEY": "  "}, "FMP_API_KEY: the provider fmp"),
        ({"FMP_API_KEY": "s3cr3t k3y"}, "FMP_API_KEY: not a key"),
        ({"POLYGON_API_KEY": "s3cr3t\n"}, None),
        ({"POLYGON_API_KEY": "s3cr3t\u2026"}, "POLYGON_API_KEY: not a key"),
        ({"MARKET_PROVIDER_POLICY": "cheap"}, "MARKET_PROVIDER_POLICY: "),
        ({"FMP_BASE_URL": "localhost:8080"}, "FMP_BASE_URL: not the beginning of a URL"),
        ({"STOOQ_BASE_URL": "https://host/?key=s3cr3t"}, "STOOQ_BASE_URL: not the beginning"),
        ({"FINNHUB_BASE_URL": "http://me:s3cr3t@host"}, "FINNHUB_BASE_URL: not the beginning"),
        ({"FINNHUB_BASE_URL": "http://[::1"}, "FINNHUB_BASE_URL: not the beginning"),
        ({"MARKET_CROSS_CHECK_SAMPLE": "-1"}, "MARKET_CROSS_CHECK_SAMPLE: "),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it_and_tells_no_secret(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], words: str | None
) -> None:
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    if words is None:
        assert load(MarketSettings).key("polygon") == "s3cr3t"
        return
    with pytest.raises(SettingsError) as error:
        load(MarketSettings)
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)
    assert "s3cr3t" not in str(error.value)


def test_keys_are_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMP_API_KEY", "s3cr3t")
    settings = load(MarketSettings)
    assert settings.key("fmp") == "s3cr3t"
    assert "s3cr3t" not in repr(settings)
    assert "s3cr3t" not in str(settings)
    assert "s3cr3t" not in settings.model_dump_json()
