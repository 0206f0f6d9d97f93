"""Settings: the URL forms found in the wild, one line for a bad value, no password anywhere."""

from pathlib import Path
from typing import Any

import pytest
from psycopg import conninfo

from market.settings import MarketSettings
from sql.settings import (
    PLATFORM_VARIABLES,
    DatabaseSettings,
    LogSettings,
    Settings,
    SettingsError,
    load,
    normalize_url,
)
from tests.support.cli import command
from worker.settings import WorkerSettings

_PLAIN = {"user": "someone", "password": "hidden-word", "host": "db.example", "dbname": "shop"}
_BASE = "someone:hidden-word@db.example/shop"


def parts(url: str) -> dict[str, Any]:
    """What libpq reads from a URL once we brought it into its form."""
    return dict(conninfo.conninfo_to_dict(normalize_url(url)))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://{_BASE}",
        f"postgres://{_BASE}",
        f'"postgres://{_BASE}"',
        f"'postgresql://{_BASE}'",
        f"  postgresql://{_BASE}\n",
        f"postgresql+psycopg://{_BASE}",
        f"postgresql+psycopg2://{_BASE}",
        f"postgresql+asyncpg://{_BASE}",
        f"postgres+asyncpg://{_BASE}",
        f"postgresql://{_BASE}?pgbouncer=true&connection_limit=1&schema=public",
        "host=db.example user=someone password=hidden-word dbname=shop",
    ],
)
def test_forms_found_in_the_wild_are_one_database(url: str) -> None:
    assert parts(url) == _PLAIN


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sslmode=require", {"sslmode": "require"}),
        ("ssl=require", {"sslmode": "require"}),
        ("ssl=true", {"sslmode": "require"}),
        (
            "sslmode=require&channel_binding=require",
            {"sslmode": "require", "channel_binding": "require"},
        ),
        ("application_name=my%20app", {"application_name": "my app"}),
        ("options=-c%20search_path%3Dmine", {"options": "-c search_path=mine"}),
        ("options=endpoint%3Dep-one-2", {"options": "endpoint=ep-one-2"}),
        ("host=%2Frun%2Fa%20folder", {"host": "/run/a folder"}),
    ],
)
def test_parameters_reach_libpq_as_they_were_meant(query: str, expected: dict[str, str]) -> None:
    assert parts(f"postgresql+asyncpg://{_BASE}?{query}") == {**_PLAIN, **expected}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql:///shop", {"dbname": "shop"}),
        ("postgres:///shop?host=/run/postgresql", {"dbname": "shop", "host": "/run/postgresql"}),
        ("postgresql:///?service=shop", {"service": "shop"}),
        ("service=shop", {"service": "shop"}),
        (
            "postgres://h1,h2:6/shop?target_session_attrs=read-write",
            {"host": "h1,h2", "port": ",6", "dbname": "shop", "target_session_attrs": "read-write"},
        ),
        (
            "postgresql+psycopg://u:p,w@h1:5,[::1]:6,10.0.0.1/shop?connection_limit=2",
            {
                "user": "u",
                "password": "p,w",
                "host": "h1,::1,10.0.0.1",
                "port": "5,6,",
                "dbname": "shop",
            },
        ),
        (
            "postgresql://u:p?w#x@h1:5,h2/d",
            {"user": "u", "password": "p?w#x", "host": "h1,h2", "port": "5,", "dbname": "d"},
        ),
        ("postgresql://%2Frun%2Fpg:5/shop", {"host": "/run/pg", "port": "5", "dbname": "shop"}),
        ("host=h1,h2 port=5,6 dbname=shop", {"host": "h1,h2", "port": "5,6", "dbname": "shop"}),
    ],
)
def test_a_url_without_a_host_is_a_local_socket(url: str, expected: dict[str, str]) -> None:
    assert parts(url) == expected


def test_a_password_may_hold_anything_that_is_quoted() -> None:
    url = "postgres://someone:a%40b%2Fc%3Fd%23e+f%25@db.example:6543/shop"
    assert parts(url) == {**_PLAIN, "password": "a@b/c?d#e+f%", "port": "6543"}


