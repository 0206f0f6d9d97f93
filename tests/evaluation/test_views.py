"""The views that reports are made from: against prices that one can reckon in one's head."""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from market.evaluation import accuracy, outcomes_frame, records
from market.evaluation.frame import paths_frame
from sql.database import Database
from sql.schema import migrate
from tests.evaluation.known import DIVIDEND_SESSION, FIRST, LAST, POSTS, PRICES, fill
from tests.support.db import Conn
from tests.support.market import insert_prediction, sessions

VIEWS = ("outcome_facts", "event_paths", "accuracy_by_group", "accuracy_by_confidence")


def facts(conn: Conn, where: str = "true") -> list[dict[str, Any]]:
    query = f"SELECT * FROM outcome_facts WHERE {where} ORDER BY prediction_id, symbol, sessions"  # noqa: S608
    return conn.execute(query.encode()).fetchall()


def test_a_row_for_each_prediction_symbol_and_horizon(outcomes: Conn) -> None:
    rows = facts(outcomes)
    assert len(rows) == 4 * (3 * POSTS + 2)
    assert len({(r["prediction_id"], r["symbol"], r["horizon"]) for r in rows}) == len(rows)
    days = sessions(outcomes, FIRST, LAST)
    for row in rows:
        if row["state"] != "known":
            continue
        n = days.index(row["entry_session"])
        start, step = PRICES[row["symbol"]]
        entry, out = start + step * n, start + step * (n + row["sessions"])
        assert row["exit_session"] == days[n + row["sessions"]]
        assert (row["entry_price"], row["exit_price"]) == (entry, out)
        assert row["return_pct"] == pytest.approx((out / entry - 1) * 100)
        benchmark = ((400 + n + row["sessions"]) / (400 + n) - 1) * 100
        assert row["benchmark_return_pct"] == pytest.approx(benchmark)
        assert row["excess_pct"] == pytest.approx(row["return_pct"] - benchmark)
        assert row["total_excess_pct"] == pytest.approx(
            (row["return_pct"] if row["total_return_pct"] is None else row["total_return_pct"])
            - benchmark
        )


def test_total_return_differs_where_a_dividend_falls_inside(outcomes: Conn) -> None:
    days = sessions(outcomes, FIRST, LAST)
    for row in facts(outcomes, "symbol = 'UPCO' AND state = 'known'"):
        n = days.index(row["entry_session"])
        is_inside = n < DIVIDEND_SESSION <= n + row["sessions"]
        paid = 1 if n < DIVIDEND_SESSION else 0
        after = 1 if n + row["sessions"] < DIVIDEND_SESSION else 0
        expected = ((row["exit_price"] - after) / (row["entry_price"] - paid) - 1) * 100
        assert row["total_return_pct"] == pytest.approx(expected)
        if is_inside:
            assert row["total_return_pct"] > row["return_pct"] + 0.5
    assert {r["total_return_pct"] for r in facts(outcomes, "symbol = 'FLAT'")} == {None}


def test_states_and_what_is_not_known(outcomes: Conn) -> None:
    (first, second) = (
        facts(outcomes, f"moment {sign}") for sign in ("> '2030-01-01'", "< '1990-01-01'")
    )
    assert {r["state"] for r in first} == {"unresolvable"}
    assert {r["state"] for r in second} == {"unresolvable"}
    assert all(r["return_pct"] is None and r["correct"] is None for r in first + second)
    unsaid = facts(outcomes, "symbol = 'FLAT' AND sentiment IS NULL AND state = 'known'")
    assert len(unsaid) == 4 * POSTS / 2
    assert {(r["direction"], r["correct"], r["bullish_correct"]) for r in unsaid} == {
        (None, None, False)
    }


def test_confidence_of_exactly_one_is_of_the_top_tier(outcomes: Conn) -> None:
    tiers = {r["confidence"]: r["confidence_tier"] for r in facts(outcomes)}
    assert tiers == {
        1.0: "0.9-1.0",
        0.95: "0.9-1.0",
        0.5: "0.5-0.6",
        0.3: "0.0-0.5",
        None: "not given",
    }
    odd = outcomes.execute(
        "SELECT confidence_tier(c) AS tier FROM unnest(ARRAY[0, 0.6, 1.0001, -0.1, 'NaN']::float8[]) c"
    )
    assert [r["tier"] for r in odd] == [
        "0.0-0.5", "0.6-0.7", "out of range", "out of range", "out of range",
    ]  # fmt: skip


def test_the_benchmark_is_the_sessions_choice(outcomes: Conn) -> None:
    with outcomes.transaction():
        outcomes.execute("SELECT set_config('reckoner.benchmark_symbol', 'upco', true)")
        rows = facts(outcomes, "symbol = 'UPCO' AND state = 'known'")
        assert {round(r["excess_pct"], 9) for r in rows} == {0}
    frame = outcomes_frame(outcomes, benchmark="NONE")
    assert frame["excess_pct"].isna().all()
    assert frame["return_pct"].notna().any()


def test_the_frame_is_the_view(outcomes: Conn) -> None:
    frame = outcomes_frame(outcomes)
    rows = pd.DataFrame(facts(outcomes))
    assert list(frame.columns) == list(rows.columns)
    for name in ("return_pct", "confidence", "direction", "total_excess_pct", "pnl_usd"):
        assert np.allclose(frame[name], rows[name].astype(float), equal_nan=True)
    assert frame["correct"].isna().sum() == rows["correct"].isna().sum()
    assert (frame["correct"] == rows["correct"]).sum() == rows["correct"].notna().sum()
    assert (frame["moment"] == pd.to_datetime(rows["moment"], utc=True)).all()
    assert frame["entry_session"].isna().sum() == rows["entry_session"].isna().sum()
    assert set(frame["symbol"]) == set(rows["symbol"])
    assert str(frame["moment"].dt.tz) == "UTC"


