"""Check the server for a DBA: `market db check`.

A pooler is found by trying, and not by its address: it gives a client another process number than the
one of its backend, and where it shares connections between transactions LISTEN answers OK and no
notification arrives.
"""

import contextlib
import datetime as dt
import secrets
from dataclasses import dataclass

import psycopg

from sql.database import Connection, Database, error_line, one
from sql.rows import Rows, fetch_rows
from sql.schema import own, rights, trials
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
            _writable(conn),
            _rights(conn),
            _roles(conn),
            *_trials(conn),
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


def sizes(database: Database) -> Rows:
    """Return for each table of ours bytes with indexes and TOAST, live and dead rows, and vacuum."""
    tables = {item.parent for item in recorded() if item.kind == "column"}
    with database.transaction(seconds=30) as conn:
        return fetch_rows(
            conn,
            # Of a partitioned table the sums of its partitions.
            "SELECT s.relname AS table, p.bytes, p.index_bytes, p.live_rows, p.dead_rows, p.last_vacuum"
            " FROM pg_stat_user_tables s CROSS JOIN LATERAL ("
            "  SELECT sum(pg_total_relation_size(o.relid))::bigint AS bytes,"
            "         sum(pg_indexes_size(o.relid))::bigint AS index_bytes,"
            "         sum(o.n_live_tup)::bigint AS live_rows, sum(o.n_dead_tup)::bigint AS dead_rows,"
            "         max(greatest(o.last_vacuum, o.last_autovacuum)) AS last_vacuum"
            "  FROM pg_stat_user_tables o WHERE o.relid = s.relid"
            "     OR o.relid IN (SELECT relid FROM pg_partition_tree(s.relid))) p"
            " WHERE s.schemaname = 'public' AND s.relname = ANY (%s)"
            " ORDER BY 2 DESC, 1",
            [sorted(tables)],
        )


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


def read_only(conn: Connection) -> str | None:
    """Return why the workers of this database cannot write, with the remedy; None where they can.

    A role without rights to write says nothing about workers: its own transactions may well be
    read-only, as those of the dashboard's role are.
    """
    row = one(
        conn,
        "SELECT pg_is_in_recovery() AS standby, s.setting = 'on' AS is_on, s.source,"
        " current_database() AS name, current_user AS role,"
        " coalesce(has_table_privilege(to_regclass('public.outbox'), 'INSERT'), true) AS writes"
        " FROM pg_settings s WHERE s.name = 'default_transaction_read_only'",
    )
    if row["standby"]:
        return "it is a standby, to which nobody can write: name the primary in DATABASE_URL"
    if not row["is_on"] or (row["source"] in {"user", "database user"} and not row["writes"]):
        return None
    where = {
        "user": f'ALTER ROLE "{row["role"]}" RESET default_transaction_read_only',
        "database user": f'ALTER ROLE "{row["role"]}" IN DATABASE "{row["name"]}"'
        " RESET default_transaction_read_only",
        "database": f'ALTER DATABASE "{row["name"]}" RESET default_transaction_read_only',
    }.get(row["source"], f"it comes from the {row['source']}")
    return f"is read-only (default_transaction_read_only), so that workers wait: {where}"


def _writable(conn: Connection) -> Check:
    why = read_only(conn)
    return Check("writable", "fail" if why else "ok", why or "transactions may write")


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


def _roles(conn: Connection) -> Check:
    """Find roles that work or read here and lack rights: on what `migrate` added, or where PUBLIC has none."""
    found = []
    for role, writes in rights.users(conn):
        if missing := rights.lacking(conn, role, writes=writes):
            others = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            found.append(f"{role} lacks {', '.join(missing[:3])}{others}")
    if found:
        return Check("roles", "warn", f"{'; '.join(found)}: run python -m market db roles again")
    return Check("roles", "ok", "each role with rights on the outbox has all that it needs")


def _trials(conn: Connection) -> list[Check]:
    """Try what the source and each role must do; nothing is tried before `migrate` made the tables."""
    wrong = trials.source(conn)
    found = [
        Check("source", "fail" if wrong else "ok", ". ".join(wrong) or "the views read predictions")
    ]
    if one(conn, "SELECT to_regproc('public.source_hides') IS NULL AS new")["new"]:
        return found
    for check, state, attempt, does in (
        ("writers", "fail", trials.writers, "can insert a prediction"),
        # Not every role that may write the outbox is a worker's.
        ("workers", "warn", trials.workers, "can see predictions and call every function"),
    ):
        names, said = attempt(conn)
        ok = f"{', '.join(names) or 'no role that you may become'} {does}"
        found.append(Check(check, state if said else "ok", ". ".join(said) or ok))
    return found


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
