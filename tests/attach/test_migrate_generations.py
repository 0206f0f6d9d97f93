"""`worker migrate` on databases that another program made: what it adds, and what it leaves alone."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from sql.schema.files import schema_files
from tests.attach.databases import (
    DUPLICATES,
    SHARED,
    Generation,
    Migration,
    advice,
    blocked,
    catalog,
    check,
    columns,
    contents,
    duplicates,
    migrate,
    unique_on,
    without_duplicates,
)
from tests.attach.scenes import NOW, insert_prediction
from tests.support.db import Conn, connect, value
from tests.support.process import ROOT, environment

OUR_TRIGGERS = {
    ("predictions", "predictions_inserted"),
    ("predictions", "predictions_updated"),
    ("ticker_registry", "registry_inserted"),
}
PAIR = ("prediction_outcomes", "prediction_id", "symbol")


# What is left alone, what is added.


def test_every_row_of_the_owners_stays_as_it_is(migration: Migration) -> None:
    assert migration.rows_after == migration.rows


def test_only_nullable_columns_without_a_default_are_added_and_only_where_we_write(
    migration: Migration,
) -> None:
    before, after = migration.catalog, migration.catalog_after
    assert before.columns <= after.columns
    added = after.columns - before.columns
    assert {column.table for column in added} == set(SHARED)
    assert {(column.not_null, column.default) for column in added} == {(False, None)}
    ours = {column.name for column in added if column.table == "prediction_outcomes"}
    assert {"entry_session", "outcome_state", "outcome_reason", "engine_version"} <= ours
    # A rewritten table would have held everybody up for as long as that takes.
    assert after.files == before.files


def test_constraints_views_and_rights_stay_and_only_our_triggers_come(
    migration: Migration,
) -> None:
    before, after = migration.catalog, migration.catalog_after
    assert after.constraints == before.constraints
    assert after.rights == before.rights
    assert before.views <= after.views
    assert before.triggers <= after.triggers
    new_triggers = {(table, name) for table, name, *_ in after.triggers - before.triggers}
    assert new_triggers == OUR_TRIGGERS
    assert before.indexes <= after.indexes
    new_indexes = after.indexes - before.indexes
    assert {table for table, _ in new_indexes} <= set(SHARED)
    # With one, an insert of theirs could fail that succeeds now.
    assert not [text for _, text in new_indexes if "UNIQUE" in text]


def test_nothing_is_done_for_predictions_from_before(migrated_url: str) -> None:
    with connect(migrated_url) as conn:
        assert value(conn, "SELECT count(*) FROM outbox") == 0
        assert value(conn, "SELECT sweep_forgotten(1000)") == 0
        assert value(conn, "SELECT count(engine_version) FROM prediction_outcomes") == 0


def test_migrating_again_changes_nothing_and_check_is_content(
    migration: Migration, migrated_url: str
) -> None:
    applied = "SELECT xmin, * FROM reckoner_schema ORDER BY name"
    with connect(migrated_url) as conn:
        before = catalog(conn, list(columns(conn))), conn.execute(applied).fetchall()

        again = migrate(migrated_url)

        assert again == advice(migration.changes)
        assert (catalog(conn, list(columns(conn))), conn.execute(applied).fetchall()) == before
        assert contents(conn, migration.columns) == migration.rows
    checked = check(migrated_url)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert json.loads(checked.stdout) == again


def test_check_alone_names_what_is_missing_and_changes_nothing(owners_url: str) -> None:
    with connect(owners_url) as conn:
        tables = columns(conn)
        before = catalog(conn, list(tables)), contents(conn, tables)

        checked = check(owners_url)

        assert checked.returncode == 3
        assert json.loads(checked.stdout)
        assert columns(conn) == tables
        assert (catalog(conn, list(tables)), contents(conn, tables)) == before


def test_two_processes_at_once_both_succeed(owners_url: str) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "worker", "migrate", "--json"],
            env=environment(owners_url),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [(process, *process.communicate(timeout=60)) for process in both]
    assert [process.returncode for process, _, _ in ended] == [0, 0], ended
    # They may share the work; nothing is done twice.
    applied = Counter(change["name"] for _, out, _ in ended for change in json.loads(out))
    files = Counter(file.name for file in schema_files())
    assert {name: n for name, n in applied.items() if name in files} == files
    assert check(owners_url).returncode == 0


def test_the_triggers_and_the_owners_statements_work_together(
    migrated_url: str, generation: str
) -> None:
    with connect(migrated_url) as conn:
        number = insert_prediction(conn, generation, '["NVDA"]', published=NOW)
        assert keys(conn, "prediction") == [str(number)]
        conn.execute(
            "UPDATE predictions SET assets = '[\"AMD\"]' WHERE id = %s AND analysis_status = 'completed'",
            [number],
        )
        assert keys(conn, "prediction") == [str(number)] * 2
        conn.execute(
            "INSERT INTO ticker_registry (symbol, first_seen_date, status, created_at, updated_at)"
            " VALUES ('NVDA', %(now)s, 'active', %(now)s, %(now)s)",
            {"now": NOW},
        )
        assert keys(conn, "ticker") == ["NVDA"]
        conn.execute(
            "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, is_complete,"
            " created_at, updated_at) VALUES (%(id)s, 'NVDA', %(now)s, false, %(now)s, %(now)s)",
            {"id": number, "now": NOW},
        )
        row = conn.execute(
            "SELECT engine_version, outcome_state FROM prediction_outcomes WHERE prediction_id = %s",
            [number],
        ).fetchone()
        assert row == {"engine_version": None, "outcome_state": None}


def keys(conn: Conn, topic: str) -> list[str]:
    rows = conn.execute("SELECT key FROM outbox WHERE topic = %s ORDER BY id", [topic])
    return [row["key"] for row in rows]


# The same outcome twice.


def test_duplicates_are_named_and_all_the_rest_is_installed(make_generation: Generation) -> None:
    url = make_generation("older")

    changes = migrate(url)

    [row] = blocked(changes)
    for prediction, symbol in DUPLICATES:
        assert str(prediction) in row["name"], row["name"]
        assert symbol in row["name"], row["name"]
    assert row["sql"]
    assert {change["sql"] for change in changes if change is not row} == {None}
    assert all(change.keys() == {"action", "name", "sql"} for change in changes)
    checked = check(url)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert json.loads(checked.stdout) == [row]
    with connect(url) as conn:
        assert duplicates(conn) == DUPLICATES
        assert unique_on(conn, *PAIR) == 0


def test_the_printed_sql_resolves_the_duplicates_and_nothing_else(
    make_generation: Generation,
) -> None:
    url = make_generation("older")
    [row] = blocked(migrate(url))
    single = (
        "SELECT id, xmin, ctid FROM prediction_outcomes WHERE (prediction_id, symbol)"
        " NOT IN ((12, 'AAPL'), (31, 'SPY'), (236, 'AAPL'), (236, 'TSLA')) ORDER BY id"
    )
    with connect(url) as conn:
        before = conn.execute(single).fetchall()
        pairs = value(
            conn, "SELECT count(DISTINCT (prediction_id, symbol)) FROM prediction_outcomes"
        )

        conn.execute(row["sql"])

        assert duplicates(conn) == {}
        assert value(conn, "SELECT count(*) FROM prediction_outcomes") == pairs
        assert conn.execute(single).fetchall() == before
        assert blocked(migrate(url)) == []
        assert unique_on(conn, *PAIR) == 1
    checked = check(url)
    assert (checked.returncode, json.loads(checked.stdout)) == (0, [])


@pytest.mark.parametrize("generation", ["older", "mixed"])
def test_without_duplicates_the_unique_index_is_the_owners_choice(
    make_generation: Generation, generation: str
) -> None:
    url = make_generation(generation)
    with connect(url) as conn:
        without_duplicates(conn)
        changes = migrate(url)
        assert blocked(changes) == []
        [row] = advice(changes)
        assert (row["action"], unique_on(conn, *PAIR)) == ("optional", 0)
        rows = value(conn, "SELECT count(*) FROM prediction_outcomes")

        conn.execute(row["sql"])

        assert value(conn, "SELECT count(*) FROM prediction_outcomes") == rows
        assert unique_on(conn, *PAIR) == 1
        assert migrate(url) == []


def test_a_unique_constraint_of_the_owners_is_enough(make_generation: Generation) -> None:
    url = make_generation("newer")
    migrate(url)
    with connect(url) as conn:
        assert unique_on(conn, *PAIR) == 1
