"""`health-check`: what it calls stale is what `data-sync` fetches, and a provider that fails is not well."""

import datetime as dt
from pathlib import Path

import pytest

from market import health
from market.prices import jobs
from market.providers import Answer, Kind, Provider, limits
from market.providers.csv_files import CsvFiles
from market.providers.yahoo import Yahoo
from sql.database import Database
from tests.support.clock import day, standing_still, utc
from tests.support.db import Conn
from tests.support.market import cover, put_bars, sessions

# A Thursday after the close; the last settled session is of that day.
NOW = utc("2024-06-13 22:00")
TODAY = day("2024-06-13")
database, conn = standing_still(NOW)


def stored(
    conn: Conn, symbol: str, last: str, *, calendar: str = "XNYS", covered: str | None = None
) -> None:
    """A ticker with bars of the weeks until `last`, asked for until then or until `covered`."""
    days = sessions(conn, "2024-03-01", last, calendar)
    conn.execute(
        "INSERT INTO ticker_registry (symbol, calendar, status, price_data_end, last_backfill)"
        " VALUES (%s, %s, 'active', %s, now())",
        [symbol, calendar, days[-1]],
    )
    put_bars(conn, symbol, dict.fromkeys(days, 100.0))
    cover(conn, symbol, days[0], day(covered) if covered else days[-1])
    conn.execute("DELETE FROM outbox")


def synced(database: Database) -> set[str]:
    """The symbols that `data-sync` would fetch now."""
    with database.transaction() as conn, conn.transaction(force_rollback=True):
        job = jobs.start(conn, "sync", None, TODAY - dt.timedelta(7), TODAY)
        return {row["symbol"] for row in jobs.symbols(conn, job)}


def test_an_alarm_names_what_a_sync_fetches(database: Database, conn: Conn) -> None:
    stored(conn, "FRESH", "2024-06-12")  # a day for the newest session is not over
    stored(conn, "LATE", "2024-06-11")
    stored(conn, "ENDED", "2024-04-30", covered="2024-06-13")
    conn.execute(
        "INSERT INTO ticker_registry (symbol, calendar, status) VALUES ('not ours', 'XNYS', 'active')"
    )
    cover(conn, "not ours", day("2024-03-01"), day("2024-06-13"))
    put_bars(conn, "not ours", {day("2024-03-01"): 1.0})
    check = health.freshness(database)
    assert check["state"] == "fail"
    assert check["message"].startswith("1 of 2 tickers are stale by more than a session, most LATE")
    assert synced(database) == {"FRESH", "LATE"}  # and FRESH's newest session
    put_bars(conn, "LATE", {day("2024-06-12"): 100.0})
    assert health.freshness(database)["state"] == "ok"


def test_after_a_week_of_holidays_too(database: Database, conn: Conn) -> None:
    closes = {day(f"2024-05-{number}"): utc(f"2024-05-{number} 07:00") for number in (27, 28, 29)}
    conn.execute(
        "INSERT INTO market_sessions (calendar, session, ordinal, opens_at, closes_at)"
        " SELECT 'XTST', d, row_number() OVER (ORDER BY d), c - interval '6 hours', c"
        " FROM unnest(%s::date[], %s::timestamptz[]) AS n(d, c)",
        [list(closes), list(closes.values())],
    )
    stored(conn, "TST", "2024-05-27", calendar="XTST")
    assert "most TST" in health.freshness(database)["message"]
    assert synced(database) == {"TST"}


def test_what_no_provider_has_is_said_with_its_own_remedy(database: Database, conn: Conn) -> None:
    stored(conn, "HALTED", "2024-06-05", covered="2024-06-13")
    message = health.freshness(database)["message"]
    assert "for 1 of them providers answered and have no newer bar" in message
    assert "set-ticker HALTED --status inactive" in message
    assert synced(database) == {"HALTED"}
    conn.execute("SELECT ticker_set_status('HALTED', 'inactive', 'halted')")
    assert health.freshness(database)["state"] == "ok"


BAD = Answer(Kind.BAD_ANSWER, message="not a table")


@pytest.mark.parametrize("remote", [True, False])
def test_the_only_provider_that_fails_five_times_is_not_well(
    database: Database, tmp_path: Path, remote: bool
) -> None:
    # A local provider's bad files, and bad answers for one symbol, do not open a breaker.
    provider = Yahoo() if remote else CsvFiles(tmp_path)
    other = CsvFiles(tmp_path) if remote else Yahoo()
    note(database, provider, *[BAD] * 4)
    assert [row["state"] for row in health.providers(database, [provider])] == ["ok"]
    note(database, provider, BAD)
    [check] = health.providers(database, [provider])
    assert check["state"] == "fail"
    assert check["message"].startswith(f"5 failures in a row, last: {Kind.BAD_ANSWER}: not a table")
    states = [row["state"] for row in health.providers(database, [provider, other])]
    assert states == ["warn", "ok"]
    note(database, provider, Answer(Kind.OK))
    assert [row["state"] for row in health.providers(database, [provider])] == ["ok"]


def note(database: Database, provider: Provider, *answers: Answer) -> None:
    """Answers about one symbol."""
    with database.transaction() as conn:
        conn.execute("SELECT provider_acquire(%s, 1)", [provider.name])
        for answer in answers:
            limits.note(conn, provider, "AAA", answer)
