"""`prediction_inputs` on every generation: one shape, and the moment in the contract's order."""

import datetime as dt
import json
from typing import Any

import pytest

from tests.attach.databases import expected_moments, migrate
from tests.attach.scenes import NOW, insert_prediction
from tests.support.db import Conn, connect, value


def moments(conn: Conn) -> dict[int, dt.datetime]:
    rows = conn.execute("SELECT prediction_id, moment FROM prediction_inputs")
    # In UTC, because Python calls two zones' times of a doubled hour never equal.
    return {row["prediction_id"]: row["moment"].astimezone(dt.UTC) for row in rows}


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_moment_is_the_posts_time_whatever_the_sessions_zone(migrated_url: str, zone: str) -> None:
    with connect(migrated_url) as conn:
        conn.execute(f"SET timezone = '{zone}'".encode())
        expected = expected_moments(conn)
        assert len(expected) == 300
        assert moments(conn) == expected


def test_moment_is_the_same_when_the_database_has_another_zone_at_migrate(
    owners_url: str, server_url: str
) -> None:
    with connect(server_url) as server, connect(owners_url) as conn:
        name = value(conn, "SELECT current_database()")
        server.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'America/New_York'".encode())
    migrate(owners_url)
    with connect(owners_url) as conn:
        assert value(conn, "SHOW timezone") == "America/New_York"
        assert moments(conn) == expected_moments(conn)


def test_a_post_timestamp_that_is_the_insertions_time_is_not_the_moment(
    migrated_url: str, generation: str
) -> None:
    published = dt.datetime(2024, 3, 8, 2, 30, 15, 250_000, tzinfo=dt.UTC)
    with connect(migrated_url) as conn:
        number = insert_prediction(conn, generation, '["AAPL"]', published=published, post=NOW)
        assert moments(conn)[number] == published


@pytest.mark.parametrize("generation", ["mixed"])
def test_the_first_that_is_there_of_signal_shitpost_post_and_creation_counts(
    migrated_url: str, generation: str
) -> None:
    signal, shitpost, post = (dt.datetime(2024, 3, day, 12, tzinfo=dt.UTC) for day in (5, 6, 7))
    with connect(migrated_url) as conn:
        expected = {
            insert_prediction(
                conn, generation, "[]", published=signal, shitpost=shitpost, post=post
            ): signal,
            insert_prediction(conn, generation, "[]", shitpost=shitpost, post=post): shitpost,
            insert_prediction(conn, generation, "[]", post=post): post,
            insert_prediction(conn, generation, "[]"): NOW,
        }
        assert expected.items() <= moments(conn).items()


def test_the_view_has_one_shape_for_every_generation(migrated_url: str) -> None:
    with connect(migrated_url) as conn:
        rows = conn.execute(
            "SELECT attname::text AS name, atttypid::regtype::text AS type FROM pg_attribute"
            " WHERE attrelid = 'prediction_inputs'::regclass AND attnum > 0 ORDER BY attnum"
        )
        assert {row["name"]: row["type"] for row in rows} == {
            "prediction_id": "integer",
            "moment": "timestamp with time zone",
            "assets": "jsonb",
            "market_impact": "jsonb",
            "confidence": "double precision",
            "eligible": "boolean",
        }


def test_the_view_says_what_the_rows_say(migrated_url: str) -> None:
    with connect(migrated_url) as conn:
        theirs = {row["id"]: row for row in conn.execute("SELECT * FROM predictions")}
        ours = conn.execute("SELECT * FROM prediction_inputs").fetchall()
        assert len(ours) == len(theirs)
        for row in ours:
            their = theirs[row["prediction_id"]]
            for name in ("assets", "market_impact"):
                if is_jsonb(their[name]):
                    assert row[name] == without_nul(their[name]), row
                else:
                    assert "unreadable" in row[name]
            assert row["confidence"] == their["confidence"]
            names_something = their["assets"] not in (None, [], {}, "")
            assert row["eligible"] is (their["analysis_status"] == "completed" and names_something)


def is_jsonb(document: object) -> bool:
    """Whether a json value could be jsonb, but for a NUL: no half of a surrogate pair in it."""
    return r"\ud800" not in repr(document)


def without_nul(document: Any) -> Any:
    """A json value with a question mark for each NUL."""
    return json.loads(json.dumps(document).replace(r"\u0000", "?"))
