"""Another program's object with a name of ours: refused before the first change, never touched."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from sql.database import Database
from sql.schema import check, migrate, remove, repair
from sql.schema.files import schema_files
from tests.support.cli import command
from tests.support.db import Conn, connect, copy_of, drop, value
from tests.support.market import insert_prediction

# What another program made, and what `migrate` says of it.
CLASHES = {
    "Debezium's outbox": (
        (
            "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, type text,"
            " payload jsonb)"
        ),
        [
            "table outbox exists and is not Reckoner's",
            "index outbox_pkey on outbox exists and is not Reckoner's",
        ],
    ),
    "a table of a later migration": (
        "CREATE TABLE market_calendars (name text)",
        ["table market_calendars exists and is not Reckoner's"],
    ),
    "another program's holdings": (
        "CREATE TABLE holdings (id bigint PRIMARY KEY, isin text); CREATE TABLE index_constituents (id bigint)",
        [
            "table holdings exists and is not Reckoner's",
            "table index_constituents exists and is not Reckoner's",
            "index holdings_pkey on holdings exists and is not Reckoner's",
        ],
    ),
    "a table in the place of the record": (
        "CREATE TABLE reckoner_schema (version integer)",
        ["table reckoner_schema exists and is not Reckoner's"],
    ),
    "a view": (
        "CREATE VIEW worker_status AS SELECT 1 AS id",
        ["view worker_status exists and is not Reckoner's"],
    ),
    "a materialized view": (
        "CREATE MATERIALIZED VIEW symbol_stats AS SELECT 1 AS id",
        ["materialized view symbol_stats exists and is not Reckoner's"],
    ),
    "a view in the place of a shared table": (
        "CREATE VIEW market_prices AS SELECT 'A' AS symbol",
        ["view market_prices exists, and Reckoner needs a table of that name"],
    ),
    "another source with other columns": (
        "CREATE VIEW prediction_inputs AS SELECT 1 AS id",
        ["view prediction_inputs exists and is not Reckoner's"],
    ),
    "a function of a generated column": (
        (
            "CREATE FUNCTION normalize_symbol(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower($1) $$;"
            " CREATE TABLE theirs (s text, n text GENERATED ALWAYS AS (normalize_symbol(s)) STORED);"
            " INSERT INTO theirs VALUES ('Aapl ')"
        ),
        ["function normalize_symbol(text) exists and is not Reckoner's"],
    ),
    "a procedure": (
        "CREATE PROCEDURE outbox_park(bigint, text) LANGUAGE sql AS 'SELECT 1'",
        ["procedure outbox_park(bigint,text) exists and is not Reckoner's"],
    ),
    "an aggregate": (
        "CREATE AGGREGATE one_line(text) (sfunc = textcat, stype = text)",
        ["aggregate one_line(text) exists and is not Reckoner's"],
    ),
    "a composite type": (
        "CREATE TYPE outcome_key AS (id integer)",
        ["type outcome_key exists and is not Reckoner's"],
    ),
    "an enumeration": (
        "CREATE TYPE price_jobs AS ENUM ('daily')",
        ["type price_jobs exists and is not Reckoner's"],
    ),
    "a domain": (
        "CREATE DOMAIN outbox_status AS text",
        ["domain outbox_status exists and is not Reckoner's"],
    ),
    "a sequence": (
        "CREATE SEQUENCE outbox_lease",
        ["sequence outbox_lease exists and is not Reckoner's"],
    ),
    "an index": (
        "CREATE TABLE orders (topic text); CREATE INDEX outbox_ready ON orders (topic)",
        ["index outbox_ready on orders exists and is not Reckoner's"],
    ),
    "an index on a shared table": (
        (
            "CREATE TABLE prediction_outcomes (id bigint PRIMARY KEY, prediction_id integer, symbol varchar(20));"
            " CREATE INDEX prediction_outcomes_due ON prediction_outcomes (symbol)"
        ),
        ["index prediction_outcomes_due on prediction_outcomes exists and is not Reckoner's"],
    ),
    "a trigger": (
        (
            "CREATE TABLE ticker_registry (id bigint PRIMARY KEY, symbol varchar(20) UNIQUE);"
            " CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            " CREATE TRIGGER registry_inserted AFTER INSERT ON ticker_registry FOR EACH ROW EXECUTE FUNCTION noted()"
        ),
        ["trigger registry_inserted on ticker_registry exists and is not Reckoner's"],
    ),
    "a trigger's function": (
        (
            "CREATE TABLE theirs (id integer); CREATE FUNCTION predictions_inserted() RETURNS trigger"
            " LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER noted AFTER INSERT ON theirs"
            " FOR EACH ROW EXECUTE FUNCTION predictions_inserted()"
        ),
        ["function predictions_inserted() exists and is not Reckoner's"],
    ),
    "a column of another type": (
        "CREATE TABLE ticker_registry (id bigint PRIMARY KEY, symbol varchar(20) UNIQUE, calendar integer)",
        ["column ticker_registry.calendar is integer and not Reckoner's, which needs text"],
    ),
    "an overload that calls without the default reach": (
        "CREATE FUNCTION outbox_renew(text, double precision) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        [
            (
                "function outbox_renew(text,double precision) is not Reckoner's, and calls of its"
                " outbox_renew(text,double precision,bigint[]) could mean it"
            )
        ],
    ),
    "an overload by a default": (
        "CREATE FUNCTION one_line(text, int DEFAULT 80) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        [
            (
                "function one_line(text,integer) is not Reckoner's, and calls of its one_line(text)"
                " could mean it"
            )
        ],
    ),
    "an overload that fits a column better": (
        "CREATE FUNCTION normalize_symbol(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        [
            (
                "function normalize_symbol(character varying) is not Reckoner's, and calls of its"
                " normalize_symbol(text) could mean it"
            )
        ],
    ),
    "two at once": (
        "CREATE FUNCTION has_assets(text) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE price_jobs ()",
        [
            "function has_assets(text) exists and is not Reckoner's",
            "table price_jobs exists and is not Reckoner's",
        ],
    ),
}

# What has no name of ours, or one that is told apart from it.
HARMLESS = [
    "CREATE TABLE events (id integer)",
    "CREATE FUNCTION one_line(text, int) RETURNS text LANGUAGE sql AS 'SELECT $1'",
    "CREATE FUNCTION reckoner_now(integer) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    # Of an older release of ours: 00_dropped.sql names them.
    "CREATE FUNCTION job_owed(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE VIEW provider_hindrances AS SELECT 1 AS id",
    # The same source as ours, from another table: the contract allows it.
    (
        "CREATE TABLE forecasts (id integer); CREATE VIEW prediction_inputs AS SELECT id AS prediction_id,"
        " now() AS moment, '[]'::jsonb AS assets, '{}'::jsonb AS market_impact, 1.0::double precision"
        " AS confidence, false AS eligible FROM forecasts"
    ),
]

# Every object of the schema, and the transaction that wrote it last.
_CATALOG = """
SELECT 'class' AS kind, oid, xmin::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'column', attrelid, string_agg(attname || xmin::text, ' ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace) GROUP BY 2
UNION ALL SELECT 'function', oid, xmin::text || pg_get_function_result(oid) || prosrc FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'type', oid, xmin::text FROM pg_type WHERE typnamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', oid, xmin::text FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'comment', objoid, xmin::text || description FROM pg_description WHERE objoid > 16383
ORDER BY 1, 2
"""


def everything(conn: Conn) -> list[object]:
    return list(conn.execute(_CATALOG.encode()).fetchall())


def refused(database: Database) -> list[migrate.Change]:
    with pytest.raises(migrate.SchemaMismatch) as caught:
        migrate.migrate(database)
    changes = getattr(caught.value, "changes", [])
    assert all(each.name in str(caught.value) and each.sql in str(caught.value) for each in changes)
    return list(changes)


@pytest.mark.parametrize("case", CLASHES)
def test_a_clash_is_refused_before_the_first_change_and_its_sql_makes_room(
    empty_url: str, case: str
) -> None:
    made, said = CLASHES[case]
    with connect(empty_url) as conn, Database(empty_url) as database:
        conn.execute(made.encode())
        before = everything(conn)

        changes = refused(database)

        assert [each.name for each in changes] == said
        assert {each.action for each in changes} == {"clash"}
        with database.transaction() as again:
            assert migrate.pending(again) == changes
        # Nor is anything of the owner's offered for removal.
        assert remove.apply(database) == []
        assert everything(conn) == before

        for each in changes:
            assert each.sql is not None
            conn.execute(each.sql.encode())
        migrate.migrate(database)
        with database.transaction() as again:
            assert migrate.pending(again) == []


def test_a_generated_column_of_the_owner_keeps_its_values(empty_url: str) -> None:
    made, _ = CLASHES["a function of a generated column"]
    with connect(empty_url) as conn, Database(empty_url) as database:
        conn.execute(made.encode())
        [clash] = refused(database)
        assert clash.sql is not None
        conn.execute(clash.sql.encode())
        migrate.migrate(database)
        conn.execute("UPDATE theirs SET s = 'Msft '")
        assert value(conn, "SELECT n FROM theirs") == "msft "
        assert value(conn, "SELECT normalize_symbol('msft ')") == "MSFT"


@pytest.mark.parametrize("made", HARMLESS)
def test_what_is_no_clash_stays_as_it_is(empty_url: str, made: str) -> None:
    with connect(empty_url) as conn, Database(empty_url) as database:
        conn.execute(made.encode())
        theirs = everything(conn)
        migrate.migrate(database)
        assert migrate.migrate(database) == []
        after = everything(conn)
        assert [each for each in theirs if each in after] == theirs
        remove.apply(database)
        after = everything(conn)
        assert [each for each in theirs if each in after] == theirs


def test_the_command_names_each_clash_with_its_way_out_and_exits_3(empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.execute(CLASHES["two at once"][0].encode())
        before = everything(conn)
        for arguments in ([], ["--check"]):
            done = command(empty_url, "worker", "migrate", *arguments, "--json")
            assert done.returncode == 3
            assert [each["name"] for each in json.loads(done.stdout)] == CLASHES["two at once"][1]
            assert [each["sql"] for each in json.loads(done.stdout)] == [
                'ALTER FUNCTION public.has_assets(text) RENAME TO "their_has_assets";',
                'ALTER TABLE public."price_jobs" RENAME TO "their_price_jobs";',
            ]
        done = command(empty_url, "worker", "migrate")
        assert done.returncode == 3
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "nothing was changed" in done.stderr
        assert 'ALTER TABLE public."price_jobs" RENAME TO "their_price_jobs"' in done.stderr
        printed = command(empty_url, "worker", "migrate", "--remove")
        assert (printed.returncode, printed.stdout) == (0, "")
        assert everything(conn) == before


def test_an_upgrade_is_refused_where_the_owner_took_a_name_that_it_needs(empty_url: str) -> None:
    older = [file for file in schema_files() if file.is_migration and file.name < "migrations/0018"]
    with connect(empty_url) as conn, Database(empty_url) as database:
        for file in older:
            conn.execute(file.text.encode())
        conn.execute(
            "CREATE TABLE market_calendars (name text); CREATE VIEW outbox_stuck AS SELECT 1"
        )
        conn.execute("CREATE FUNCTION one_line(text) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        before = everything(conn)
        assert [each.name.split(" exists")[0] for each in refused(database)] == [
            "function one_line(text)",
            "table market_calendars",
            "view outbox_stuck",
        ]
        assert everything(conn) == before
        removed = remove.apply(database)
        assert "DROP TABLE outbox" in removed
        assert not [line for line in removed if re.search("one_line|market_cal|outbox_stuck", line)]
        assert value(conn, "SELECT one_line('x')") == 1


# Ours is away or has another name, and the owner's is there.
LATER = {
    "function normalize_symbol(text)": (
        "ALTER FUNCTION normalize_symbol(text) RENAME TO normalize_symbol_old;"
        " CREATE FUNCTION normalize_symbol(text) RETURNS text LANGUAGE sql AS 'SELECT $1'"
    ),
    "view worker_status": "ALTER VIEW worker_status RENAME TO was_ours; CREATE VIEW worker_status AS SELECT 1 AS id",
    "table price_job_symbols": (
        "ALTER TABLE price_job_symbols RENAME TO was_ours; CREATE TABLE price_job_symbols (id uuid)"
    ),
    "sequence outbox_lease": (
        "ALTER SEQUENCE outbox_lease RENAME TO was_ours; CREATE SEQUENCE outbox_lease"
    ),
    "index outbox_ready on theirs": (
        "DROP INDEX outbox_ready; CREATE TABLE theirs (id int); CREATE INDEX outbox_ready ON theirs (id)"
    ),
}


@pytest.mark.parametrize("name", LATER)
def test_an_object_that_took_the_place_of_ours_is_touched_by_no_command(
    database: Database, conn: Conn, name: str
) -> None:
    conn.execute(LATER[name].encode())
    conn.execute("DROP INDEX outbox_history_key")  # something to repair beside it
    conn.execute("UPDATE reckoner_schema SET checksum = 'older' WHERE name LIKE 'functions/%'")
    before = everything(conn)
    assert [each.name for each in refused(database)] == [f"{name} exists and is not Reckoner's"]
    assert everything(conn) == before
    [said] = [each for each in check.check(database, database.url) if each.check == "names"]
    assert said.state == "warn"
    assert name in said.message

    for file in schema_files():
        conn.execute(
            "UPDATE reckoner_schema SET checksum = %s WHERE name = %s", [file.checksum, file.name]
        )
    mine = theirs(conn, name)
    found = {each.object: each for each in repair.look(database)}
    assert (found[name].difference, found[name].additive) == ("exists and is not Reckoner's", False)
    told = repair.apply(database, list(found.values()))
    assert told["index outbox_history_key on outbox_history"] == "done"
    assert theirs(conn, name) == mine

    removed = remove.apply(database)
    assert "DROP TABLE outbox" in removed
    assert theirs(conn, name) == mine


def theirs(conn: Conn, name: str) -> object:
    """The owner's object: its oid, and the last transaction that changed it or its rights."""
    kind, called = name.split()[:2]
    if kind == "function":
        return conn.execute(
            "SELECT oid, xmin, proacl FROM pg_proc WHERE oid = %s::regprocedure",
            [f"public.{called}"],
        ).fetchall()
    return conn.execute(
        "SELECT oid, xmin, relacl FROM pg_class WHERE oid = %s::regclass", [f"public.{called}"]
    ).fetchall()


def test_a_database_without_a_clash_passes_the_check(database: Database) -> None:
    [said] = [each for each in check.check(database, database.url) if each.check == "names"]
    assert said.state == "ok"


def forget_marks(conn: Conn) -> None:
    """As a release before marks left it, or pg_restore --no-comments."""
    rows = conn.execute(
        "SELECT format('COMMENT ON FUNCTION %s IS NULL', oid::regprocedure) AS s FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace UNION ALL"
        " SELECT format('COMMENT ON %s %s IS NULL', CASE WHEN relkind IN ('r', 'p') THEN 'TABLE'"
        " WHEN relkind = 'v' THEN 'VIEW' WHEN relkind = 'S' THEN 'SEQUENCE' WHEN relkind IN ('i', 'I') THEN 'INDEX'"
        " ELSE 'TYPE' END, oid::regclass) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace"
    ).fetchall()
    for row in rows:
        conn.execute(row["s"].encode())


def names(conn: Conn) -> set[str]:
    rows = conn.execute(
        "SELECT oid::regprocedure::text AS n FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " UNION SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'c')"
    )
    return {row["n"] for row in rows}


