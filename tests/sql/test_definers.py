"""What runs with the owner's rights runs nobody else's code: not for a role that only connects, nor
for the author of operators, functions, casts and types that fit better than those of the server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql as psql

from sql.database import Database
from sql.schema import migrate
from sql.schema.files import PUBLIC
from tests.support.db import Conn, collect_warnings, connect, value
from tests.support.market import insert_prediction
from tests.support.roles import Roles, as_role, roles

TRIGGERS = ["outbox_requeued", "predictions_inserted", "predictions_updated", "registry_inserted"]
# What a worker may call, to make and drop months of bars: it may not change the schema itself.
DEFINERS = ["intraday_partition_drop", "intraday_partitions_ensure", *TRIGGERS]
# What a trigger of ours reads, each column of a type whose every cast is the attacker's.
COLUMNS = (
    "id", "assets", "market_impact", "analysis_status", "symbol", "status", "key", "topic", "lease",
    "last_error", "available_at", "claimed_at", "trail", "leased_by",
)  # fmt: skip
CASTS = ("text", "bigint", "integer", "jsonb", "timestamptz", "varchar")
EVIL = """
CREATE TYPE pg_temp.evil AS ENUM ('completed', 'active', 'pending', 'processing', '["A"]');
CREATE TEMP TABLE caught (who text);
CREATE FUNCTION pg_temp.catch() RETURNS void LANGUAGE sql AS 'INSERT INTO pg_temp.caught VALUES (current_user)';
"""


@pytest.fixture
def nobody(conn: Conn) -> Iterator[str]:
    """A role that may connect and nothing else."""
    with made_role(conn) as name:
        yield name


@contextmanager
def made_role(conn: Conn) -> Iterator[str]:
    name = f"stranger_{uuid4().hex[:12]}"
    conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'of-a-test'".encode())
    yield name
    conn.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}".encode())


@contextmanager
def dropped(conn: Conn, role: str) -> Iterator[None]:
    """Take away what a role has in one more database."""
    try:
        yield
    finally:
        conn.execute(f"DROP OWNED BY {role} CASCADE".encode())


def trap(conn: Conn) -> None:
    """A type of this session whose casts write down who called them."""
    conn.execute(EVIL.encode())
    for target in CASTS:
        # One implicit cast, because two would make every operator ambiguous.
        kind = "IMPLICIT" if target == "text" else "ASSIGNMENT"
        conn.execute(
            f"CREATE FUNCTION pg_temp.to_{target}(pg_temp.evil) RETURNS {target} LANGUAGE plpgsql AS"
            f" 'BEGIN PERFORM pg_temp.catch(); RETURN NULL; END';"
            f"CREATE CAST (pg_temp.evil AS {target}) WITH FUNCTION pg_temp.to_{target}(pg_temp.evil) AS {kind}".encode()
        )
    columns = ", ".join(f"{name} pg_temp.evil DEFAULT 'completed'" for name in COLUMNS)
    conn.execute(f"CREATE TEMP TABLE mine ({columns})".encode())


def lay(conn: Conn, function: str, definition: str, table: str) -> None:
    """Have the product's trigger on a table of one's own."""
    own = definition.replace(f"public.{table}", "pg_temp.mine").partition(" WHEN ")[0]
    conn.execute(f"CREATE TRIGGER {function} {own} EXECUTE FUNCTION public.{function}()".encode())


def triggers(conn: Conn) -> dict[str, tuple[str, str]]:
    rows = conn.execute("SELECT * FROM reckoner_triggers()").fetchall()
    return {row["trigger_name"]: (row["definition"], row["source"]) for row in rows}


def connected(url: str, made: Roles, role: str, nobody: str) -> Conn:
    conn = connect(as_role(url, nobody) if role == "nobody" else str(getattr(made, role)))
    conn.execute("SET default_transaction_read_only = off")
    return conn


def test_these_are_all(conn: Conn) -> None:
    found = conn.execute(
        "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY 1"
    )
    assert [row["proname"] for row in found] == DEFINERS


@pytest.mark.parametrize("role", ["nobody", "analyst", "dashboard", "worker"])
def test_no_role_can_put_an_owners_trigger_on_its_own_table(
    url: str, conn: Conn, nobody: str, role: str
) -> None:
    known = triggers(conn)
    if role == "dashboard":
        conn.execute(
            psql.SQL("GRANT TEMP ON DATABASE {} TO PUBLIC").format(
                psql.Identifier(value(conn, "SELECT current_database()"))
            )
        )
    with roles(url) as made, connected(url, made, role, nobody) as attacker:
        trap(attacker)
        for function in TRIGGERS:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                lay(attacker, function, *known[function])


@pytest.mark.parametrize("function", TRIGGERS)
def test_a_trigger_laid_before_the_update_runs_nothing(
    url: str, conn: Conn, nobody: str, function: str
) -> None:
    """As in a database in which everyone may still call it, or could when the trigger was made."""
    conn.execute(f"GRANT EXECUTE ON FUNCTION {function}() TO PUBLIC".encode())
    known = triggers(conn)
    with connect(as_role(url, nobody)) as attacker:
        trap(attacker)
        lay(attacker, function, *known[function])
        warnings = collect_warnings(attacker)
        refused = ""
        try:
            attacker.execute("INSERT INTO mine DEFAULT VALUES")
            attacker.execute("UPDATE mine SET status = 'pending', assets = '[\"A\"]'")
        except psycopg.errors.RaiseException as error:
            refused = str(error)
        assert [text for text in [*warnings, refused] if "not the trigger of this table" in text]
        assert attacker.execute("SELECT who FROM caught").fetchall() == []
    assert value(conn, "SELECT count(*) FROM outbox") == 0


def test_a_predictions_table_of_the_attackers_types_gets_its_events(
    empty_url: str, nobody: str
) -> None:
    """The other program's owner is not ours: what it made of its columns must not act for us."""
    with connect(empty_url) as owner, dropped(owner, nobody):
        owner.execute(f"CREATE SCHEMA theirs AUTHORIZATION {nobody}".encode())
        owner.execute(f"GRANT CREATE ON SCHEMA public TO {nobody}".encode())
        with connect(as_role(empty_url, nobody)) as other:
            other.execute(
                EVIL.replace("TEMP TABLE ", "TABLE pg_temp.").replace("pg_temp", "theirs").encode()
            )
            for target in ("text", "jsonb", "json"):
                kind = "IMPLICIT" if target == "text" else "ASSIGNMENT"
                other.execute(
                    f"CREATE FUNCTION theirs.to_{target}(theirs.evil) RETURNS {target} LANGUAGE plpgsql AS"
                    f" 'BEGIN PERFORM theirs.catch(); RETURN NULL; END';"
                    f"CREATE CAST (theirs.evil AS {target})"
                    f" WITH FUNCTION theirs.to_{target}(theirs.evil) AS {kind}".encode()
                )
            other.execute(
                "CREATE TABLE public.predictions (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                " assets theirs.evil, market_impact theirs.evil, confidence real,"
                " analysis_status theirs.evil, created_at timestamptz DEFAULT now())"
            )
            with Database(empty_url) as database:
                migrate.migrate(database)
            warnings = collect_warnings(other)
            other.execute(
                "INSERT INTO predictions (assets, analysis_status) VALUES ('[\"A\"]', 'completed')"
            )
            other.execute("UPDATE predictions SET market_impact = 'active'")
            assert (warnings, other.execute("SELECT * FROM theirs.caught").fetchall()) == ([], [])
        assert value(owner, "SELECT count(*) FROM outbox") == 2


