"""`db audit`: the record is this version's, every kind of drift is found, and only additions are run."""

import subprocess

import pytest

from sql.database import Database
from sql.schema import audit, catalogue, repair
from sql.schema.drift import Difference
from tests.support.db import Conn, connect, value
from tests.support.market import insert_prediction


def named(found: list[Difference]) -> dict[str, tuple[str, bool]]:
    return {each.object: (each.difference, each.additive) for each in found}


def test_the_record_is_what_sql_makes_of_an_empty_database(database: Database) -> None:
    with database.transaction() as conn:
        live = catalogue.describe(conn)
    recorded = catalogue.RECORD.read_text()
    assert catalogue.as_text(live) == recorded, "run ./dev sql"


def test_the_statement_of_every_function_and_view_is_found_in_its_file() -> None:
    items = catalogue.recorded()
    names = {item.parent for item in items if item.kind == "function"}
    names |= {item.name for item in items if item.kind == "view"}
    # Made by source_attach_view() for the tables that it finds.
    assert catalogue.definitions().keys() == names - {"prediction_inputs", "prediction_models"}


def test_a_database_that_was_just_migrated_is_as_expected(database: Database) -> None:
    assert repair.look(database) == []


DRIFT = [
    ("DROP INDEX outbox_ready", "index outbox_ready on outbox", "is missing", True),
    (
        "DROP INDEX outbox_one_waiting_ticker",
        "index outbox_one_waiting_ticker on outbox",
        "is missing",
        True,
    ),
    (
        "DROP INDEX outbox_history_key; CREATE INDEX outbox_history_key ON outbox_history (key)",
        "index outbox_history_key on outbox_history",
        "is another",
        False,
    ),
    (
        (
            "CREATE OR REPLACE FUNCTION one_line(p_text text) RETURNS text LANGUAGE sql IMMUTABLE"
            " AS 'SELECT p_text'"
        ),
        "function one_line(text)",
        "is another",
        False,
    ),
    (
        "ALTER FUNCTION predictions_inserted() SECURITY INVOKER",
        "function predictions_inserted()",
        "is another",
        False,
    ),
    ("DROP FUNCTION session_settling()", "function session_settling()", "is missing", True),
    (
        "CREATE FUNCTION one_line(p_text varchar) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        "function one_line(character varying)",
        "is not ours",
        False,
    ),
    (
        "ALTER TABLE predictions DISABLE TRIGGER predictions_inserted",
        "trigger predictions_inserted on predictions",
        "is disabled",
        True,
    ),
    (
        "DROP TRIGGER outbox_requeued ON outbox",
        "trigger outbox_requeued on outbox",
        "is missing",
        True,
    ),
    (
        (
            "DROP TRIGGER outbox_inserted ON outbox; CREATE TRIGGER outbox_inserted AFTER INSERT ON outbox"
            " FOR EACH ROW EXECUTE FUNCTION outbox_inserted()"
        ),
        "trigger outbox_inserted on outbox",
        "is another",
        False,
    ),
    (
        (
            "CREATE TRIGGER mine BEFORE UPDATE ON outbox_history FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
        "trigger mine on outbox_history",
        "is not ours",
        False,
    ),
    (
        "ALTER TABLE outbox_history ALTER attempts TYPE bigint",
        "column outbox_history.attempts",
        "is bigint, expected integer",
        False,
    ),
    (
        "ALTER TABLE market_prices ALTER volume TYPE integer",
        "column market_prices.volume",
        "is integer, expected bigint",
        False,
    ),
    (
        "ALTER TABLE prediction_outcomes ALTER due_at TYPE timestamp",
        "column prediction_outcomes.due_at",
        "is timestamp without time zone",
        False,
    ),
    (
        "ALTER TABLE prediction_outcomes DROP COLUMN revision",
        "column prediction_outcomes.revision",
        "is missing",
        True,
    ),
    ("ALTER TABLE outbox DROP COLUMN trail", "column outbox.trail", "is missing", True),
    (
        "ALTER TABLE outbox ALTER payload DROP NOT NULL",
        "column outbox.payload",
        "allows NULL",
        False,
    ),
    (
        "ALTER TABLE outbox ALTER payload DROP DEFAULT",
        "column outbox.payload",
        "has the default none",
        True,
    ),
    (
        "ALTER TABLE outbox ALTER priority SET DEFAULT 7",
        "column outbox.priority",
        "has the default 7, expected 0",
        False,
    ),
    (
        "ALTER TABLE prediction_outcomes ALTER return_t1 SET NOT NULL",
        "column prediction_outcomes.return_t1",
        "refuses NULL",
        False,
    ),
    (
        "ALTER TABLE outbox DROP CONSTRAINT outbox_sound",
        "constraint outbox_sound on outbox",
        "is missing",
        False,
    ),
    (
        "ALTER TABLE outbox ADD CONSTRAINT mine CHECK (key <> 'X')",
        "constraint mine on outbox",
        "is not ours",
        False,
    ),
    (
        "ALTER TABLE market_prices DROP CONSTRAINT market_prices_symbol_date_key",
        "table market_prices",
        "has no unique index on (date, symbol)",
        False,
    ),
    (
        "ALTER TABLE market_prices ADD COLUMN desk text NOT NULL",
        "column market_prices.desk",
        "NOT NULL and without a default",
        False,
    ),
    (
        (
            "CREATE OR REPLACE VIEW worker_status AS SELECT name, host, pid, started_at, last_seen_at,"
            " last_heard_at, mode, in_flight, true AS alive, asleep_until, fault, fault_since"
            " FROM reckoner_workers"
        ),
        "view worker_status",
        "is another",
        False,
    ),
    ("DROP VIEW price_stats", "view price_stats", "is missing", True),
    ("DROP TABLE symbol_rules CASCADE", "table symbol_rules", "is missing", True),
    (
        "ALTER TABLE symbol_rules ALTER kind DROP EXPRESSION",
        "column symbol_rules.kind",
        "is computed otherwise",
        False,
    ),
    ("DROP SEQUENCE outbox_lease", "sequence outbox_lease", "is missing", False),
]


@pytest.mark.parametrize(("statement", "name", "difference", "additive"), DRIFT)
def test_drift_is_found_and_mended_if_it_takes_only_an_addition(
    database: Database, conn: Conn, statement: str, name: str, difference: str, additive: bool
) -> None:
    conn.execute(statement.encode())

    found = repair.look(database)

    assert list(named(found)) == [name]
    [each] = found
    assert difference in each.difference
    assert each.additive is additive
    assert each.risk
    told = repair.apply(database, found)
    assert told == ({name: "done"} if additive else {})
    assert named(repair.look(database)) == ({} if additive else named(found))


@pytest.mark.parametrize(
    "statement",
    [
        statement
        for statement, *_, additive in DRIFT
        if not additive and "SEQUENCE" not in statement
    ],
)
def test_the_whole_script_run_with_psql_mends_everything(
    database: Database, conn: Conn, url: str, psql_program: str, statement: str
) -> None:
    conn.execute(statement.encode())
    script = repair.script(repair.look(database))
    done = subprocess.run(
        [psql_program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url],
        input=script,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert named(repair.look(database)) == {}


def test_much_at_once_is_mended_in_an_order_that_works(database: Database, conn: Conn) -> None:
    conn.execute("DROP TABLE outbox, outbox_history, reckoner_workers CASCADE")
    conn.execute("DROP FUNCTION reckoner_now() CASCADE")

    found = repair.look(database)
    told = repair.apply(database, found)

    assert set(told.values()) == {"done"}
    assert named(repair.look(database)) == {}
    insert_prediction(conn, ["AAPL"])
    assert value(conn, "SELECT count(*) FROM outbox") == 1


def test_a_statement_that_fails_is_told_and_the_rest_goes_on(
    database: Database, conn: Conn
) -> None:
    conn.execute("DROP INDEX outbox_one_waiting_ticker, outbox_ready")
    conn.execute("INSERT INTO outbox (topic, key) VALUES ('ticker', 'A'), ('ticker', 'A')")

    told = repair.apply(database, repair.look(database))

    assert told["index outbox_ready on outbox"] == "done"
    assert told["index outbox_one_waiting_ticker on outbox"].startswith("failed: UniqueViolation")
    assert value(conn, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


def test_repair_waits_for_no_lock_for_long(database: Database, conn: Conn, url: str) -> None:
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    with connect(url) as owner, owner.transaction():
        owner.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
        found = [each for each in repair_plan() if each.object.startswith("trigger")]
        told = repair.apply(database, found)
    assert told["trigger predictions_inserted on predictions"].startswith(
        "failed: LockNotAvailable"
    )


def repair_plan() -> list[Difference]:
    """What an audit said before somebody locked the table."""
    return [
        Difference(
            "trigger predictions_inserted on predictions",
            "is disabled",
            "danger",
            "a risk",
            True,
            "ALTER TABLE public.predictions ENABLE TRIGGER predictions_inserted;",
        )
    ]


def test_an_audit_leaves_no_trace(database: Database, conn: Conn) -> None:
    def look() -> list[dict[str, object]]:
        return conn.execute("SELECT oid, xmin, relname FROM pg_class ORDER BY 1").fetchall()

    before = look()
    repair.look(database)
    assert look() == before


RIGHTS = {
    "GRANT EXECUTE ON FUNCTION predictions_inserted() TO PUBLIC": (
        "function predictions_inserted()",
        "PUBLIC has EXECUTE",
    ),
    "GRANT EXECUTE ON FUNCTION sweep_due() TO PUBLIC": (
        "function sweep_due()",
        "PUBLIC has EXECUTE",
    ),
    "REVOKE EXECUTE ON FUNCTION reckoner_now() FROM PUBLIC": (
        "function reckoner_now()",
        "PUBLIC lacks EXECUTE",
    ),
    "GRANT EXECUTE ON FUNCTION registry_inserted() TO {role}": (
        "function registry_inserted()",
        "can be called by {role}",
    ),
    "ALTER FUNCTION has_assets(text) OWNER TO {role}": (
        "function has_assets(text)",
        "belongs to {role}, not to {owner}",
    ),
    "ALTER TABLE outbox_history OWNER TO {role}": (
        "table outbox_history",
        "belongs to {role}, not to {owner}",
    ),
    "ALTER VIEW outbox_stuck OWNER TO {role}": (
        "view outbox_stuck",
        "belongs to {role}, not to {owner}",
    ),
    "ALTER SEQUENCE outbox_lease OWNER TO {role}": (
        "sequence outbox_lease",
        "belongs to {role}, not to {owner}",
    ),
    "GRANT UPDATE ON outbox TO PUBLIC": ("table outbox", "PUBLIC has UPDATE"),
    "GRANT UPDATE (status) ON outbox TO PUBLIC": ("table outbox", "PUBLIC has UPDATE"),
    "GRANT SELECT ON outbox_stuck TO PUBLIC": ("view outbox_stuck", "PUBLIC has SELECT"),
    "GRANT USAGE ON SEQUENCE outbox_lease TO PUBLIC": ("sequence outbox_lease", "PUBLIC has USAGE"),
    "GRANT INSERT ON reckoner_clock TO {role}": (
        "table reckoner_clock",
        "can be written by {role}",
    ),
    "GRANT UPDATE (clock_offset) ON reckoner_clock TO {role}": (
        "table reckoner_clock",
        "can be written by {role}",
    ),
    "CREATE TRIGGER mine AFTER INSERT ON elsewhere EXECUTE FUNCTION predictions_inserted()": (
        "trigger mine on public.elsewhere",
        "calls predictions_inserted(), which is another table's",
    ),
}


@pytest.mark.parametrize("change", RIGHTS)
def test_who_owns_what_and_who_may_do_what_is_compared(conn: Conn, change: str) -> None:
    owner = str(value(conn, "SELECT current_user"))
    role = "reckoner_of_a_test"
    with conn.transaction(force_rollback=True):
        conn.execute(f"CREATE ROLE {role}; CREATE TABLE elsewhere (id int)".encode())
        conn.execute(f"GRANT CREATE ON SCHEMA public TO {role}".encode())
        conn.execute(change.format(role=role).encode())
        [found] = audit.audit(conn)
        said = [text.format(role=role, owner=owner) for text in RIGHTS[change]]
        assert [found.object, found.difference] == said
        assert not found.additive
        for statement in found.sql.split("; "):
            conn.execute(statement.encode())
        assert audit.audit(conn) == []


def test_a_function_that_is_mended_is_not_everyones(conn: Conn, database: Database) -> None:
    conn.execute("DROP FUNCTION sweep_sync()")
    told = repair.apply(database, repair.look(database))
    assert told == {"function sweep_sync()": "done"}
    assert repair.look(database) == []
