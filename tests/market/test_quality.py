"""What a batch is judged by, through the csv provider: faulty files, and what becomes of them."""

import datetime as dt
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from market.prices.report import LEAST_SCORE, WEIGHTS, Known
from market.prices.validation import validate
from market.providers import Action, Answer, Bar, Kind, Provider, Request
from market.providers.csv_files import CsvFiles
from tests.market.desk import Desk, Told
from tests.support.clock import day, stopped_clock, utc
from tests.support.db import Conn, connect, value
from tests.support.market import flat_bars, sessions, uncover_after, write_csv
from tests.support.providers import FakeProvider, serving

NOW = utc("2024-05-17 22:00")
FIRST = "2023-05-01"  # a year of sessions before NOW

Rows = list[dict[str, Any]]


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    return sessions(conn, FIRST, "2024-05-17")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bars"


def scaled(row: dict[str, Any], factor: float) -> dict[str, Any]:
    return row | {name: row[name] * factor for name in ("open", "high", "low", "close")}


def ingest(url: str, *providers: Provider, symbol: str = "ACME") -> list[Told]:
    """Register a symbol and let a worker of the desk fetch it at NOW."""
    desk = Desk(url, *providers)
    add(url, symbol)
    return desk.turn(NOW)


def add(url: str, symbol: str = "ACME", now: dt.datetime = NOW) -> None:
    """Register a symbol at a moment, or ask for its prices again."""
    with stopped_clock(url, now), connect(url) as conn:
        conn.execute(
            "INSERT INTO ticker_registry (symbol) VALUES (%s) ON CONFLICT DO NOTHING", [symbol]
        )
        conn.execute("SELECT ticker_enqueue(ARRAY[%s], 0, false)", [symbol])


def again(url: str, conn: Conn, *providers: Provider, since: str) -> list[Told]:
    """As if the sessions after `since` had not been asked for yet, fetch them."""
    uncover_after(conn, since)
    conn.execute("DELETE FROM market_prices WHERE date > %s", [since])
    add(url)
    return Desk(url, *providers).turn(NOW)


def checked(conn: Conn, provider: str = "csv") -> dict[str, Any]:
    """The last check of a provider's batch."""
    row = conn.execute(
        "SELECT * FROM data_quality_log WHERE provider = %s ORDER BY id DESC LIMIT 1", [provider]
    ).fetchone()
    assert row is not None
    return row


def stored(conn: Conn) -> dict[dt.date, float]:
    return {
        row["date"]: row["close"]
        for row in conn.execute("SELECT date, close FROM market_prices WHERE symbol = 'ACME'")
    }


def closes(rows: Rows) -> dict[dt.date, float]:
    return {day(row["date"]): row["close"] for row in rows}


