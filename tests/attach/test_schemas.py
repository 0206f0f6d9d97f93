"""Other schemas: a search_path that does not begin with `public`, and predictions that are elsewhere."""

from collections.abc import Iterator

import pytest

from sql.database import Database
from sql.schema import migrate
from tests.sql.owners import OWNERS_TABLE
from tests.support.cli import command
from tests.support.db import Conn, connect, database_of, value
from tests.support.market import insert_prediction
from tests.support.process import Start
from tests.support.queue import history

THEIRS = OWNERS_TABLE % {"json": "jsonb"}


@pytest.fixture
def theirs(empty_url: str) -> Iterator[Conn]:
    """A database whose predictions are in the schema app."""
    with connect(empty_url) as conn:
        conn.execute(b"CREATE SCHEMA app; SET search_path = app;" + THEIRS.encode())
        conn.execute("RESET search_path")
        yield conn


def set_path(conn: Conn, url: str, path: str) -> None:
    """Let every new session of the database have this search_path."""
    conn.execute(f"ALTER DATABASE {database_of(url)} SET search_path = {path}".encode())


def tables(conn: Conn) -> int:
    return int(
        value(conn, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    )


@pytest.mark.parametrize("path", ["public", "app", "app, public"])
@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_predictions_in_another_schema_are_refused(
    empty_url: str, theirs: Conn, path: str, arguments: tuple[str, ...]
) -> None:
    set_path(theirs, empty_url, path)
    done = command(empty_url, "worker", "migrate", *arguments)
    assert done.returncode == 3
    assert "predictions is in another schema (app.predictions)" in done.stderr
    assert "ALTER TABLE app.predictions SET SCHEMA public" in done.stderr
    assert tables(theirs) == 0


def test_both_ways_out_are_served(empty_url: str, theirs: Conn) -> None:
    with Database(empty_url) as database:
        theirs.execute("ALTER TABLE app.predictions SET SCHEMA public")
        migrate.migrate(database)
        theirs.execute("ALTER TABLE public.predictions SET SCHEMA app")
        with pytest.raises(migrate.MigrationError, match=r"in another schema \(app\.predictions\)"):
            migrate.migrate(database)
        theirs.execute(THEIRS.encode())
        migrate.migrate(database)
        assert (
            value(theirs, "SELECT source_reads('prediction_inputs')::regclass[]::text")
            == "{predictions}"
        )


def test_of_two_tables_the_one_that_the_role_finds_is_not_passed_over(
    empty_url: str, theirs: Conn
) -> None:
    theirs.execute(THEIRS.encode())
    set_path(theirs, empty_url, "app, public")
    with (
        Database(empty_url) as database,
        pytest.raises(
            migrate.MigrationError, match=r"search_path of this role finds app\.predictions"
        ),
    ):
        migrate.migrate(database)
    assert value(theirs, "SELECT to_regclass('public.reckoner_schema')") is None
    set_path(theirs, empty_url, "public, app")
    with Database(empty_url) as database:
        migrate.migrate(database)


def test_a_table_of_another_shape_is_another_programs(empty_url: str) -> None:
    with connect(empty_url) as conn, Database(empty_url) as database:
        conn.execute(
            "CREATE SCHEMA weather; CREATE TABLE weather.predictions (day date, rain float)"
        )
        migrate.migrate(database)
        assert value(conn, "SELECT to_regclass('public.predictions')") is not None


SHADOWS = """
CREATE SCHEMA shadow;
CREATE TABLE shadow.outbox (id int);
CREATE TABLE shadow.market_prices (id int);
CREATE FUNCTION shadow.normalize_symbol(text) RETURNS text LANGUAGE sql AS $$ SELECT 'SHADOW' $$;
"""


def test_a_worker_whose_search_path_is_anothers(conn: Conn, url: str, start_worker: Start) -> None:
    """Its statements, the commands' and psql's find ours, whatever the session's path is."""
    conn.execute(SHADOWS)
    set_path(conn, url, "shadow, pg_temp")
    number = insert_prediction(conn, ["GOOD"])
    assert start_worker("run", "--drain").process.wait(60) == 0
    assert [row["verdict"] for row in history(conn, number, "prediction")] == ["done"]
    assert value(conn, "SELECT symbol FROM prediction_outcomes") == "GOOD"
    for words in (["worker", "status"], ["worker", "migrate", "--check"], ["market", "db", "check"],
                  ["market", "db", "audit"]):  # fmt: skip
        done = command(url, *words)
        assert done.returncode == 0, done.stderr


def test_operators_functions_and_views_need_no_search_path(conn: Conn) -> None:
    number = insert_prediction(conn, ["GOOD"])
    views = [
        row["name"]
        for row in conn.execute(
            "SELECT viewname AS name FROM pg_views WHERE schemaname = 'public' ORDER BY 1"
        )
    ]
    assert len(views) > 10
    conn.execute("SET search_path = ''")
    for view in views:
        conn.execute(f"SELECT * FROM public.{view}".encode())  # noqa: S608
    event = value(conn, "SELECT public.outbox_requeue_prediction(%s)", [number])
    assert value(conn, "SELECT public.outbox_requeue(%s)", [event]) == event
    assert value(conn, "SELECT public.outbox_park(%s, 'why')", [event]) == "dead"
    assert value(conn, "SELECT public.outbox_requeue_dead()") == 1
    assert value(conn, "SELECT public.outbox_cancel(%s, 'why')", [event]) == "cancelled"
    assert value(conn, "SELECT public.outbox_requeue_ticker('GOOD')") > 0
    assert value(conn, "SELECT count(*) FROM public.reckoner_health()") > 10
    assert value(conn, "SELECT count(*) FROM public.explain_prediction(%s)", [number]) > 0
    assert value(conn, "SELECT count(*) FROM public.explain_ticker('GOOD')") > 0
