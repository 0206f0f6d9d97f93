"""The rights to call our functions: PUBLIC has none by default.

PostgreSQL lets PUBLIC execute every new function. Each file of `sql/functions/` revokes that for its own
functions, and `migrate` for all of them, also where somebody granted it since. PUBLIC keeps the functions
that views, CHECKs and defaults call (`files.PUBLIC`), because those run with the rights of the reader or
writer. A role gets the others by name: from `market db roles`, or here from its rights on the outbox, so
that a worker of least rights goes on after an update.

A hardened database gives PUBLIC none of them (`ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM
PUBLIC`), and may have taken functions of the server itself from it. Then roles get by name what they need.

A function in PUBLIC only reads, with its caller's rights. No role may call a trigger's function: the
writers need no right to it, and a role that may call it could make a trigger of it on another table.
"""

import re

from psycopg import sql as psql

from sql.database import Connection, one
from sql.schema import own
from sql.schema.catalogue import definitions, recorded, signatures
from sql.schema.files import PUBLIC

# They change the schema, which only its owner may do, within the bounds of their files. Workers call them.
WORKERS = ("intraday_partitions_ensure", "intraday_partition_drop")

# They change the schema, which only its owner may do.
NOBODYS = ("source_attach", "source_attach_view")

# Functions of the server that the statements of our Python call (tests/system/test_hardened.py).
CALLED = frozenset(
    {
        "current_setting",
        "has_any_column_privilege",
        "pg_advisory_xact_lock",
        "pg_backend_pid",
        "pg_blocking_pids",
        "pg_database_size",
        "pg_get_userbyid",
        "pg_get_viewdef",
        "pg_has_role",
        "pg_indexes_size",
        "pg_is_in_recovery",
        "pg_partition_tree",
        "pg_notify",
        "pg_relation_size",
        "pg_total_relation_size",
        "pg_try_advisory_xact_lock",
        "set_config",
    }
)
_CALL = re.compile(r"\b([a-z_][a-z0-9_]*)\(")

# Functions of ours. A grantee of 0 is PUBLIC.
_OURS = """
SELECT p.oid::bigint AS oid, p.oid::regprocedure::text AS signature, p.proname AS name,
       p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) AS is_trigger,
       p.provolatile <> 'v' AS only_reads,
       EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
               WHERE a.grantee = 0) AS is_public
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY (%s)
  AND pg_has_role(p.proowner, 'USAGE')
ORDER BY 2
"""
_GRANTEES = """
SELECT r.rolname AS role, bool_or(a.privilege_type = 'INSERT') AS writes
FROM pg_class c CROSS JOIN aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
WHERE c.oid = to_regclass('public.outbox') AND a.grantee <> c.relowner
  AND a.privilege_type IN ('SELECT', 'INSERT')
GROUP BY r.rolname ORDER BY 1
"""


def _functions(conn: Connection) -> list[dict[str, object]]:
    names = [name for name, made in definitions().items() if " FUNCTION " in made.statement[:40]]
    # With an empty search_path each name is written in full.
    path = one(conn, "SELECT current_setting('search_path') AS path")["path"]
    conn.execute("SELECT set_config('search_path', 'pg_catalog', true)")
    rows = conn.execute(_OURS.encode(), [names]).fetchall()
    conn.execute("SELECT set_config('search_path', %s, true)", [path])
    # Not another program's of the same name: its rights are not ours to give or to take.
    ours = set(own.look(conn).oids("function"))
    return [
        row
        for row in rows
        if row["oid"] in ours and str(row["signature"]).replace("public.", "") in signatures()
    ]


def of_server(conn: Connection) -> list[str]:
    """Return the signatures of the server's functions that ours call and PUBLIC may not."""
    called = {
        name for made in definitions().values() for name in _CALL.findall(made.statement)
    } | CALLED
    rows = conn.execute(
        "SELECT p.oid::regprocedure::text AS signature FROM pg_proc p"
        " WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (%s)"
        " AND NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
        "                 WHERE a.grantee = 0) ORDER BY 1",
        [sorted(called)],
    ).fetchall()
    return [f"pg_catalog.{row['signature'].removeprefix('pg_catalog.')}" for row in rows]


