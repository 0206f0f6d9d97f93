"""`python -m market …` as a user runs it: what it prints, where, and its exit code."""

import datetime as dt
from pathlib import Path

import pytest

from sql.database import Database
from tests.support.cli import command, document, error_line, table, with_csv
from tests.support.db import Conn, value
from tests.support.market import flat_bars, insert_prediction, outcome, process, sessions, write_csv

COMMANDS = (
    "register-tickers",
    "ticker-registry",
    "fetch-prices",
    "payload",
    "calculate-outcomes",
    "price-stats",
)


@pytest.fixture
def folder(conn: Conn, tmp_path: Path) -> Path:
    """A csv folder in which ACME has every session of the last two years."""
    # Not "the same day two years ago", which the 29th of February has not.
    today = value(conn, "SELECT current_date")
    days = sessions(conn, str(today - dt.timedelta(days=730)), str(today))
    write_csv(tmp_path / "bars", "ACME", flat_bars(days))
    return tmp_path / "bars"


def test_help_needs_no_database() -> None:
    for arguments in ([], *([name] for name in COMMANDS)):
        done = command("postgresql://nobody@127.0.0.1:1/nothing", "market", *arguments, "--help")
        assert done.returncode == 0, arguments
        assert "Usage" in done.stdout
        assert done.stderr == ""


def test_register_and_list(url: str, conn: Conn) -> None:
    done = command(url, "market", "register-tickers", "aapl", "BTC-USD", "--json")
    assert done.returncode == 0
    assert document(done) == [
        {"symbol": "AAPL", "result": "registered"},
        {"symbol": "BTC-USD", "result": "registered"},
    ]
    assert value(conn, "SELECT count(*) FROM outbox WHERE topic = 'ticker'") == 2

    again = command(url, "market", "register-tickers", "AAPL")
    assert (again.returncode, table(again)) == (0, [{"symbol": "AAPL", "result": "known"}])

    conn.execute("UPDATE ticker_registry SET status = 'invalid' WHERE symbol = 'AAPL'")
    listed = command(url, "market", "ticker-registry")
    assert [row["symbol"] for row in table(listed)] == ["AAPL", "BTC-USD"]
    invalid = command(url, "market", "ticker-registry", "--status", "invalid", "--json")
    assert [row["symbol"] for row in document(invalid)] == ["AAPL"]
    none = command(url, "market", "ticker-registry", "--status", "inactive", "--json")
    assert (none.returncode, document(none)) == (0, [])


def test_a_dry_run_registers_nothing(url: str, conn: Conn) -> None:
    done = command(url, "market", "register-tickers", "AAPL", "--dry-run", "--json")
    assert document(done) == [{"symbol": "AAPL", "result": "registered"}]
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 0
    assert value(conn, "SELECT count(*) FROM outbox") == 0


def test_a_word_that_is_no_symbol(url: str, conn: Conn) -> None:
    done = command(url, "market", "register-tickers", "AAPL", "not one")
    assert "'not one'" in error_line(done, 1)
    assert value(conn, "SELECT array_agg(symbol::text) FROM ticker_registry") == ["AAPL"]


