"""`validation-report`, `price-stats SYMBOL`, `health-check`, `auto-pipeline`: what is stored, and can it be trusted."""

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.cli import command, document, error_line, table, with_csv
from tests.support.db import Conn, value
from tests.support.market import (
    flat_bars,
    insert_prediction,
    put_bars,
    sessions,
    set_fetched,
    write_csv,
)
from tests.support.process import WorkerProcess

MARCH = ("--start", "2024-03-01", "--end", "2024-03-31")


def put(conn: Conn, symbol: str, days: Sequence[dt.date], fetched_from: str = "2024-01-01") -> None:
    set_fetched(conn, symbol, dt.date.fromisoformat(fetched_from), dt.date(2024, 6, 28))
    put_bars(conn, symbol, dict.fromkeys(days, 100.0))


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    """The sessions of March 2024."""
    return sessions(conn, "2024-03-01", "2024-03-31")


def report(url: str, *arguments: str) -> dict[str, dict[str, object]]:
    done = command(url, "market", "validation-report", *MARCH, "--json", *arguments)
    assert done.returncode in {0, 3}, done.stderr
    return {row["symbol"]: row for row in document(done)}


def test_sessions_that_are_missing_lower_the_score(
    url: str, conn: Conn, days: list[dt.date]
) -> None:
    put(conn, "FULL", days)
    put(conn, "HALF", days[:10])
    done = command(url, "market", "validation-report", *MARCH, "--json")
    assert done.returncode == 3
    assert "HALF" in done.stderr
    assert "FULL" not in done.stderr
    rows = {row["symbol"]: row for row in document(done)}
    assert (rows["FULL"]["expected"], rows["FULL"]["stored"], rows["FULL"]["score"]) == (20, 20, 1)
    assert (rows["HALF"]["stored"], rows["HALF"]["missing"], rows["HALF"]["score"]) == (10, 10, 0.5)
    assert rows["FULL"]["providers"] == {"test": 20}
    assert command(url, "market", "validation-report", *MARCH, "--symbols", "FULL").returncode == 0


def test_a_listing_younger_than_the_range_lacks_nothing(
    url: str, conn: Conn, days: list[dt.date]
) -> None:
    put(conn, "YOUNG", days[12:])
    put(conn, "UNASKED", days[12:], fetched_from=str(days[12]))
    rows = report(url)
    assert (rows["YOUNG"]["expected"], rows["YOUNG"]["score"]) == (8, 1)
    assert (rows["UNASKED"]["expected"], rows["UNASKED"]["score"]) == (20, 0.4)


def test_what_was_wrong_in_the_answers_counts(url: str, conn: Conn, days: list[dt.date]) -> None:
    put(conn, "AAA", days)
    conn.execute("UPDATE market_prices SET volume = NULL WHERE date = '2024-03-05'")
    check = (
        "INSERT INTO data_quality_log (symbol, checked_at, provider, range_from, range_to, given,"
        " rejected, flagged, expected, missing, parts, notes, score, verdict)"
        " VALUES ('AAA', now(), 'yahoo', %s, %s, 20, %s, 1, 20, 0, '{}', '{}', %s, %s)"
    )
    for arguments in (
        ["2024-03-01", "2024-03-28", 2, 0.9, "flagged"],
        ["2024-03-01", "2024-03-28", 20, 0.1, "refused"],
        ["2023-01-01", "2023-03-01", 7, 0.2, "flagged"],
    ):
        conn.execute(check.encode(), arguments)
    row = report(url)["AAA"]
    assert [row[name] for name in ("nulls", "rejected", "flagged", "refused", "score")] == [
        1, 22, 2, 1, 0.9,
    ]  # fmt: skip


@pytest.mark.parametrize(("form", "words"), [("md", "| symbol |"), ("html", "<!doctype html>")])
def test_the_report_as_a_document(
    url: str, conn: Conn, days: list[dt.date], form: str, words: str
) -> None:
    put(conn, "AAA", days)
    done = command(url, "market", "validation-report", *MARCH, "--format", form)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert "AAA" in done.stdout


def test_bad_input_of_the_report(url: str) -> None:
    done = command(
        url, "market", "validation-report", "--start", "2024-03-02", "--end", "2024-03-01"
    )
    assert "is after --end" in error_line(done, 2)
    done = command(url, "market", "validation-report", *MARCH, "--symbols", "NOBODY")
    assert "not registered: NOBODY" in error_line(done, 1)


