"""set-ticker and remap-ticker: registry, queue, prices and outcomes change together, predictions never."""

import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from market.universe import tickers
from sql.database import Database
from sql.errors import Conflict, NotFound
from tests.support.cli import command, document, error_line
from tests.support.db import Conn, value
from tests.support.market import (
    fill,
    insert_prediction,
    outcome,
    process,
    put_bars,
    sessions,
    set_fetched,
    ticker,
    uncover_after,
)
from tests.support.process import ROOT, environment

ENTRY = "2024-03-05"


@pytest.fixture
def prediction(conn: Conn, database: Database) -> int:
    """A prediction on OLD and NEW, both with bars of half a year, complete."""
    days = sessions(conn, "2024-01-02", "2024-06-28")
    for symbol, start in (("OLD", 100.0), ("NEW", 300.0)):
        put_bars(conn, symbol, {day: start + n for n, day in enumerate(days)})
        set_fetched(conn, symbol, days[0], days[-1])
    number = insert_prediction(
        conn, ["OLD", "NEW"], {"OLD": "bullish", "NEW": "bearish"}, moment=f"{ENTRY} 15:00+00"
    )
    process(database, number)
    conn.execute("DELETE FROM outbox")
    return number


def everything(conn: Conn, table: str) -> list[dict[str, Any]]:
    return conn.execute(f"SELECT xmin, ctid, t.* FROM {table} t ORDER BY id".encode()).fetchall()  # noqa: S608


def waiting(conn: Conn, symbol: str) -> list[dict[str, Any]]:
    return conn.execute(
        "SELECT status, payload FROM outbox WHERE topic = 'ticker' AND key = %s", [symbol]
    ).fetchall()


def test_a_remapped_ticker_has_the_others_prices_at_once(
    conn: Conn, database: Database, prediction: int
) -> None:
    before = outcome(conn, prediction, "OLD")
    other = outcome(conn, prediction, "NEW")
    predictions = everything(conn, "predictions")

    done = tickers.remap(database, "old", "new", dry_run=False)

    counts = ("predictions", "naming_both", "outcomes", "outcomes_changed", "bars_set_aside")
    assert [done[name] for name in counts] == [1, 1, 1, 1, 124]
    assert (done["bars_taken"], done["complete_before"], done["complete_after"]) == (124, 1, 1)
    after = outcome(conn, prediction, "OLD")
    assert after["id"] == before["id"]
    prices = ("price_at_prediction", "price_t1", "price_t3", "price_t7", "price_t30")
    assert [after[name] for name in prices] == [before[name] + 200 for name in prices]
    assert after["prediction_sentiment"] == "bullish"
    assert "return_t1 was" in after["revision"]
    assert outcome(conn, prediction, "NEW") == other
    registered = ticker(conn, "OLD")
    assert (registered["provider_symbol"], registered["status_reason"]) == (
        "NEW",
        "remapped to NEW",
    )
    assert ticker(conn, "NEW")["provider_symbol"] is None
    assert waiting(conn, "OLD") == [{"status": "pending", "payload": {"refetch": True}}]
    assert everything(conn, "predictions") == predictions
    kept = "SELECT count(*) FROM market_price_revisions WHERE symbol = 'OLD' AND new_close = old_close + 200"
    assert value(conn, kept) == 124


@pytest.mark.usefixtures("prediction")
def test_where_the_other_has_no_prices_the_old_ones_go_and_are_kept(
    conn: Conn, database: Database
) -> None:
    conn.execute("DELETE FROM market_prices WHERE symbol = 'NEW'")
    done = tickers.remap(database, "OLD", "NEW", dry_run=False)
    assert (done["bars_set_aside"], done["bars_taken"]) == (124, 0)
    assert value(conn, "SELECT count(*) FROM market_prices") == 0
    kept = "SELECT count(*) FROM market_price_revisions WHERE symbol = 'OLD' AND new_close IS NULL"
    assert value(conn, kept) == 124