def test_an_installation_without_marks_is_known_by_its_record_and_marked(
    database: Database, conn: Conn
) -> None:
    forget_marks(conn)
    assert {change.action for change in migrate.migrate(database)} == {"attach"}  # their comments
    assert migrate.migrate(database) == []
    conn.execute(LATER["view worker_status"].encode())
    assert [each.name.split(" exists")[0] for each in refused(database)] == ["view worker_status"]


def test_an_installation_without_marks_is_removed_whole(database: Database, conn: Conn) -> None:
    forget_marks(conn)
    conn.execute("UPDATE reckoner_schema SET checksum = 'older' WHERE name LIKE 'functions/%'")
    conn.execute("CREATE FUNCTION reckoner_now(integer) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    remove.apply(database)
    assert names(conn) == {"reckoner_now(integer)"}
    # What it left bears no mark either, and is taken up again.
    migrate.migrate(database)
    assert migrate.migrate(database) == []


@pytest.mark.parametrize("options", [[], ["--no-comments"]])
def test_a_restored_dump_is_ours(
    server_url: str, url: str, conn: Conn, psql_program: str, options: list[str]
) -> None:
    insert_prediction(conn, ["AAPL"])
    dumped = subprocess.run(
        [Path(psql_program).parent / "pg_dump", *options, url], capture_output=True, check=True
    ).stdout
    restored = copy_of(server_url)
    try:
        subprocess.run(
            [psql_program, "-X", "-q", "-v", "ON_ERROR_STOP=1", restored],
            input=dumped,
            capture_output=True,
            check=True,
        )
        with Database(restored) as database, connect(restored) as there:
            migrate.migrate(database)  # without comments the views are made again
            assert migrate.migrate(database) == []
            remove.apply(database)
            assert names(there) == set()
    finally:
        drop(server_url, restored)
