"""What TAB offers after `./dev market` and `./dev worker`: commands, options, registered symbols."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.db import Conn, connect
from tests.support.process import ROOT, environment
from tests.support.waiting import until

Complete = Callable[..., set[str]]


@pytest.fixture
def complete(url: str, conn: Conn) -> Complete:
    """What bash would offer for these words, with AAPL, AMD and BTC-USD registered."""
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('AAPL'), ('AMD'), ('BTC-USD')")
    script = subprocess.run(
        [sys.executable, ROOT / "dev", "completion"], capture_output=True, text=True, check=True
    ).stdout

    def ask(*words: str, database: str = url) -> set[str]:
        # ./dev would build an environment of its own; this is the one that runs the tests.
        function = f'dev() {{ "{sys.executable}" -m "$@"; }}\n'
        report = "printf '%s\\n' \"${COMPREPLY[@]}\""
        quoted = " ".join(f"'{word}'" for word in ("dev", *words))
        done = subprocess.run(
            [
                *("bash", "--norc", "-c"),
                f"{script}\n{function}\nCOMP_WORDS=({quoted})\nCOMP_CWORD={len(words)}\n_reckoner_dev dev\n{report}",
            ],
            env=environment(database),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stderr == ""
        return set(done.stdout.split())

    return ask


def test_commands(complete: Complete) -> None:
    assert "market" in complete("ma")
    assert complete("market", "reg") == {"register-tickers"}
    assert {"remap-ticker", "restore-coverage"} <= complete("market", "re")
    assert complete("market", "db", "") == {"audit", "backup", "check", "repair", "roles"}
    assert "--dry-run" in complete("worker", "sweep", "--")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["market", "price-stats", "A"], {"AAPL", "AMD"}),
        (["market", "price-stats", "aa"], {"aapl"}),
        (["market", "fetch-prices", "-s", "B"], {"BTC-USD"}),
        (["market", "set-ticker", "AM"], {"AMD"}),
        (["market", "remap-ticker", "AMD", "AA"], {"AAPL"}),
        (["worker", "requeue", "--ticker", "AA"], {"AAPL"}),
        (["worker", "explain", "AA"], {"AAPL"}),
    ],
)
def test_symbols(complete: Complete, words: list[str], offered: set[str]) -> None:
    # A database that is slow for a second offers nothing; then TAB is pressed once more.
    assert until("something is offered", lambda: complete(*words), 60) == offered


def test_what_was_typed_is_no_pattern(complete: Complete) -> None:
    assert complete("market", "price-stats", "%") == set()


@pytest.mark.parametrize(
    "database",
    ["postgresql://nobody@127.0.0.1:1/x", "nonsense://", "embedded:/nowhere/at/all", "{empty}"],
)
def test_without_a_database_there_is_nothing_and_no_noise(
    complete: Complete, empty_url: str, database: str
) -> None:
    assert (
        complete("market", "price-stats", "A", database=database.format(empty=empty_url)) == set()
    )


def test_a_database_that_hangs_is_not_waited_for(complete: Complete, url: str) -> None:
    with connect(url) as other, other.transaction():
        other.execute("LOCK TABLE ticker_registry IN ACCESS EXCLUSIVE MODE")
        assert complete("market", "price-stats", "A") == set()
