"""The horizons, the rule of 0.5 % and the locks are the same in SQL, in Python and in the columns."""

from market.horizons import HORIZONS, NEUTRAL_BAND
from sql.schema import locks
from tests.support.db import Conn, value


def test_sql_and_python_have_the_same_horizons(conn: Conn) -> None:
    assert value(conn, "SELECT horizon_sessions()") == list(HORIZONS.values())
    assert list(HORIZONS) == [f"t{n}" for n in HORIZONS.values()]
    rows = conn.execute("SELECT horizon, sessions FROM outcome_horizons(NULL)").fetchall()
    assert {row["horizon"]: row["sessions"] for row in rows} == HORIZONS


def test_each_horizon_has_its_own_columns(conn: Conn) -> None:
    names = {
        f"{name}_{horizon}"
        for name in ("price", "return", "correct", "pnl")
        for horizon in HORIZONS
    }
    columns = value(
        conn,
        "SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = 'prediction_outcomes'::regclass"
        " AND attname ~ '_t[0-9]+$'",
    )
    assert set(columns) == names
    wrong = conn.execute(
        "SELECT h.* FROM jsonb_populate_record(NULL::prediction_outcomes, %s::jsonb) o"
        " CROSS JOIN LATERAL outcome_horizons(o) h"
        " WHERE (price, return_pct, correct, pnl_usd) IS DISTINCT FROM (sessions, -sessions, true, 10 * sessions)",
        [
            "{"
            + ", ".join(
                f'"price_{h}": {n}, "return_{h}": {-n}, "correct_{h}": true, "pnl_{h}": {10 * n}'
                for h, n in HORIZONS.items()
            )
            + "}"
        ],
    ).fetchall()
    assert wrong == []


def test_sql_and_python_have_the_same_neutral_band(conn: Conn) -> None:
    assert value(conn, "SELECT neutral_band()") == NEUTRAL_BAND
    row = conn.execute(
        "SELECT outcome_correct('bullish', neutral_band()) AS up, outcome_correct('bearish', -neutral_band()) AS down,"
        " outcome_correct('neutral', neutral_band()) AS still, outcome_correct('bullish', 0.5000001) AS more"
    ).fetchone()
    assert row == {"up": False, "down": False, "still": True, "more": True}


def test_python_names_the_locks_of_sql(conn: Conn) -> None:
    assert value(conn, "SELECT lock_number('migrating')") == locks.MIGRATING
    names = value(conn, "SELECT lock_names()")
    assert [value(conn, "SELECT lock_number(%s)", [name]) for name in names] == [1, 2, 3]
    conn.execute("BEGIN")
    for name in ("armed", "migrating"):
        conn.execute("SELECT pg_advisory_xact_lock(%s, lock_number(%s))", [locks.KEY, name])
    assert value(conn, "SELECT sweep_turn()")
    held = value(conn, "SELECT array_agg(lock ORDER BY number) FROM lock_holders()")
    conn.execute("ROLLBACK")
    assert held == names