def test_without_known_prices_outcomes_wait_and_old_ones_reach_them_no_more(
    conn: Conn, database: Database, prediction: int
) -> None:
    done = tickers.remap(database, "OLD", "ELSE", dry_run=False)

    assert (done["bars_taken"], done["complete_after"]) == (0, 0)
    row = outcome(conn, prediction, "OLD")
    assert (row["outcome_state"], row["price_at_prediction"]) == ("awaiting_prices", None)
    fill(database, "OLD")
    assert outcome(conn, prediction, "OLD")["price_at_prediction"] is None
    # They stay to be read, as another program's would.
    assert value(conn, "SELECT count(*) FROM market_prices WHERE symbol = 'OLD'") == 124


def test_what_is_processed_later_keeps_the_remap(
    conn: Conn, database: Database, prediction: int
) -> None:
    tickers.remap(database, "OLD", "NEW", dry_run=False)
    remapped = outcome(conn, prediction, "OLD")["price_t7"]

    process(database, prediction)
    assert outcome(conn, prediction, "OLD")["price_t7"] == remapped
    conn.execute("DELETE FROM ticker_registry WHERE symbol = 'OLD'")
    process(database, prediction)

    assert ticker(conn, "OLD")["provider_symbol"] == "NEW"
    assert value(conn, "SELECT provider_symbol FROM ticker_plan('OLD', 365, true)") == "NEW"


def test_the_rule_is_for_that_symbol_alone_and_before_all_others(
    conn: Conn, database: Database, prediction: int
) -> None:
    assert prediction
    conn.execute(
        "INSERT INTO symbol_rules (pattern, provider_symbol, priority) VALUES ('B.*', 'WRONG', 5000)"
    )
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('B.A'), ('BXA')")
    tickers.remap(database, "B.A", "NEW", dry_run=False)
    rules = {
        symbol: value(conn, "SELECT provider_symbol FROM symbol_rule(%s)", [symbol])
        for symbol in ("B.A", "BXA")
    }
    assert rules == {"B.A": "NEW", "BXA": "WRONG"}


def test_the_new_name_is_spelled_and_dated_as_its_own_rules_say(
    conn: Conn, database: Database, prediction: int
) -> None:
    done = tickers.remap(database, "OLD", "KRX:005930", dry_run=False)

    assert (done["provider_after"], done["calendar_after"]) == ("005930.KS", "XKRX")
    # 15:00 UTC is after Seoul's close.
    row = outcome(conn, prediction, "OLD")
    assert (done["entries_moved"], str(row["entry_session"])) == (1, "2024-03-06")
    assert ticker(conn, "OLD")["calendar"] == "XKRX"
    process(database, prediction)
    assert str(outcome(conn, prediction, "OLD")["entry_session"]) == "2024-03-06"


def test_back_to_itself(conn: Conn, database: Database, prediction: int) -> None:
    tickers.remap(database, "OLD", "KRX:005930", dry_run=False)
    done = tickers.remap(database, "OLD", "OLD", dry_run=False)
    assert (done["provider_after"], done["calendar_after"]) == ("OLD", "XNYS")
    assert ticker(conn, "OLD")["provider_symbol"] is None
    assert str(outcome(conn, prediction, "OLD")["entry_session"]) == ENTRY
    assert value(conn, "SELECT provider_symbol FROM ticker_plan('OLD', 365, true)") == "OLD"


def test_twice_is_once(conn: Conn, database: Database, prediction: int) -> None:
    tickers.remap(database, "OLD", "NEW", dry_run=False)
    row = outcome(conn, prediction, "OLD")
    again = tickers.remap(database, "OLD", "NEW", dry_run=False)
    assert (again["bars_set_aside"], again["outcomes_changed"], again["entries_moved"]) == (0, 0, 0)
    assert outcome(conn, prediction, "OLD") == row


