"""The triggers on predictions: one event for each eligible prediction, never an error."""

import json
from pathlib import Path

import pytest

from tests.sql.owners import insert_text, make_owners_table
from tests.support.cli import command
from tests.support.db import Conn, collect_warnings, connect, value
from tests.support.market import insert_prediction


def keys(conn: Conn) -> list[str]:
    """The predictions that have events, in the order of the events."""
    return [
        row["key"]
        for row in conn.execute("SELECT key FROM outbox WHERE topic = 'prediction' ORDER BY id")
    ]


def clear(conn: Conn) -> None:
    conn.execute("TRUNCATE outbox")


def test_a_statement_of_many_rows_writes_one_event_for_each_eligible_one(conn: Conn) -> None:
    conn.execute(
        "INSERT INTO predictions (id, assets, analysis_status) VALUES"
        " (1, '[\"A\"]', 'completed'), (2, '[\"A\"]', 'pending'), (3, '[\"B\", \"B\"]', 'completed'),"
        " (4, '[\"A\"]', 'bypassed'), (5, '[\"A\"]', 'error'), (6, '[]', 'completed'),"
        " (7, '[\"A\"]', 'completed')"
    )
    assert keys(conn) == ["1", "3", "7"]
    events = conn.execute("SELECT * FROM outbox").fetchall()
    assert {(e["topic"], e["status"], e["priority"], e["attempts"]) for e in events} == {
        ("prediction", "pending", 0, 0)
    }
    assert all(event["payload"] == {} and event["lease"] is None for event in events)


def test_a_status_that_is_null_is_not_eligible(empty_url: str) -> None:
    with connect(empty_url) as conn:
        make_owners_table(conn, "jsonb", [])
        conn.execute("ALTER TABLE predictions ALTER COLUMN analysis_status DROP NOT NULL")
        assert command(empty_url, "worker", "migrate").returncode == 0
        warnings = collect_warnings(conn)
        conn.execute(
            "INSERT INTO predictions (assets, created_at, updated_at) VALUES ('[\"A\"]', now(), now())"
        )
        assert (keys(conn), warnings) == ([], [])


def test_an_aborted_insert_leaves_no_event(conn: Conn) -> None:
    conn.execute("BEGIN")
    insert_prediction(conn, ["A"])
    assert len(keys(conn)) == 1
    conn.execute("ROLLBACK")
    assert keys(conn) == []


UPDATES = [
    ("confidence = 0.9", False),
    ("post_timestamp = now(), updated_at = now()", False),
    ("assets = assets, market_impact = market_impact, analysis_status = analysis_status", False),
    ("assets = '[\"B\"]'", True),
    ('market_impact = \'{"A": "bearish"}\'', True),
    ("market_impact = NULL", True),
    ("assets = '[]'", False),
    ("assets = NULL", False),
    ("analysis_status = 'error'", False),
]


@pytest.mark.parametrize(("change", "writes"), UPDATES)
def test_an_update_writes_an_event_only_where_what_counts_differs(
    conn: Conn, change: str, writes: bool
) -> None:
    changed = insert_prediction(conn, ["A"], {"A": "bullish"})
    insert_prediction(conn, ["A"], {"A": "bullish"})
    clear(conn)
    conn.execute(f"UPDATE predictions SET {change} WHERE id = %s".encode(), [changed])  # noqa: S608
    assert keys(conn) == ([str(changed)] if writes else [])


def test_an_update_of_many_rows_writes_events_for_those_that_differ(conn: Conn) -> None:
    numbers = [
        insert_prediction(conn, assets, status=status)
        for assets, status in [
            (["A"], "completed"),  # becomes another
            (["NEW"], "completed"),  # stays what it is
            (["A"], "pending"),  # becomes eligible
            (["NEW"], "pending"),  # becomes eligible, same assets
        ]
    ]
    clear(conn)
    conn.execute("UPDATE predictions SET assets = '[\"NEW\"]', analysis_status = 'completed'")
    assert keys(conn) == [str(numbers[n]) for n in (0, 2, 3)]


