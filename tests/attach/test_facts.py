"""The views that reports are made from, on what other programs left."""

import pytest

from market.evaluation import accuracy, outcomes_frame, records
from market.universe import sessions
from sql.database import Database
from tests.support.db import connect, value
from tests.support.market import process


@pytest.mark.parametrize("view", ["event_paths", "accuracy_by_confidence"])
def test_the_views_fit_every_generation(migrated_url: str, view: str) -> None:
    with connect(migrated_url) as conn:
        conn.execute(f"SELECT * FROM {view}".encode())  # noqa: S608


def test_a_report_counts_our_outcomes_once_and_theirs_not(migrated_url: str) -> None:
    with connect(migrated_url) as conn, Database(migrated_url) as database:
        assert value(conn, "SELECT count(*) FROM prediction_outcomes") > 0
        assert outcomes_frame(conn).empty
        ids = conn.execute(
            "SELECT prediction_id AS id FROM prediction_inputs WHERE eligible"
        ).fetchall()
        sessions.ensure_one(database, "CMES")  # the other program named a future
        process(database, *(row["id"] for row in ids))
        pairs = value(
            conn,
            "SELECT count(DISTINCT (prediction_id, symbol)) FROM prediction_outcomes WHERE engine_version = 1",
        )
        frame = outcomes_frame(conn)
        assert len(frame) == 4 * pairs > 0
        # Their prices are not used, so nothing is judged; every generation knows the model.
        groups = accuracy.groups(frame, "model")
        assert sum(group.outcomes for group in groups) == 4 * pairs
        assert {group.finding for group in groups} == {"nothing judged yet"}
        assert {group.group for group in groups} > {"not given"} or frame["model"].notna().all()


def test_every_grouping_works_on_every_generation(migrated_url: str) -> None:
    """Sectors alone are in some generations nowhere; then the command says which column it needs."""
    with connect(migrated_url) as conn, Database(migrated_url) as database:
        ids = conn.execute(
            "SELECT prediction_id AS id FROM prediction_inputs WHERE eligible"
        ).fetchall()
        sessions.ensure_one(database, "CMES")
        process(database, *(row["id"] for row in ids))
        frame = outcomes_frame(conn)
        for by in records.GROUPINGS:
            assert sum(group.outcomes for group in accuracy.groups(frame, by)) == len(frame), by
            query = "SELECT count(*) FROM accuracy_by_group WHERE grouping = %s"
            assert value(conn, query, [by]) == len(accuracy.groups(frame, by)), by
        assert not accuracy.is_missing(frame, "model")
        assert {"truth_social"} <= set(frame["source"].dropna()) <= {"truth_social", "twitter"}
        named = value(conn, "SELECT count(*) FROM pg_class WHERE relname = 'signals'")
        assert ("twitter" in set(frame["source"])) <= bool(named)
        assert frame["asset_class"].notna().all()
        has_sector = value(
            conn,
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'ticker_registry'::regclass AND attname = 'sector'",
        )
        assert accuracy.is_missing(frame, "sector") or has_sector