def test_who_fetches_under_the_old_name_just_now_stores_nothing(
    conn: Conn, database: Database, prediction: int
) -> None:
    assert prediction
    conn.execute("SELECT outbox_requeue_ticker('OLD')")
    claim = conn.execute("SELECT * FROM outbox_claim('ticker', 'a worker', 1, 60)").fetchone()
    assert claim is not None

    done = tickers.remap(database, "OLD", "NEW", dry_run=False)

    assert done["events_cancelled"] == 1
    held = conn.execute(
        "SELECT outbox_lock(jsonb_build_array(jsonb_build_object('id', %s::bigint, 'lease', %s::bigint)))",
        [claim["id"], claim["lease"]],
    ).fetchall()
    assert held == []


def test_another_programs_outcome_is_left_alone(
    conn: Conn, database: Database, prediction: int
) -> None:
    conn.execute(
        "UPDATE prediction_outcomes SET engine_version = NULL WHERE prediction_id = %s",
        [prediction],
    )
    before = everything(conn, "prediction_outcomes")
    assert tickers.remap(database, "OLD", "NEW", dry_run=False)["outcomes"] == 0
    assert tickers.set_status(database, "NEW", "inactive", "x", dry_run=False)["outcomes"] == 0
    assert everything(conn, "prediction_outcomes") == before


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ("NOBODY", "NEW", NotFound, "register-tickers NOBODY"),
        ("OLD", "no symbol", NotFound, "no symbol"),
    ],
)
def test_what_cannot_be_remapped_changes_nothing(
    conn: Conn,
    database: Database,
    prediction: int,
    old: str,
    new: str,
    kind: type[Exception],
    words: str,
) -> None:
    assert prediction
    rules = value(conn, "SELECT count(*) FROM symbol_rules")
    with pytest.raises(kind, match=words):
        tickers.remap(database, old, new, dry_run=False)
    assert value(conn, "SELECT count(*) FROM symbol_rules") == rules


def test_a_calendar_without_sessions_is_refused(
    conn: Conn, database: Database, prediction: int
) -> None:
    assert prediction
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('MARS', 'XMARS')")
    with pytest.raises(Conflict, match="XMARS"):
        tickers.remap(database, "OLD", "MARS", dry_run=False)
    assert ticker(conn, "OLD")["provider_symbol"] is None


# Status.


def open_outcome(conn: Conn, database: Database) -> int:
    """An outcome of OLD whose later horizons have no bars yet."""
    conn.execute("DELETE FROM market_prices WHERE symbol = 'OLD' AND date > '2024-03-08'")
    uncover_after(conn, "2024-03-08", "OLD")
    number = insert_prediction(conn, ["OLD"], {"OLD": "bullish"}, moment=f"{ENTRY} 16:00+00")
    process(database, number)
    assert outcome(conn, number, "OLD")["outcome_state"] == "awaiting_prices"
    return number


@pytest.mark.parametrize("status", ["inactive", "invalid"])
def test_a_ticker_that_is_taken_out_of_service_and_back(
    conn: Conn, database: Database, prediction: int, status: str
) -> None:
    number = open_outcome(conn, database)
    conn.execute("SELECT outbox_requeue_ticker('OLD')")

    done = tickers.set_status(database, "old", status, "taken private", dry_run=False)

    assert (done["status_before"], done["status_after"], done["predictions"]) == (
        "active",
        status,
        2,
    )
    assert (done["unresolvable_before"], done["unresolvable_after"]) == (0, 1)
    assert done["events_cancelled"] == 1
    assert waiting(conn, "OLD") == []
    row = outcome(conn, number, "OLD")
    assert (row["outcome_state"], row["price_t3"]) == ("unresolvable", row["price_t3"])
    assert "taken private" in row["outcome_reason"]
    assert row["price_t1"] is not None
    assert outcome(conn, prediction, "OLD")["is_complete"]
    assert value(conn, "SELECT sweep_due()") == 0

    back = tickers.set_status(database, "OLD", "active", "was a slip", dry_run=False)

    assert (back["unresolvable_before"], back["unresolvable_after"]) == (1, 0)
    assert outcome(conn, number, "OLD")["outcome_state"] == "awaiting_prices"
    assert waiting(conn, "OLD") == [{"status": "pending", "payload": {"refetch": True}}]


# The commands.