def test_fetch_and_stats(url: str, conn: Conn, folder: Path) -> None:
    done = with_csv(url, folder, "market", "fetch-prices", "-s", "acme", "-d", "30", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = document(done)
    assert (row["symbol"], row["result"], row["provider"]) == ("ACME", "fetched", "csv")
    stored = value(conn, "SELECT count(*) FROM market_prices WHERE symbol = 'ACME'")
    assert row["inserted"] == stored
    assert 15 <= stored <= 23

    stats = command(url, "market", "price-stats", "acme")
    (line,) = table(stats)
    assert line["bars"] == str(stored)
    assert line["sources"] == "csv"
    assert stats.stderr == ""
    assert document(command(url, "market", "price-stats", "--json"))[0]["symbol"] == "ACME"


def test_fetching_a_symbol_that_nobody_knows(url: str, conn: Conn, folder: Path) -> None:
    done = with_csv(url, folder, "market", "fetch-prices", "-s", "NOBODY", "-s", "ACME", "--json")
    assert done.returncode == 1
    assert [row["result"] for row in document(done)] == ["unknown", "fetched"]
    assert value(conn, "SELECT status FROM ticker_registry WHERE symbol = 'NOBODY'") == "invalid"


def test_a_missing_folder_makes_nothing_invalid(url: str, conn: Conn, tmp_path: Path) -> None:
    done = with_csv(
        url, tmp_path / "gone", "market", "fetch-prices", "-s", "ACME", "-d", "150", "--json"
    )
    assert done.returncode == 1
    assert value(conn, "SELECT status FROM ticker_registry") == "active"


def test_fetching_fills_the_outcomes_that_wait(
    url: str, conn: Conn, database: Database, folder: Path
) -> None:
    moment = value(conn, "SELECT now() - interval '120 days'")
    number = insert_prediction(conn, ["ACME"], moment=moment)
    process(database, number)
    assert outcome(conn, number, "ACME")["outcome_state"] == "awaiting_prices"
    done = with_csv(url, folder, "market", "fetch-prices", "-s", "ACME", "-d", "150", "--json")
    assert document(done)[0]["outcomes"] == 1
    assert outcome(conn, number, "ACME")["outcome_state"] == "complete"


def test_calculate_outcomes(url: str, conn: Conn, database: Database, folder: Path) -> None:
    moment = value(conn, "SELECT now() - interval '120 days'")
    number = insert_prediction(conn, ["ACME"], moment=moment)
    process(database, number)
    with_csv(url, folder, "market", "fetch-prices", "-s", "ACME", "-d", "150")
    right = outcome(conn, number, "ACME")["price_t1"]
    conn.execute("UPDATE prediction_outcomes SET price_t1 = 1, return_t1 = 2")

    (untouched,) = document(command(url, "market", "calculate-outcomes", "--json"))
    assert untouched["changed"] == 0
    (tried,) = document(
        command(url, "market", "calculate-outcomes", "--force", "--dry-run", "--json")
    )
    assert (tried["changed"], tried["dry_run"]) == (1, True)
    assert outcome(conn, number, "ACME")["price_t1"] == 1
    done = command(url, "market", "calculate-outcomes", "--force")
    assert done.returncode == 0
    (row,) = table(done)
    assert (row["changed"], row["complete_before"], row["complete_after"]) == ("1", "1", "1")
    assert outcome(conn, number, "ACME")["price_t1"] == right


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        (["fetch-prices", "-s", "not one"], {"MARKET_PROVIDERS": "sample"}, 1, "'not one'"),
        (["fetch-prices", "-s", "A"], {"MARKET_PROVIDERS": "bloomberg"}, 2, "MARKET_PROVIDERS"),
        (["fetch-prices", "-s", "A"], {"MARKET_PROVIDERS": "csv"}, 2, "MARKET_CSV_DIR"),
        (["fetch-prices", "-s", "A"], {"MARKET_PROVIDERS": " "}, 2, "MARKET_PROVIDERS"),
        (["fetch-prices", "-s", "A"], {"BACKFILL_DAYS": "many"}, 2, "BACKFILL_DAYS"),
        (["ticker-registry", "--status", "lost"], {}, 2, "lost"),
        (["price-stats", "NOBODY"], {}, 1, "register-tickers NOBODY"),
        (["price-stats"], {"LOG_LEVEL": "LOUD"}, 2, "LOG_LEVEL"),
        (["price-stats"], {"DATABASE_URL": "mysql://x"}, 2, "DATABASE_URL"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    url: str, arguments: list[str], settings: dict[str, str], code: int, words: str
) -> None:
    database = settings.pop("DATABASE_URL", url)
    done = command(database, "market", *arguments, cwd=None, **settings)
    line = error_line(done, code)
    assert words in line


def test_a_database_without_our_tables(empty_url: str) -> None:
    assert "worker migrate" in error_line(command(empty_url, "market", "price-stats"), 3)


def test_an_unknown_command_is_wrong_usage(url: str) -> None:
    assert command(url, "market", "make-money").returncode == 2
    assert command(url, "market", "fetch-prices").returncode == 2