def test_an_upsert_fires_for_its_inserted_and_for_its_changed_rows(conn: Conn) -> None:
    insert_prediction(conn, ["A"])
    insert_prediction(conn, ["B"])
    clear(conn)
    conn.execute(
        "INSERT INTO predictions (id, assets) VALUES (1, '[\"Z\"]'), (2, '[\"B\"]'), (3, '[\"C\"]')"
        " ON CONFLICT (id) DO UPDATE SET assets = excluded.assets"
    )
    assert sorted(keys(conn)) == ["1", "3"]


# JSON text and whether something is named; None where no promise is made but that nothing fails.
SHAPES: list[tuple[str | None, bool | None]] = [
    (None, False),
    ("null", False),
    ("[]", False),
    ("[ ]", False),
    ("{}", False),
    ('""', False),
    ('["AAPL"]', True),
    ('["aapl", "AAPL", "not a ticker", ""]', True),
    ('"AAPL"', True),
    ("[null]", None),
    ('[""]', None),
    ("0", None),
    ("-1.5e10", None),
    ("[1, 2.5]", None),
    ("true", None),
    ("[[]]", None),
    ('[["AAPL"], [["TSLA"]]]', True),
    ('{"AAPL": {"TSLA": [1]}}', True),
    ('[{"symbol": "AAPL"}]', True),
    ('["' + "A" * 100_000 + '"]', True),
    ("[" * 1000 + "]" * 1000, None),
    ('["\\u00e9", "\\ud83d\\ude00"]', True),
]
# What a json column takes and jsonb cannot hold.
JSON_ONLY: list[tuple[str | None, bool | None]] = [
    ('"\\u0000"', True),
    ('["AAPL\\u0000"]', True),
    ('["\\ud800"]', True),
    ('["\\udc00\\ud800"]', True),
    ("1e999999", None),
    ("[1e999999999999]", None),
    ("[" + "9" * 200_000 + "]", None),
    ('{"A": 1, "A": 2}', True),
    (' \n[\t"AAPL" ] ', True),
    (" \n[\t] ", False),
]


@pytest.mark.parametrize("json_type", ["jsonb", "json"])
def test_assets_of_every_shape_fail_nobody(empty_url: str, json_type: str, tmp_path: Path) -> None:
    shapes = SHAPES + (JSON_ONLY if json_type == "json" else [])
    with connect(empty_url) as conn:
        make_owners_table(conn, json_type, [text for text, _ in shapes])
        conn.execute("TRUNCATE predictions RESTART IDENTITY")
        assert command(empty_url, "worker", "migrate").returncode == 0
        warnings = collect_warnings(conn)
        for text, _ in shapes:
            insert_text(conn, text)
        conn.execute("UPDATE predictions SET market_impact = to_json(assets::text)")

        assert warnings == []
        inserted = keys(conn)
        for number, (text, named) in enumerate(shapes, 1):
            if named is not None:
                # Once for the INSERT, once for the UPDATE.
                assert inserted.count(str(number)) == 2 * named, (text or "")[:100]
        # The view agrees with the triggers, so that the sweep does not find them again.
        inputs = conn.execute(
            "SELECT prediction_id, eligible, md5(assets::text || market_impact::text || moment)"
            " FROM prediction_inputs"
        ).fetchall()
        assert {str(row["prediction_id"]) for row in inputs if row["eligible"]} == set(inserted)
        assert value(conn, "SELECT sweep_forgotten(1000)") == 0
        # And each of them ends, once, through a real worker.
        drained = command(
            empty_url,
            *("worker", "run", "--drain", "--max-seconds", "100"),
            MARKET_PROVIDERS="csv",
            MARKET_CSV_DIR=str(tmp_path),
        )
        assert drained.returncode == 0, drained.stderr
        left = conn.execute("SELECT key, status, last_error FROM outbox").fetchall()
        assert left == []
        ended = conn.execute("SELECT key, verdict FROM outbox_history WHERE topic = 'prediction'")
        assert sorted((row["key"], row["verdict"]) for row in ended) == sorted(
            (key, "done") for key in inserted
        )


def test_assets_that_grow_beyond_an_index_or_a_message_are_no_matter(conn: Conn) -> None:
    warnings = collect_warnings(conn)
    conn.execute(
        "INSERT INTO predictions (assets) SELECT jsonb_agg('SYM' || n) FROM generate_series(1, 50000) n"
    )
    insert_prediction(conn, json.loads('["A"]'))
    assert (keys(conn), warnings) == (["1", "2"], [])
