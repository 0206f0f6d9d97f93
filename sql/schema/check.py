"""Check the server for a DBA: `market db check`.

A pooler is found by trying, and not by its address: it gives a client another process number than the
one of its backend, and where it shares connections between transactions LISTEN answers OK and no
notification arrives.
"""

import contextlib
import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Any

import psycopg

from sql.database import Connection, Database, error_line, one
from sql.schema import own
from sql.schema.catalogue import recorded
from sql.schema.files import SHARED

_ECHO_SECONDS = 2.0
_CALL_SECONDS = 15.0


@dataclass(frozen=True)
class Check:
    """One finding: `ok`, `warn` (look at it) or `fail`, with a sentence."""

    check: str
    state: str
    message: str


def check(database: Database, listen_url: str) -> list[Check]:
    """Run every check; listen_url: the URL for LISTEN. Raises psycopg.Error where no server answers."""
    with database.transaction(seconds=30) as conn:
        found = [
            _version(conn),
            _rights(conn),
            _creators(conn),
            _names(conn),
            _longest(conn),
            _dead(conn),
            _connections(conn),
        ]
    return [
        found[0],
        _endpoint(database),
        _listening(database, listen_url),
        *found[1:],
        _clock(database),
    ]


def sizes(database: Database) -> list[dict[str, Any]]:
    """Return for each table of ours bytes with indexes and TOAST, live and dead rows, and vacuum."""
    tables = {item.parent for item in recorded() if item.kind == "column"}
    with database.transaction(seconds=30) as conn:
        return conn.execute(
            "SELECT s.relname AS table, pg_total_relation_size(s.relid) AS bytes,"
            " pg_indexes_size(s.relid) AS index_bytes, s.n_live_tup AS live_rows,"
            " s.n_dead_tup AS dead_rows, greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum"
            " FROM pg_stat_user_tables s WHERE s.schemaname = 'public' AND s.relname = ANY (%s)"
            " ORDER BY 2 DESC, 1",
            [sorted(tables)],
        ).fetchall()


def _version(conn: Connection) -> Check:
    row = one(
        conn,
        "SELECT current_setting('server_version') AS version,"
        " current_setting('server_version_num')::int AS number, current_database() AS name,"
        " pg_database_size(current_database()) AS bytes",
    )
    state = "ok" if row["number"] >= 150000 else "fail"
    size = row["bytes"] / 2**20
    said = f"PostgreSQL {row['version']}, database {row['name']} of {size:.0f} MB"
    return Check("version", state, said if state == "ok" else f"{said}: 15 or newer is needed")


def _endpoint(database: Database) -> Check:
    with contextlib.closing(database.connect()) as conn, database.deadline(conn, _CALL_SECONDS):
        told = conn.info.backend_pid
        real = one(conn, "SELECT pg_backend_pid() AS pid")["pid"]
    if told == real:
        return Check("endpoint", "ok", "direct: the connection is the server's own")
    return Check(
        "endpoint",
        "ok",
        "pooled: a pooler answers for the server; workers need a direct one to LISTEN",
    )


def _listening(database: Database, url: str) -> Check:
    channel = f"reckoner_check_{secrets.token_hex(6)}"
    try:
        with (
            contextlib.closing(database.connect(url)) as conn,
            database.deadline(conn, _CALL_SECONDS),
        ):
            conn.execute(f"LISTEN {channel}".encode())
            with database.transaction(seconds=10) as other:
                other.execute("SELECT pg_notify(%s, '')", [channel])
            heard = next(conn.notifies(timeout=_ECHO_SECONDS, stop_after=1), None)
    except psycopg.OperationalError as error:
        return Check("listen", "fail", f"LISTEN_DATABASE_URL: {error_line(error)}")
    if heard:
        return Check("listen", "ok", "a notification that was sent was heard")
    return Check(
        "listen",
        "warn",
        f"nothing was heard within {_ECHO_SECONDS:.0f} s, workers poll every second:"
        " set LISTEN_DATABASE_URL to the direct address",
    )


def _rights(conn: Connection) -> Check:
    ours = sorted({item.parent for item in recorded() if item.kind == "column"} - {*SHARED})
    row = one(
        conn,
        "SELECT current_user AS role, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_super,"
        " has_schema_privilege('public', 'CREATE') AS may_create,"
        " has_database_privilege(current_database(), 'TEMP') AS may_temp,"
        " coalesce(bool_and(pg_has_role(c.relowner, 'USAGE')), false) AS owns,"
        " string_agg(c.relname, ', ' ORDER BY c.relname) FILTER (WHERE NOT has_table_privilege(c.oid, 'SELECT')"
        "  OR NOT (has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE')"
        "          OR c.relname IN ('predictions', 'reckoner_schema', 'symbol_rules', 'reckoner_backups'))) AS lacking"
        " FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%s)",
        [[*ours, *SHARED]],
    )
    may = ["migrate"] if row["may_create"] and row["owns"] else []
    may += [] if row["lacking"] or not row["may_temp"] else ["work"]
    said = f"role {row['role']}{' (superuser)' if row['is_super'] else ''} may {' and '.join(may) or 'look'}"
    if row["lacking"]:
        said += f"; a worker would lack rights on {row['lacking']}: python -m market db roles"
    return Check("rights", "ok" if may else "warn", said)