def public_is_shut_out(conn: Connection) -> bool:
    """Whether the owner of our tables lets PUBLIC execute no new function."""
    row = one(
        conn,
        "SELECT EXISTS (SELECT FROM pg_default_acl d"
        " WHERE d.defaclobjtype = 'f' AND d.defaclnamespace = 0"
        " AND d.defaclrole = (SELECT relowner FROM pg_class WHERE oid = to_regclass('public.reckoner_schema'))"
        " AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) a WHERE a.grantee = 0)) AS yes",
    )
    return bool(row["yes"])


def lacking(conn: Connection, role: str, *, writes: bool) -> list[str]:
    """Return what a role lacks that `db roles` made: functions, views and tables to read.

    Empty for a role without rights on prices and outcomes, which was made for less.
    """
    row = one(
        conn,
        "SELECT bool_and(has_table_privilege(%s, t, 'SELECT')) AS reads FROM unnest(%s::text[]) AS t",
        [role, ["public.outbox", "public.market_prices", "public.prediction_outcomes"]],
    )
    if not row["reads"]:
        return []
    functions = [*callable_by(conn, writes=writes), *of_server(conn)]
    names = {item.name for item in recorded() if item.kind == "view"}
    names |= {item.parent for item in recorded() if item.kind == "column"}
    relations = [f"public.{each}" for each in sorted(names)]
    rows = conn.execute(
        "SELECT f AS name FROM unnest(%s::text[]) AS f WHERE NOT has_function_privilege(%s, f, 'EXECUTE')"
        " UNION ALL SELECT v FROM unnest(%s::text[]) AS v"
        " WHERE to_regclass(v) IS NOT NULL AND NOT has_any_column_privilege(%s, v, 'SELECT')",
        [functions, role, relations, role],
    ).fetchall()
    return [row["name"] for row in rows]


def users(conn: Connection) -> list[tuple[str, bool]]:
    """Return the roles with rights on the outbox, but its owner, and whether each may write there."""
    rows = conn.execute(_GRANTEES.encode()).fetchall()
    return [(row["role"], row["writes"]) for row in rows]


def callable_by(conn: Connection, *, writes: bool) -> list[str]:
    """Return the signatures that a role may call that processes (`writes`) or only reads."""
    return [
        str(row["signature"])
        for row in _functions(conn)
        if not row["is_trigger"]
        and row["name"] not in NOBODYS
        and (writes or row["only_reads"] or row["name"] in PUBLIC)
    ]


def too_public(conn: Connection) -> list[str]:
    """Return the signatures of our functions that PUBLIC may call and should not."""
    return [
        str(row["signature"])
        for row in _functions(conn)
        if row["is_public"] and row["name"] not in PUBLIC
    ]


def restrict(conn: Connection) -> None:
    """Revoke functions from PUBLIC, and grant them to the roles that work on the outbox.

    Called by `migrate` in the transaction that makes functions.
    """
    for signature in too_public(conn):
        revoke = psql.SQL("REVOKE ALL ON FUNCTION {} FROM PUBLIC")
        conn.execute(revoke.format(psql.SQL(signature)))
    for role, writes in users(conn):
        missing = conn.execute(
            "SELECT f FROM unnest(%s::text[]) AS f WHERE NOT has_function_privilege(%s, f, 'EXECUTE')",
            [callable_by(conn, writes=writes), role],
        ).fetchall()
        if missing:
            conn.execute(grant([each["f"] for each in missing], role))


def grant(signatures: list[str], role: str) -> psql.Composed:
    """Return the statement that lets a role call functions."""
    listed = psql.SQL(", ").join(psql.SQL(each) for each in signatures)
    return psql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(listed, psql.Identifier(role))


def revoke(signatures: list[str], role: str) -> psql.Composed:
    """Return the statement that revokes functions from a role."""
    listed = psql.SQL(", ").join(psql.SQL(each) for each in signatures)
    return psql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM {}").format(listed, psql.Identifier(role))