def test_embedded_passes_and_needs_a_path() -> None:
    assert normalize_url('"embedded:/a folder/x"') == "embedded:/a folder/x"
    with pytest.raises(ValueError, match="needs a path"):
        normalize_url("embedded:")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://someone:hidden-word@db.example/shop",
        "someone:hidden-word@db.example/shop",
        "postgresql://someone:hidden-word@db.example:port/shop",
        "postgresql://someone:hidden-word@[::1/shop",
        "postgresql://someone:begin@hidden-word@db.example/shop",
        "postgresql://someone:begin?x@hidden-word@db.example/shop",
        "postgres+psycopg2://someone:begin@hidden-word@db.example?user=x",
        "postgresql://someone:12/hidden-word@db.example/shop",
        "postgresql://hidden-word/begin@db.example/shop",
        "postgresql://someone:hidden-word%zz@db.example/shop",
        "postgresql://someone:hidden-word@db.example/shop?no_such=parameter",
        "host=db.example password=hidden-word no_such=parameter",
        "host=db.example password='hidden-word",
        "host=db.example password hidden-word",
    ],
)
@pytest.mark.parametrize("variable", ["DATABASE_URL", "LISTEN_DATABASE_URL"])
def test_a_url_that_is_none_is_one_line_without_the_password(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(SettingsError) as caught:
        load(DatabaseSettings)
    assert_one_line(caught.value, variable)


@pytest.mark.parametrize(
    ("kind", "variable", "bad"),
    [
        (WorkerSettings, "WORKER_BATCH_SIZE", "0"),
        (WorkerSettings, "WORKER_BATCH_SIZE", "hidden-word"),
        (WorkerSettings, "WORKER_TICKER_CONCURRENCY", "0"),
        (WorkerSettings, "WORKER_LEASE_SECONDS", "0"),
        (WorkerSettings, "WORKER_LEASE_SECONDS", "nan"),
        (WorkerSettings, "WORKER_POLL_SECONDS", "0"),
        (WorkerSettings, "WORKER_SWEEP_SECONDS", "-1"),
        (WorkerSettings, "WORKER_HEARTBEAT_SECONDS", "inf"),
        (WorkerSettings, "WORKER_MAX_ATTEMPTS", "1.5"),
        (WorkerSettings, "WORKER_MAX_CRASHES", "0"),
        (WorkerSettings, "WORKER_DRAIN_SECONDS", "-1"),
        (MarketSettings, "MARKET_PROVIDERS", "yahoo,hidden-word"),
        (MarketSettings, "MARKET_PROVIDERS", ","),
        (MarketSettings, "BACKFILL_DAYS", "0"),
        (LogSettings, "LOG_FORMAT", "hidden-word"),
        (LogSettings, "LOG_LEVEL", "hidden-word"),
    ],
)
def test_a_bad_value_is_one_line_that_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, kind: type[Settings], variable: str, bad: str
) -> None:
    monkeypatch.setenv(variable, bad)
    with pytest.raises(SettingsError) as caught:
        load(kind)
    assert str(caught.value).startswith(f"{variable}: ")
    assert "\n" not in str(caught.value)


def test_csv_without_its_folder_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKET_PROVIDERS", "csv")
    monkeypatch.delenv("MARKET_CSV_DIR", raising=False)
    with pytest.raises(SettingsError, match=r"^MARKET_CSV_DIR: "):
        load(MarketSettings)


@pytest.mark.parametrize("platform", PLATFORM_VARIABLES)
def test_a_platform_never_gets_a_private_database(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str
) -> None:
    monkeypatch.chdir(tmp_path)  # away from any .env
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name in PLATFORM_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert load(DatabaseSettings).database_url == "embedded:.reckoner"
    monkeypatch.setenv(platform, "x")
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: not set"):
        load(DatabaseSettings)


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"DATABASE_URL": "mysql://someone:hidden-word@db.example/shop"}, "DATABASE_URL"),
        ({"DATABASE_URL": "", "DYNO": "worker.1"}, "DATABASE_URL"),
        ({"LISTEN_DATABASE_URL": "x://someone:hidden-word@y"}, "LISTEN_DATABASE_URL"),
        ({"WORKER_BATCH_SIZE": "many"}, "WORKER_BATCH_SIZE"),
        ({"MARKET_PROVIDERS": "csv"}, "MARKET_CSV_DIR"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
    ],
)
def test_a_process_with_a_bad_setting_ends_with_2(
    tmp_path: Path, settings: dict[str, str], variable: str
) -> None:
    url = settings.pop("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    done = command(url, "worker", "run", cwd=tmp_path, **settings)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert variable in done.stderr
    assert "hidden-word" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def assert_one_line(error: SettingsError, variable: str) -> None:
    text = str(error)
    assert text.startswith(f"{variable}: ")
    assert "\n" not in text
    assert "hidden-word" not in text
