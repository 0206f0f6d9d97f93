"""`db audit` on another program's databases: what is the owner's is not reported, dangers are."""

import json

import pytest

from sql.database import Database
from sql.schema import repair
from tests.support.cli import command
from tests.support.db import connect


def audited(url: str) -> dict[str, str]:
    with Database(url) as database:
        return {each.object: each.difference for each in repair.look(database)}


def test_every_generation_is_clean_after_migrate(migrated_url: str) -> None:
    done = command(migrated_url, "market", "db", "audit", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


DANGERS = [
    (
        "ALTER TABLE ticker_registry ALTER symbol TYPE varchar(8)",
        "column ticker_registry.symbol",
        "is character varying(8)",
    ),
    (
        (
            "ALTER TABLE prediction_outcomes ADD COLUMN desk text NOT NULL DEFAULT 'x';"
            " ALTER TABLE prediction_outcomes ALTER desk DROP DEFAULT"
        ),
        "column prediction_outcomes.desk",
        "NOT NULL and without a default",
    ),
    (
        (
            "ALTER TABLE ticker_registry ALTER backfill_error SET DEFAULT ''; UPDATE ticker_registry"
            " SET backfill_error = ''; ALTER TABLE ticker_registry ALTER backfill_error SET NOT NULL"
        ),
        "column ticker_registry.backfill_error",
        "refuses NULL",
    ),
    (
        "DROP INDEX prediction_outcomes_due",
        "index prediction_outcomes_due on prediction_outcomes",
        "is missing",
    ),
    (
        "DROP TRIGGER predictions_updated ON predictions",
        "trigger predictions_updated on predictions",
        "is missing",
    ),
]


@pytest.mark.parametrize(("statement", "name", "difference"), DANGERS)
def test_what_we_rely_on_is_reported(
    migrated_url: str, statement: str, name: str, difference: str
) -> None:
    with connect(migrated_url) as conn:
        if "varchar(8)" in statement:
            # No view of theirs or ours may stand in the way.
            conn.execute(
                "DROP VIEW IF EXISTS price_stats, symbol_stats, expected_tickers, outcome_facts, event_paths,"
                " tracked_symbols"
                " CASCADE"
            )
            conn.execute("DELETE FROM ticker_registry WHERE length(symbol) > 8")
        conn.execute(statement.encode())
    found = audited(migrated_url)
    assert difference in found[name]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE predictions ADD COLUMN notes text NOT NULL DEFAULT ''",
        "ALTER TABLE market_prices ADD CONSTRAINT theirs CHECK (close > 0)",
        (
            "CREATE TRIGGER theirs BEFORE UPDATE ON ticker_registry FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
        "CREATE UNIQUE INDEX theirs ON market_prices (id, date)",
        "CREATE TABLE theirs (id int); CREATE FUNCTION theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_what_is_the_owners_is_not(migrated_url: str, statement: str) -> None:
    with connect(migrated_url) as conn:
        conn.execute(statement.encode())
    assert audited(migrated_url) == {}