def test_price_stats_of_a_symbol_name_the_gaps(url: str, conn: Conn, days: list[dt.date]) -> None:
    put(conn, "AAA", [day for day in days if day not in {days[3], days[7]}])
    conn.execute("UPDATE ticker_registry SET currency = 'USD'")
    (row,) = document(command(url, "market", "price-stats", "aaa", "--json"))
    assert (row["bars"], row["sessions"], row["gap_count"]) == (18, 20, 2)
    assert row["gaps"] == [str(days[3]), str(days[7])]
    assert row["currency"] == "USD"
    (listed,) = table(command(url, "market", "price-stats"))
    assert "gaps" not in listed
    stats = conn.execute("SELECT * FROM symbol_stats WHERE symbol = 'AAA'").fetchone()
    assert stats is not None
    assert (stats["records"], stats["first_date"], stats["validation_rate"]) == (18, days[0], None)


# Health.


def test_health_check_says_who_cannot_be_asked_and_what_is_old(url: str, conn: Conn) -> None:
    healthy = command(url, "market", "health-check", "--json", MARKET_PROVIDERS="sample,yahoo")
    assert healthy.returncode == 0, healthy.stderr
    assert document(healthy)["healthy"]
    conn.execute(
        "UPDATE reckoner_providers SET paused_until = now() + interval '1 hour',"
        " pause_reason = 'HTTP 429' WHERE name = 'yahoo'"
    )
    some = command(url, "market", "health-check", MARKET_PROVIDERS="sample,yahoo")
    assert some.returncode == 0
    assert {row["check"]: row["state"] for row in table(some)}["provider yahoo"] == "warn"
    none = command(url, "market", "health-check", MARKET_PROVIDERS="yahoo")
    assert none.returncode == 3
    assert "HTTP 429" in none.stdout

    today = value(conn, "SELECT current_date")
    put(conn, "OLD", sessions(conn, str(today - dt.timedelta(30)), str(today - dt.timedelta(20))))
    old = command(url, "market", "health-check", "--no-providers", "--json")
    assert old.returncode == 3
    (check,) = document(old)["checks"]
    assert "OLD" in check["message"]
    skipped = command(
        url, "market", "health-check", "--no-freshness", "--json", MARKET_PROVIDERS="sample"
    )
    assert skipped.returncode == 0


# The pipeline.


def test_the_pipeline_takes_what_was_forgotten_all_the_way(
    url: str, conn: Conn, tmp_path: Path, start_worker: Callable[..., WorkerProcess]
) -> None:
    now = value(conn, "SELECT now()")
    days = sessions(conn, str(now.date() - dt.timedelta(400)), str(now.date()))
    write_csv(tmp_path / "bars", "AAA", flat_bars(days))
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    late, recent = (
        insert_prediction(conn, ["AAA"], {"AAA": "bullish"}, moment=now - dt.timedelta(days=n))
        for n in (20, 5)
    )
    conn.execute("UPDATE reckoner_installation SET last_prediction_id = %s", [recent])
    dry = with_csv(url, tmp_path / "bars", "market", "auto-pipeline", "--dry-run", "--json")
    assert [row["predictions"] for row in document(dry)] == [1]
    assert value(conn, "SELECT count(*) FROM outbox") == 0

    start_worker().ready()
    done = command(url, "market", "auto-pipeline", "--days-back", "7", "--json")

    assert done.returncode == 0, done.stderr
    (row,) = document(done)
    assert (row["predictions"], row["left"], row["outcomes"]) == (1, 0, 1)
    assert row["awaiting_prices"] == 0
    ids = [each["prediction_id"] for each in conn.execute("SELECT * FROM prediction_outcomes")]
    assert ids == [recent]
    (row,) = document(command(url, "market", "auto-pipeline", "--days-back", "7", "--json"))
    assert row["predictions"] == 0
    (row,) = document(
        command(url, "market", "auto-pipeline", "--days-back", "30", "--limit", "1", "--json")
    )
    assert row["predictions"] == 1
    ids = [each["prediction_id"] for each in conn.execute("SELECT * FROM prediction_outcomes")]
    assert sorted(ids) == sorted([late, recent])