def test_a_good_batch_has_a_score_of_one(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    rows = flat_bars(days)
    write_csv(folder, "ACME", rows)
    ingest(url, CsvFiles(folder))

    row = checked(conn)
    assert (row["symbol"], row["score"], row["verdict"]) == ("ACME", 1.0, "accepted")
    assert row["parts"] == dict.fromkeys(WEIGHTS, 1.0)
    assert row["given"] == row["expected"] == len(stored(conn))
    assert (row["rejected"], row["missing"], row["flagged"], row["notes"]) == (0, 0, 0, [])


# The closes of AIG as they were traded in the worst of 2008, a month around the bailout.
CRASH = [23.25, 22.76, 18.37, 17.55, 12.14, 4.76, 3.75, 2.05, 2.69, 3.85, 4.72, 5.00, 3.31, 3.12]


def test_a_true_crash_is_noted_and_every_bar_of_it_stored(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    rows = flat_bars(days, start=CRASH[0], step=0.0)
    for row, close in zip(rows[100:], CRASH, strict=False):
        row |= {"open": close, "high": close, "low": close, "close": close}
    for row in rows[100 + len(CRASH) :]:
        row |= {"open": CRASH[-1], "high": CRASH[-1], "low": CRASH[-1], "close": CRASH[-1]}
    write_csv(folder, "ACME", rows)
    ingest(url, CsvFiles(folder))

    wanted = closes(rows)
    assert stored(conn) == {date: wanted[date] for date in stored(conn)}
    row = checked(conn)
    assert row["expected"] == len(stored(conn))
    big = sum(abs(b / a - 1) > 0.25 for a, b in itertools.pairwise(CRASH))
    assert big >= 5
    assert (row["rejected"], row["flagged"], row["verdict"]) == (0, big, "accepted")
    assert LEAST_SCORE < row["score"] < 1
    assert all("no split or dividend explains it" in note for note in row["notes"])


BAD_FIELDS: dict[str, dict[str, Any]] = {
    "2024-05-13": {"open": 900.0},  # above its high
    "2024-05-14": {"high": 0, "low": "nan"},
    "2024-05-15": {"volume": "NaN", "adjusted_close": -4331},
}


def test_a_good_close_is_stored_whatever_its_other_fields_are(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    rows = [row | {"adjusted_close": row["close"]} for row in flat_bars(days, step=0.1)]
    write_csv(folder, "ACME", [row | BAD_FIELDS.get(row["date"], {}) for row in rows])
    ingest(url, CsvFiles(folder))

    wanted, found = closes(rows), stored(conn)
    assert found == {date: wanted[date] for date in found}
    flagged = conn.execute(
        "SELECT date::text, open, high, low, volume, adjusted_close, bar_flags FROM market_prices"
        " WHERE bar_flags IS NOT NULL ORDER BY date"
    ).fetchall()
    assert [(row["date"], row["bar_flags"]) for row in flagged] == [
        ("2024-05-13", "open"),
        ("2024-05-14", "high, low"),
        ("2024-05-15", "adjusted_close, volume"),
    ]
    for row in flagged:
        assert all(row[name] is None for name in row["bar_flags"].split(", "))
    row = checked(conn)
    assert (row["score"], row["rejected"], row["missing"]) == (1, 0, 0)
    assert len([note for note in row["notes"] if "left out" in note]) == 3

    # The flag goes when a provider gives the field.
    (folder / "ACME.csv").unlink()
    write_csv(folder, "ACME", rows)
    again(url, conn, CsvFiles(folder), since="2024-05-16")
    assert value(conn, "SELECT count(*) FROM market_prices WHERE bar_flags IS NOT NULL") == 0


def test_another_programs_table_that_demands_every_field_gets_the_close(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    for name in ("open", "high", "low", "adjusted_close", "volume"):
        conn.execute(f"ALTER TABLE market_prices ALTER {name} SET NOT NULL".encode())
    rows = [row | {"adjusted_close": row["close"]} for row in flat_bars(days, step=0.1)]
    write_csv(folder, "ACME", [row | BAD_FIELDS.get(row["date"], {}) for row in rows])
    (told,) = ingest(url, CsvFiles(folder))
    assert told["verdict"] == "done", told
    wanted, found = closes(rows), stored(conn)
    assert found == {date: wanted[date] for date in found}
    row = conn.execute(
        "SELECT open, high, low, volume, adjusted_close, close, bar_flags FROM market_prices"
        " WHERE date = '2024-05-14'"
    ).fetchone()
    assert row is not None
    assert row["high"] == row["low"] == row["adjusted_close"] == row["close"]
    assert row["bar_flags"] == "high, low"
    assert value(conn, "SELECT volume FROM market_prices WHERE date = '2024-05-15'") == 0


@pytest.mark.parametrize(
    ("stored_in", "told_in", "factor"),
    [("GBp", "GBP", 0.01), ("GBP", "GBp", 100.0), ("ZAc", "ZAR", 0.01), ("ILS", "ILA", 100.0)],
)
@pytest.mark.parametrize("changed", [True, False])
def test_a_unit_that_the_provider_tells_is_believed(
    url: str,
    conn: Conn,
    days: list[dt.date],
    stored_in: str,
    told_in: str,
    factor: float,
    changed: bool,
) -> None:
    """From pence to pounds, and -3.97 % is -3.97 %. A changed word without other prices is no change."""
    level = dict.fromkeys(days, 500.0) | {days[-1]: 480.15}

    def provider(currency: str, factor: float) -> FakeProvider:
        good = serving(lambda date: level[date] * factor)
        return FakeProvider("remote", lambda request: replace(good(request), currency=currency))

    ingest(url, provider(stored_in, 1.0))
    (told,) = again(url, conn, provider(told_in, factor if changed else 1.0), since=f"{days[-2]}")
    assert told["verdict"] == "done", told
    found = stored(conn)
    assert found[days[-1]] / found[days[-2]] - 1 == pytest.approx(-0.0397)
    assert max(found.values()) == pytest.approx(500.0)
    assert value(conn, "SELECT currency FROM ticker_registry") == stored_in


@pytest.mark.parametrize("factor", [100.0, 0.01, 1000.0])
@pytest.mark.parametrize("length", [1, 5])
def test_days_in_another_unit_are_mended_and_noted(
    url: str, conn: Conn, folder: Path, days: list[dt.date], factor: float, length: int
) -> None:
    rows = flat_bars(days, step=0.1)
    wrong = [n for n, row in enumerate(rows) if row["date"] >= "2024-03-11"][:length]
    faulty = [scaled(row, factor) if n in wrong else row for n, row in enumerate(rows)]
    write_csv(folder, "ACME", faulty)
    ingest(url, CsvFiles(folder))

    wanted, found = closes(rows), stored(conn)
    assert found == pytest.approx({date: wanted[date] for date in found})
    row = checked(conn)
    assert (row["rejected"], row["missing"], row["flagged"]) == (0, 0, length)
    assert row["score"] == pytest.approx(1 - length / row["given"], abs=1e-4)
    assert "a hundred times off, and mended" in row["notes"][0]


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_the_level_before_decides_however_long_another_unit_lasts(
    url: str, conn: Conn, folder: Path, days: list[dt.date], factor: float
) -> None:
    rows = flat_bars(days, step=0.1)
    write_csv(folder, "ACME", rows)
    ingest(url, CsvFiles(folder))
    # The provider changes its unit, and leaves the days before as they are.
    since = [n for n, row in enumerate(rows) if row["date"] >= "2024-05-13"]
    later = [scaled(row, factor) if n in since else row for n, row in enumerate(rows)]
    write_csv(folder, "ACME", later)
    (told,) = again(url, conn, CsvFiles(folder), since="2024-05-10")

    assert told["verdict"] == "done", told
    wanted = closes(rows)
    found = stored(conn)
    assert max(found) == day("2024-05-17")
    assert found == pytest.approx({date: wanted[date] for date in found})
    row = checked(conn)
    assert (row["rejected"], row["verdict"]) == (0, "flagged")
    assert "in another unit than" in row["notes"][0]


def rubbish(rows: Rows) -> Rows:
    """More than four in ten rows are no bars, each kind of fault in its turn."""
    faults: Sequence[dict[str, Any]] = (
        {"close": ""},
        {"close": -5},
        {"high": 1, "low": 2},
        {"close": "n/a"},
        {"date": "yesterday"},
    )
    return [row | faults[n % 5] if n % 2 else row for n, row in enumerate(rows)]


def test_a_batch_of_rubbish_stores_nothing_and_the_next_provider_is_asked(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    write_csv(folder, "ACME", rubbish(flat_bars(days)))
    (told,) = ingest(url, CsvFiles(folder), FakeProvider("next", serving(lambda _: 50.0)))

    assert (told["verdict"], told["provider"]) == ("done", "next")
    assert value(conn, "SELECT array_agg(DISTINCT source::text) FROM market_prices") == ["next"]
    refused = checked(conn)
    assert refused["verdict"] == "refused"
    assert refused["score"] < LEAST_SCORE
    assert refused["parts"]["rows"] < 0.6
    assert checked(conn, "next")["verdict"] == "accepted"
    asked = value(conn, "SELECT asked FROM ingestion_audit")
    assert [each["verdict"] for each in asked] == ["refused", "accepted"]


def test_rubbish_from_everyone_is_a_failure_and_stores_nothing(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    write_csv(folder, "ACME", rubbish(flat_bars(days)))
    (told,) = ingest(url, CsvFiles(folder))
    assert told["verdict"] == "failed"
    assert "score 0." in told["reason"]
    assert stored(conn) == {}
    audit = conn.execute("SELECT * FROM ingestion_audit").fetchall()
    assert [(row["outcome"], row["provider"], row["rows"]) for row in audit] == [
        ("failed", None, 0)
    ]
    assert audit[0]["score"] == checked(conn)["score"]
    assert audit[0]["error"] == told["reason"]


def test_old_broken_lines_of_a_file_do_not_spoil_the_newest_day(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    rows = flat_bars(days)
    good = write_csv(folder, "ACME", rows)
    ingest(url, CsvFiles(folder))
    broken = rubbish(rows[:200]) + rows[200:]
    good.unlink()
    write_csv(folder, "ACME", broken)
    (told,) = again(url, conn, CsvFiles(folder), since="2024-05-16")
    assert (told["verdict"], told["rejected"]) == ("done", 0)
    assert max(stored(conn)) == day("2024-05-17")


@pytest.mark.parametrize("factor", [100.0, 0.01, 1000.0])
def test_a_whole_answer_in_another_unit_is_mended_to_the_stored_level(
    url: str, conn: Conn, folder: Path, days: list[dt.date], factor: float
) -> None:
    rows = flat_bars(days)
    write_csv(folder, "ACME", rows)
    ingest(url, CsvFiles(folder))
    write_csv(folder, "ACME", [scaled(row, factor) for row in rows])
    (told,) = again(url, conn, CsvFiles(folder), since="2024-05-16")

    assert told["verdict"] == "done"
    wanted, found = closes(rows), stored(conn)
    assert max(found) == day("2024-05-17")
    assert found == pytest.approx({date: wanted[date] for date in found})
    assert "times the stored ones" in checked(conn)["notes"][0]

    # A person who knows better asks for everything again, and is obeyed.
    with connect(url) as living_then:
        living_then.execute("SELECT outbox_requeue_ticker('ACME')")
    (told,) = Desk(url, CsvFiles(folder)).turn(NOW + dt.timedelta(hours=1))
    assert told["verdict"] == "done"
    assert stored(conn)[days[-1]] == pytest.approx(wanted[days[-1]] * factor)


def test_a_told_split_of_a_hundred_is_a_new_basis_and_no_unit(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    rows = flat_bars(days)
    write_csv(folder, "ACME", rows[:-1])
    again_from = f"{days[-2]}"
    ingest(url, CsvFiles(folder))
    # One new share for a hundred: the provider adjusts what came before.
    newest = scaled(rows[-1], 100.0) | {"split": 0.01}
    write_csv(folder, "ACME", [*[row | {"split": ""} for row in rows[:-1]], newest])
    (told,) = again(url, conn, CsvFiles(folder), since=again_from)

    assert (told["verdict"], told["rebased"]) == ("done", True)
    wanted, found = closes(rows), stored(conn)
    assert found == pytest.approx({date: wanted[date] * 100 for date in found})


def test_a_whole_answer_that_is_no_whole_unit_off_is_refused(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    rows = flat_bars(days)
    write_csv(folder, "ACME", rows)
    ingest(url, CsvFiles(folder))
    write_csv(folder, "ACME", [scaled(row, 93.0) for row in rows])
    (told,) = again(url, conn, CsvFiles(folder), since="2024-05-16")

    assert told["verdict"] == "failed"
    assert "times the stored ones" in told["reason"]
    assert max(stored(conn).values()) < 1000
    assert checked(conn)["parts"]["units"] == 0


def test_another_instrument_under_the_same_name_is_refused(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    write_csv(folder, "ACME", flat_bars(days, step=0.0))
    ingest(url, CsvFiles(folder))
    before = stored(conn)
    other = [scaled(row, 1 + n % 3) for n, row in enumerate(flat_bars(days, step=0.3))]
    write_csv(folder, "ACME", other)
    (told,) = again(url, conn, CsvFiles(folder), since="2024-05-16")
    assert told["verdict"] == "failed"
    assert "another instrument" in told["reason"]
    assert stored(conn) == {d: close for d, close in before.items() if d <= day("2024-05-16")}


@pytest.mark.parametrize("told", ["2024-03-11", "2024-03-08", "2024-03-18"])
def test_closes_that_leave_out_a_known_split_are_mended(
    url: str, conn: Conn, folder: Path, days: list[dt.date], told: str
) -> None:
    rows = flat_bars(days, step=0.1)
    raw = [scaled(row, 4.0) if row["date"] < "2024-03-11" else row for row in rows]
    write_csv(folder, "ACME", raw)
    conn.execute(
        "INSERT INTO corporate_actions VALUES ('ACME', %s, 'split', 4, 'yahoo', now(), now())",
        [told],
    )
    (done,) = ingest(url, CsvFiles(folder))
    assert done["verdict"] == "done", done
    wanted, found = closes(rows), stored(conn)
    assert found == pytest.approx({date: wanted[date] for date in found})
    row = checked(conn)
    assert (row["verdict"], row["flagged"]) == ("flagged", 1)
    assert row["notes"][0].startswith(f"{told}: a split of 4 is told, and the close moves from")


@pytest.mark.parametrize(
    ("before", "after", "split", "told", "right"),
    [
        (100.0, 50.3, 2.0, -2, 0.006),  # a day early: -49.7 %
        (100.0, 50.3, 2.0, -1, 0.006),
        (0.0105, 0.0105 * 190 * 0.695, 1 / 190, -1, -0.305),  # +13,105 %
        (10.0, 10.0 / 0.031 * 0.97, 0.031, -1, -0.03),
    ],
)
def test_a_split_that_only_the_newest_bar_knows_rewrites_the_stored_ones(
    url: str,
    conn: Conn,
    days: list[dt.date],
    before: float,
    after: float,
    split: float,
    told: int,
    right: float,
) -> None:
    """Yahoo's history is on the old basis for hours or days after a split, and the split is told."""

    def provider(newest: float) -> FakeProvider:
        good = serving(lambda date: newest if date == days[-1] else before)
        actions = [Action(days[told], "split", split)]
        return FakeProvider("remote", lambda request: replace(good(request), actions=actions))

    ingest(url, provider(before))
    (done,) = again(url, conn, provider(after), since=f"{days[-2]}")
    assert done["verdict"] == "done", done
    found = stored(conn)
    assert found[days[-1]] / found[days[-2]] - 1 == pytest.approx(right, abs=1e-9)
    assert found[days[-1]] == after
    assert {close for date, close in found.items() if date < days[-1]} == {before / split}


def test_adjusted_closes_that_know_of_a_split_give_it_away(
    url: str, folder: Path, days: list[dt.date]
) -> None:
    split = "2024-03-11"
    raw = [
        scaled(row, 4.0 if row["date"] < split else 1.0) | {"adjusted_close": row["close"]}
        for row in flat_bars(days, step=0.1)
    ]
    write_csv(folder, "ACME", raw)
    (told,) = ingest(url, CsvFiles(folder))
    assert told["verdict"] == "failed"
    assert "not adjusted for a split of 4" in told["reason"]


def test_a_special_dividend_explains_its_drop(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    ex = "2024-03-11"
    rows = [
        scaled(row, 1.0 if row["date"] < ex else 0.6) | {"dividend": 40 if row["date"] == ex else 0}
        for row in flat_bars(days, step=0.0)
    ]
    write_csv(folder, "ACME", rows)
    ingest(url, CsvFiles(folder))
    assert checked(conn)["verdict"] == "accepted"


def test_missing_sessions_lower_the_score_and_refuse_nothing(
    url: str, conn: Conn, folder: Path, days: list[dt.date]
) -> None:
    rows = flat_bars(days, step=0.0)
    write_csv(folder, "ACME", [*rows[:20], *rows[20::8]])
    ingest(url, CsvFiles(folder))
    row = checked(conn)
    assert row["verdict"] == "flagged"
    assert row["missing"] == row["expected"] - len(stored(conn)) > 100
    assert LEAST_SCORE < row["score"] < 0.8


def test_the_open_session_is_no_fault_and_a_day_to_come_is_one(
    url: str, conn: Conn, days: list[dt.date]
) -> None:
    noon = utc("2024-05-17 16:00")

    def answer(request: Request) -> Answer:
        dates = [*request.sessions, day("2024-05-17"), day("2024-05-20")]
        return Answer(Kind.OK, [Bar(date, 1.0, 1.0, 1.0, 1.0) for date in dates])

    desk = Desk(url, FakeProvider("remote", answer))
    add(url, now=noon)
    desk.turn(noon)
    row = checked(conn, "remote")
    assert max(stored(conn)) == day("2024-05-16")
    assert row["rejected"] == 1
    assert row["notes"] == ["2024-05-20: no finished session: too new"]
    assert row["given"] == len(stored(conn)) + 1
    assert days


# The formula itself.

SESSIONS = [day("2024-03-04") + dt.timedelta(days=n) for n in range(10)]


def flat(*changed: tuple[int, float]) -> list[Bar]:
    prices = dict(changed)
    return [Bar(date, None, None, None, prices.get(n, 10.0)) for n, date in enumerate(SESSIONS)]


@pytest.mark.parametrize(
    ("bars", "known", "score"),
    [
        (flat(), None, 1.0),
        (flat((4, -1.0)), None, 1 - 0.1 - 0.3 * 0.1),  # a row, and its session
        (flat((4, 1000.0)), None, 1 - 0.1),  # a unit, and mended
        (flat((4, 20.0)), None, round(1 - 0.5 * 2 / 9, 4)),  # there and back
        (flat()[5:], None, 1.0),  # listed later
        (flat()[:5], None, 1 - 0.3 * 0.5),
        (flat(), Known(closes=dict.fromkeys(SESSIONS, 1000.0)), 1.0),  # a unit, and mended
        (flat(), Known(closes=dict.fromkeys(SESSIONS, 930.0)), 0.0),
        (flat(), Known(closes={date: 3.0 * n + 20 for n, date in enumerate(SESSIONS)}), 0.0),
        (flat(), Known(closes=dict.fromkeys(SESSIONS, 20.0)), 1.0),  # restated: flagged
        ([], None, 0.0),
    ],
)
def test_the_score(bars: list[Bar], known: Known | None, score: float) -> None:
    assert validate(bars, SESSIONS, known=known).score == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("worth", [0.0, -4.0, math.nan, math.inf, 1e-9])
def test_an_action_that_cannot_be_one_is_not_kept_and_costs_no_bar(
    url: str, conn: Conn, days: list[dt.date], worth: float
) -> None:
    told = [Action(days[-2], "split", worth), Action(days[-3], "dividend", min(worth, 0.0))]
    conn.execute(
        "INSERT INTO corporate_actions (symbol, date, kind, value, provider, first_seen_at, updated_at)"
        " VALUES ('ACME', %s, 'split', 4, 'other', now(), now())",
        [days[-2]],
    )
    good = serving(lambda _: 100.0)
    provider = FakeProvider("remote", lambda request: replace(good(request), actions=told))

    (done,) = ingest(url, provider)

    assert done["verdict"] == "done", done
    row = checked(conn, "remote")
    assert row["flagged"] == 2
    assert row["notes"][0] == f"{days[-2]}: a split of {worth:g} cannot be one"
    assert value(conn, "SELECT array_agg(provider) FROM corporate_actions") == ["other"]
    assert len(stored(conn)) == row["given"]