def _creators(conn: Connection) -> Check:
    """Find roles that may create objects in `public`, where our statements look up operators and functions."""
    row = one(
        conn,
        "SELECT string_agg(DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END, ', ') AS who"
        " FROM pg_namespace n"
        " CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a"
        " LEFT JOIN pg_roles r ON r.oid = a.grantee"
        " LEFT JOIN pg_class c ON c.oid = to_regclass('public.reckoner_schema')"
        " WHERE n.nspname = 'public' AND a.privilege_type = 'CREATE' AND NOT coalesce(r.rolsuper, false)"
        "   AND a.grantee NOT IN (n.nspowner, coalesce(c.relowner, n.nspowner))"
        "   AND coalesce(r.rolname <> 'pg_database_owner', true)",
    )
    if row["who"] is None:
        return Check("schema public", "ok", "only owners may create in it")
    return Check(
        "schema public",
        "warn",
        f"{row['who']} may create in it: an operator or a function made there can be called by our"
        f" statements, with the rights of who runs them: REVOKE CREATE ON SCHEMA public FROM {row['who']}",
    )


def _names(conn: Connection) -> Check:
    """Find objects of another program that have names of ours."""
    try:
        with conn.transaction():
            clashes = own.look(conn).clashes
    except psycopg.errors.InsufficientPrivilege:
        return Check("names", "ok", "not compared: the role may not read reckoner_schema")
    if not clashes:
        return Check("names", "ok", "no other program has an object with a name of ours")
    said = "; ".join(f"{each}: {each.sql}" for each in clashes)
    return Check("names", "warn", f"migrate refuses: {said}")


def _longest(conn: Connection) -> Check:
    row = conn.execute(
        "SELECT pid, coalesce(nullif(application_name, ''), 'no name') AS app, state,"
        " extract(epoch FROM statement_timestamp() - xact_start)::bigint AS seconds FROM pg_stat_activity"
        " WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend' ORDER BY xact_start LIMIT 1"
    ).fetchone()
    if row is None:
        return Check("longest transaction", "ok", "nobody else is in one")
    said = f"pid {row['pid']} ({row['app']}, {row['state']}) for {row['seconds']} s"
    long = row["seconds"] > 60
    remedy = f": it holds vacuum back, SELECT pg_terminate_backend({row['pid']}) ends it"
    return Check("longest transaction", "warn" if long else "ok", said + (remedy if long else ""))


def _dead(conn: Connection) -> Check:
    row = conn.execute(
        "SELECT relname, n_dead_tup AS dead, n_live_tup AS live FROM pg_stat_user_tables"
        " WHERE schemaname = 'public' ORDER BY n_dead_tup DESC, relname LIMIT 1"
    ).fetchone()
    if row is None or not row["dead"]:
        return Check("dead rows", "ok", "none are counted")
    many = row["dead"] > max(100_000, row["live"])
    said = f"most are in {row['relname']}: {row['dead']} beside {row['live']} live"
    return Check(
        "dead rows", "warn" if many else "ok", said + (f": VACUUM {row['relname']}" if many else "")
    )


def _connections(conn: Connection) -> Check:
    row = one(
        conn,
        "SELECT sum(numbackends)::int AS used, current_setting('max_connections')::int AS most FROM pg_stat_database",
    )
    full = row["used"] > 0.8 * row["most"]
    return Check(
        "connections", "warn" if full else "ok", f"{row['used']} of {row['most']} are in use"
    )


def _clock(database: Database) -> Check:
    """Compare this machine's clock with the server's, without the round trip."""
    with database.transaction(seconds=10) as conn:
        before = dt.datetime.now(dt.UTC)
        there = one(conn, "SELECT clock_timestamp() AS at")["at"]
        after = dt.datetime.now(dt.UTC)
    error = (after - before).total_seconds() / 2
    skew = (before + (after - before) / 2 - there).total_seconds()
    said = f"this machine is {abs(skew):.3f} s {'ahead of' if skew > 0 else 'behind'} the server (± {error:.3f} s)"
    off = abs(skew) > 5 + error
    remedy = "; nothing depends on it but the times in logs: set this machine's clock"
    return Check("clock", "warn" if off else "ok", said + (remedy if off else ""))
