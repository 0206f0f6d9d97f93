"""Rows of our own tables take their time from the product's clock, also those that a person inserts."""

from sql.schema.files import SHARED
from tests.support.clock import use_clock, write_clock
from tests.support.db import Conn, value

THEN = "2031-05-06 07:08:09+00"

# Tables of ours whose rows do not take their time from the clock.
OTHERS = {"reckoner_schema": "applied_at: the real time of a migration"}


def test_a_row_by_hand_follows_the_clock(conn: Conn) -> None:
    use_clock(conn, write_clock(conn, stopped_at=THEN))
    row = conn.execute(
        "INSERT INTO outbox (topic, key) VALUES ('ticker', 'A') RETURNING"
        " available_at = %(then)s AND created_at = %(then)s AND updated_at = %(then)s AS all_then",
        {"then": THEN},
    ).fetchone()
    assert row == {"all_then": True}
    assert value(
        conn,
        "INSERT INTO session_correction (calendar, session) VALUES ('XHKG', '2023-09-01') RETURNING made_at = %s",
        [THEN],
    )


def test_no_table_of_ours_takes_another_clock(conn: Conn) -> None:
    rows = conn.execute(
        "SELECT c.relname AS table, a.attname AS column, pg_get_expr(d.adbin, d.adrelid) AS default"
        " FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid"
        " JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
        " WHERE c.relnamespace = 'public'::regnamespace AND a.atttypid = 'timestamptz'::regtype"
        " AND pg_get_expr(d.adbin, d.adrelid) ~ '\\('"
    ).fetchall()
    ours = [row for row in rows if row["table"] not in {*SHARED, *OTHERS}]
    assert len(ours) >= 16
    assert [row for row in ours if row["default"] != "reckoner_now()"] == []


def test_a_writer_without_rights_needs_none_for_the_default(conn: Conn) -> None:
    assert value(
        conn,
        "SELECT bool_and(has_function_privilege('public', f, 'EXECUTE'))"
        " FROM unnest('{reckoner_now(),reckoner_clock_now(text)}'::text[]) f",
    )