def test_a_dry_run_counts_and_changes_nothing(url: str, conn: Conn, prediction: int) -> None:
    assert prediction
    tables = ("ticker_registry", "prediction_outcomes", "market_prices")
    before = [everything(conn, table) for table in tables]
    for arguments in (
        ["remap-ticker", "OLD", "NEW"],
        ["set-ticker", "OLD", "--status", "inactive", "--reason", "x"],
    ):
        (row,) = document(command(url, "market", *arguments, "--dry-run", "--json"))
        assert (row["dry_run"], row["predictions"]) == (True, 1)
    assert [everything(conn, table) for table in tables] == before
    assert value(conn, "SELECT count(*) FROM outbox") == 0


def test_many_rows_are_rewritten_only_with_consent(url: str, conn: Conn, prediction: int) -> None:
    arguments = ("market", "remap-ticker", "OLD", "NEW")
    line = error_line(command(url, *arguments), 2)
    assert "249 rows" in line
    assert "no backup" in line
    conn.execute(
        "INSERT INTO reckoner_backups (kind, name, taken_at) VALUES ('pg_dump', '/b/x.dump', now())"
    )
    for answer, code in (("n", 1), ("y", 0)):
        said = at_terminal(url, arguments, answer)
        assert "/b/x.dump" in said.stderr
        assert said.returncode == code, said.stderr
        provider = ticker(conn, "OLD")["provider_symbol"]
        assert provider == ("NEW" if answer == "y" else None)
    done = command(url, "market", "remap-ticker", "OLD", "OLD", "--yes", "--json")
    assert document(done)[0]["provider_after"] == "OLD"
    assert outcome(conn, prediction, "OLD")


@pytest.mark.usefixtures("prediction")
def test_a_remap_that_loses_prices_asks_for_the_name(url: str, conn: Conn) -> None:
    arguments = ("market", "remap-ticker", "OLD", "GONE")
    assert "OLD would lose 124 bars" in error_line(command(url, *arguments), 2)
    for answer, code in (("y", 1), ("old", 0)):
        said = at_terminal(url, arguments, answer)
        assert "GONE has no prices here" in said.stderr
        assert said.returncode == code, said.stderr
        provider = ticker(conn, "OLD")["provider_symbol"]
        assert provider == ("GONE" if answer == "old" else None)


def test_few_rows_need_no_consent(url: str, conn: Conn, database: Database) -> None:
    process(database, insert_prediction(conn, ["OLD"]))
    for arguments in (["remap-ticker", "OLD", "NEW"], ["calculate-outcomes", "--force"]):
        assert command(url, "market", *arguments).returncode == 0


def test_computing_many_outcomes_anew_needs_consent(
    url: str, conn: Conn, database: Database
) -> None:
    process(database, *(insert_prediction(conn, ["OLD"]) for _ in range(11)))
    arguments = ("market", "calculate-outcomes", "--force")
    assert "11 rows" in error_line(command(url, *arguments), 2)
    assert command(url, *arguments, "--dry-run").returncode == 0
    assert command(url, *arguments, "--yes").returncode == 0


def at_terminal(
    url: str, arguments: tuple[str, ...], answer: str
) -> subprocess.CompletedProcess[str]:
    """Run a command whose questions a person answers."""
    person, terminal = pty.openpty()
    try:
        os.write(person, f"{answer}\n".encode())
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            env=environment(url),
            cwd=ROOT,
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(person)
        os.close(terminal)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["set-ticker", "OLD", "--status", "lost", "--reason", "x"], 2, "lost"),
        (["set-ticker", "OLD", "--status", "inactive", "--reason", " "], 2, "--reason"),
        (["set-ticker", "NOBODY", "--status", "inactive", "--reason", "x"], 1, "NOBODY"),
        (["set-ticker", "no symbol", "--status", "inactive", "--reason", "x"], 1, "no symbol"),
    ],
)
def test_what_cannot_be_set_is_one_line(
    url: str, arguments: list[str], code: int, words: str
) -> None:
    assert words in error_line(command(url, "market", *arguments), code)