TYPES = (
    "text", "varchar", "bpchar", "name", "json", "jsonb", "integer", "bigint", "smallint", "boolean",
    "timestamptz", "interval", "oid", "regclass", "record", "text[]", "xid",
)  # fmt: skip
HARMLESS = {"if", "values", "distinct", "row", "exists", "and", "in", "coalesce", "conflict", "key"}


def reached(conn: Conn) -> dict[str, str]:
    """The bodies of the definers and of all functions of ours that they call, also by what they write."""
    rows = conn.execute(
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    bodies = {row["proname"]: re.sub(r"--.*", "", row["prosrc"]) for row in rows}
    found: dict[str, str] = {}
    todo = [*DEFINERS, "outbox_inserted", "outbox_is_sound"]
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = bodies[name]
            todo += [other for other in bodies if re.search(rf"\b{other}\(", bodies[name])]
    return found


def plant(conn: Conn, bodies: dict[str, str]) -> None:
    """In `public`: for every operator and function that they name, one that fits each type exactly."""
    conn.execute("SET check_function_bodies = off")
    words = {
        word.lower() for body in bodies.values() for word in re.findall(r"\b([a-zA-Z_]\w*)\(", body)
    }
    rows = conn.execute(
        "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
    )
    names = (words & {row["proname"] for row in rows}) - HARMLESS
    rows = conn.execute("SELECT DISTINCT oprname FROM pg_operator WHERE oprkind = 'b'")
    text = " ".join(bodies.values())
    operators = sorted({row["oprname"] for row in rows if row["oprname"] in text} | {"||"})
    body = "LANGUAGE plpgsql AS 'BEGIN RAISE ''captured''; END'"
    made = []
    for one in [t for t in TYPES if t != "record"]:
        made += [f"CREATE FUNCTION public.{name}({one}) RETURNS {one} {body}" for name in names]
    for left, right in product([t for t in TYPES if t != "record"], repeat=2):
        made += [
            f"CREATE FUNCTION public.{name}({left}, {right}) RETURNS boolean {body}"
            for name in names
        ]
        made.append(f"CREATE FUNCTION public.planted({left}, {right}) RETURNS boolean {body}")
        made += [
            f"CREATE OPERATOR public.{sign} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.planted)"
            for sign in operators
        ]
    conn.execute(";".join(made).encode())


@pytest.mark.parametrize("path", ["public, pg_catalog", '"$user", public'])
def test_nothing_that_others_made_in_public_is_called(
    url: str, conn: Conn, nobody: str, path: str
) -> None:
    conn.execute(f"GRANT CREATE ON SCHEMA public TO {nobody}".encode())
    waiting = insert_prediction(conn, ["A"], status="pending")
    with roles(url) as made, connect(as_role(url, nobody)) as planter:
        plant(planter, reached(conn))
        # They bite: a definer as ours were once is captured.
        conn.execute(
            "CREATE FUNCTION probe() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, public, pg_temp AS"
            " $$BEGIN RETURN 'completed'::varchar = 'completed'; END$$"
        )
        with pytest.raises(psycopg.errors.RaiseException, match="captured"):
            conn.execute("SELECT pg_catalog.count(*) FROM public.probe()")

        user = str(psycopg.conninfo.conninfo_to_dict(made.analyst)["user"])
        conn.execute(
            f"GRANT INSERT, UPDATE, SELECT ON predictions, ticker_registry, outbox TO {user}".encode()
        )
        with connect(made.analyst) as writer:
            warnings = collect_warnings(writer)
            writer.execute(f"SET search_path = {path}".encode())
            writer.execute("INSERT INTO public.predictions (assets) VALUES ('[\"A\"]')")
            writer.execute(
                "UPDATE public.predictions SET analysis_status = 'completed', market_impact = '{}'"
            )
            writer.execute("INSERT INTO public.ticker_registry (symbol) VALUES ('NEW')")
            # A CHECK's function runs as its caller, under the caller's path.
            writer.execute("RESET search_path")
            # By the outbox's own trigger; its lease stays as it was, and so it is an operator's.
            writer.execute("UPDATE public.outbox SET status = 'pending'")
            assert warnings == []
    keys = conn.execute(
        "SELECT key FROM outbox ORDER BY id OPERATOR(pg_catalog.+) 0::bigint"
    ).fetchall()
    assert sorted(row["key"] for row in keys) == sorted(
        [str(waiting), str(waiting + 1), str(waiting + 1), "NEW"]
    )


def test_types_of_the_session_are_not_compiled_into_what_an_owners_function_calls(
    url: str, conn: Conn
) -> None:
    """PL/pgSQL keeps the types of a function's variables as its first caller in a session found them."""
    with roles(url) as made, connect(made.worker) as worker:
        worker.execute("CREATE TEMP TABLE caught (who text)")
        for name in ("text", "timestamptz", "jsonb", "outbox"):
            under = "text" if name == "outbox" else name
            worker.execute(
                f"CREATE FUNCTION pg_temp.check_{name}(pg_catalog.{under}) RETURNS boolean"  # noqa: S608
                f" LANGUAGE plpgsql AS 'BEGIN INSERT INTO pg_temp.caught VALUES (current_user); RETURN true; END';"
                f"CREATE DOMAIN pg_temp.{name} AS pg_catalog.{under} CHECK (pg_temp.check_{name}(VALUE))".encode()
            )
        worker.execute("SET search_path = pg_temp, public, pg_catalog")
        worker.execute("SELECT public.ticker_enqueue(ARRAY['X'], 0, true), public.doorbell_ring()")
        worker.execute("INSERT INTO public.ticker_registry (symbol) VALUES ('NEW')")
        worker.execute("UPDATE public.outbox SET status = 'pending'")
        worker.execute("SELECT 1 FROM public.outbox_claim('ticker', 'w', 9, 60)")
        worker.execute("UPDATE public.outbox SET status = 'pending'")
        owner: str = value(conn, "SELECT current_user")
        who = {row["who"] for row in worker.execute("SELECT who FROM pg_temp.caught").fetchall()}
        assert owner not in who
    assert value(conn, "SELECT count(*) FROM outbox") == 2


def test_what_everyone_may_call_reads_as_its_caller_and_views_need_it(
    conn: Conn, nobody: str
) -> None:
    rows = conn.execute(
        "SELECT proname, prosecdef, provolatile, has_function_privilege(%s, oid, 'EXECUTE') AS may, prosrc,"
        " EXISTS (SELECT FROM pg_depend d WHERE d.refobjid = p.oid AND d.refclassid = 'pg_proc'::regclass"
        "         AND d.classid IN ('pg_rewrite'::regclass, 'pg_constraint'::regclass,"
        "                           'pg_attrdef'::regclass)) AS needed"
        " FROM pg_proc p WHERE pronamespace = 'public'::regnamespace",
        [nobody],
    ).fetchall()
    assert {row["proname"] for row in rows if row["may"]} == PUBLIC
    assert all(not row["prosecdef"] and row["provolatile"] != "v" for row in rows if row["may"])
    needed = {row["proname"] for row in rows if row["needed"]}
    bodies = {row["proname"]: re.sub(r"--.*", "", row["prosrc"]) for row in rows}
    todo = [*needed]
    while todo:
        body = bodies[todo.pop()]
        more = {name for name in bodies if re.search(rf"\b{name}\(", body)} - needed
        needed |= more
        todo += more
    assert needed <= PUBLIC


def test_a_reader_that_was_given_tables_and_views_alone_reads_them(
    url: str, conn: Conn, nobody: str
) -> None:
    conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {nobody}".encode())
    insert_prediction(conn, ["A"])
    views = conn.execute("SELECT viewname FROM pg_views WHERE schemaname = 'public'").fetchall()
    with connect(as_role(url, nobody)) as reader:
        for view in views:
            reader.execute(f"TABLE {view['viewname']}".encode())


def test_migrate_takes_back_what_older_versions_left_and_keeps_the_roles_at_work(
    url: str, conn: Conn, nobody: str
) -> None:
    with roles(url) as made:
        # As made by an earlier version: tables, and no function by name.
        conn.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC")
        for role in (made.worker, made.dashboard):
            user = str(psycopg.conninfo.conninfo_to_dict(role)["user"])
            conn.execute(f"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM {user}".encode())
        with Database(url) as database:
            done = migrate.migrate(database)
            assert {change.action for change in done} >= {"restrict"}
            assert [
                change for change in migrate.migrate(database) if change.action == "restrict"
            ] == []
        with connect(as_role(url, nobody)) as stranger:
            for call in ("doorbell_ring()", "outbox_claim('ticker', 'w', 9, 60)", "sweep_due()"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    stranger.execute(f"SELECT * FROM {call}".encode())  # noqa: S608
        with connect(made.worker) as worker, connect(made.dashboard) as dashboard:
            worker.execute("SELECT * FROM outbox_claim('ticker', 'w', 9, 60)")
            dashboard.execute("SELECT * FROM reckoner_health()")
            for reader in (worker, dashboard):
                for name in TRIGGERS:
                    assert not value(
                        reader, f"SELECT has_function_privilege('{name}()', 'EXECUTE')"
                    )


SETTINGS = {
    "the old clock": "reckoner.clock_offset = '300 years'",
    "and back": "reckoner.clock_offset = '-300 years'",
    "a clock that is not there": "reckoner.clock = 'mine'",
    "a megabyte of clock": f"reckoner.clock = '{'9' * 1_000_000}'",
    "a megabyte of trace": f"reckoner.traceparent = '{'a' * 1_000_000}'",
    "a trace and more": f"reckoner.traceparent = '00-{'a' * 32}-{'b' * 16}-01-{'c' * 9000}'",
    "upper case": f"reckoner.traceparent = '00-{'A' * 32}-{'B' * 16}-01'",
    "two lines": f"reckoner.traceparent = E'00-{'a' * 32}-{'b' * 16}-0\\n'",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_writers_settings_are_not_believed(url: str, conn: Conn, setting: str) -> None:
    with roles(url) as made, connect(made.analyst) as writer:
        warnings = collect_warnings(writer)
        writer.execute(f"SET {SETTINGS[setting]}".encode())
        for _ in range(20):
            writer.execute("INSERT INTO predictions (assets) VALUES ('[\"A\"]'), ('[\"B\"]')")
        assert warnings == []
        for statement in (
            "INSERT INTO reckoner_clock VALUES ('mine', now(), '1 year')",
            "UPDATE reckoner_clock SET clock_offset = '1 year'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                writer.execute(statement.encode())
    row = conn.execute(
        "SELECT count(*) AS n, max(pg_column_size(payload)) < 30 AS small,"
        " max(abs(extract(epoch FROM available_at - now()))) < 300 AS now FROM outbox"
    ).fetchone()
    assert row == {"n": 40, "small": True, "now": True}


def test_only_the_owner_writes_a_clock_that_all_may_name(url: str, conn: Conn) -> None:
    conn.execute("INSERT INTO reckoner_clock VALUES ('test', '2030-01-01Z', '1 hour')")
    with roles(url) as made:
        for role in (made.worker, made.dashboard):
            with connect(role) as reader:
                reader.execute(
                    "SET default_transaction_read_only = off; SET reckoner.clock = 'test'"
                )
                assert (
                    str(value(reader, "SELECT reckoner_now() AT TIME ZONE 'UTC'"))
                    == "2030-01-01 01:00:00"
                )
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute("UPDATE reckoner_clock SET clock_offset = '0'")