def test_the_frames_arguments_select(outcomes: Conn) -> None:
    def count(**arguments: Any) -> int:
        return len(outcomes_frame(outcomes, **arguments))

    everything = count()
    assert count(horizons=("t7",)) == everything / 4
    assert count(min_confidence=1.0) == 4 * 3 * POSTS / 5
    day = dt.date(2024, 2, 1)
    assert count(since=day) + count(until=day - dt.timedelta(1)) == everything
    assert count(since=day, until=day) == 4 * 3


def test_a_symbol_called_na_is_a_symbol(conn: Conn, database: Database) -> None:
    for symbol in ("NA", "NAN", "NULL", "INF", "TRUE"):
        insert_prediction(conn, [symbol], {symbol: "bullish"}, moment="1980-01-01")
    with database.transaction() as inside:
        inside.execute("SELECT outcomes_process(array_agg(id), 365) FROM predictions")
    frame = outcomes_frame(conn, horizons=("t1",))
    assert sorted(frame["symbol"]) == ["INF", "NA", "NAN", "NULL", "TRUE"]


def test_paths_start_at_ten_before_and_are_zero_at_the_entry(outcomes: Conn) -> None:
    paths = paths_frame(outcomes)
    assert (paths["session_offset"].min(), paths["session_offset"].max()) == (-10, 30)
    at_entry = paths[paths["session_offset"] == 0]
    assert (at_entry["path_pct"] == 0).all()
    assert len(at_entry) == 3 * POSTS  # every entry once per symbol
    up = paths[(paths["symbol"] == "UPCO") & (paths["entry_session"] == "2024-02-01")]
    days = sessions(outcomes, FIRST, LAST)
    start = 100 + days.index(dt.date(2024, 2, 1))
    expected = {k: ((start + k) / start - 1) * 100 for k in range(-10, 31)}
    assert dict(zip(up["session_offset"], up["path_pct"], strict=True)) == pytest.approx(expected)


@pytest.mark.parametrize("by", [None, *records.GROUPINGS])
def test_sql_and_the_report_give_the_same_numbers(outcomes: Conn, by: str | None) -> None:
    query = "SELECT * FROM accuracy_by_group WHERE grouping = %s"
    rows = outcomes.execute(query, [by or "all"]).fetchall()
    told = {(r["horizon"], r["value"]): r for r in rows}
    groups = accuracy.groups(outcomes_frame(outcomes), by)
    assert {(g.horizon, g.group) for g in groups} == told.keys()
    for group in groups:
        row = told[group.horizon, group.group]
        for name in (
            "predictions",
            "outcomes",
            "correct",
            "incorrect",
            "unjudged",
            "pending",
            "unresolvable",
        ):
            assert getattr(group, name) == row[name], name
        if not group.correct + group.incorrect:
            assert row["accuracy"] is None
            continue
        for name, own in {
            "accuracy": group.accuracy,
            "base_rate": group.base_rate,
            "mean_return_pct": group.mean_return_pct,
            "median_return_pct": group.median_return_pct,
            "mean_total_return_pct": group.mean_total_return_pct,
            "directional_return_pct": group.directional_return_pct,
            "mean_excess_pct": group.mean_excess_pct,
            "pnl_usd": group.pnl_usd,
            "directional_pnl_usd": group.directional_pnl_usd,
        }.items():
            assert own == pytest.approx(row[name]), name


def test_accuracy_by_confidence_is_its_part_of_it(outcomes: Conn) -> None:
    rows = outcomes.execute("SELECT * FROM accuracy_by_confidence WHERE horizon = 't1'").fetchall()
    assert {r["confidence_tier"] for r in rows} == {"0.0-0.5", "0.5-0.6", "0.9-1.0", "not given"}
    assert sum(r["outcomes"] for r in rows) == 3 * POSTS + 2


def test_every_column_says_what_it_is(outcomes: Conn) -> None:
    for view in VIEWS[:3]:
        rows = outcomes.execute(
            "SELECT a.attname AS name, col_description(a.attrelid, a.attnum) AS text FROM pg_attribute a"
            " WHERE a.attrelid = %s::regclass AND a.attnum > 0",
            [view],
        ).fetchall()
        assert [r["name"] for r in rows if not r["text"]] == [], view


def test_what_another_program_wrote_is_left_out_and_a_pair_counts_once(
    conn: Conn, url: str
) -> None:
    fill(conn, url)
    before = facts(conn)
    conn.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, prediction_sentiment,"
        " return_t1, correct_t1, is_complete) VALUES (999999, 'UPCO', '2024-02-01', 'bullish', 5, true, true)"
    )
    conn.execute(
        "ALTER TABLE prediction_outcomes DROP CONSTRAINT prediction_outcomes_prediction_id_symbol_key"
    )
    conn.execute(
        "INSERT INTO prediction_outcomes SELECT (jsonb_populate_record(o, jsonb_build_object("
        "'id', o.id + 100000))).* FROM prediction_outcomes o WHERE engine_version IS NOT NULL"
    )
    assert facts(conn) == before


def test_a_column_for_the_model_that_appears_later_is_found(
    conn: Conn, database: Database, url: str
) -> None:
    fill(conn, url)
    assert {r["model"] for r in facts(conn)} == {None}
    conn.execute("ALTER TABLE predictions ADD COLUMN llm_model varchar(100)")
    conn.execute("UPDATE predictions SET llm_model = 'oracle-' || id %% 2", [])
    migrate.migrate(database)
    assert {r["model"] for r in facts(conn)} == {"oracle-0", "oracle-1"}
