"""The rights to call our functions: PUBLIC has none by default.

PostgreSQL lets PUBLIC execute every new function. Each file of `sql/functions/` revokes that for its own
functions, and `migrate` for all of them, also where somebody granted it since. PUBLIC keeps the functions
that views, CHECKs and defaults call (`files.PUBLIC`), because those run with the rights of the reader or
writer. A role gets the others by name: from `market db roles`, or here from its rights on the outbox, so
that a worker of least rights goes on after an update.

A function in PUBLIC only reads, with its caller's rights. No role may call a trigger's function: the
writers need no right to it, and a role that may call it could make a trigger of it on another table.
"""

from psycopg import sql as psql

from sql.database import Connection, one
from sql.schema import own
from sql.schema.catalogue import definitions, signatures
from sql.schema.files import PUBLIC

# They change the schema, which only its owner may do.
NOBODYS = ("source_attach", "source_attach_view")

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
    for row in conn.execute(_GRANTEES.encode()).fetchall():
        lacking = conn.execute(
            "SELECT f FROM unnest(%s::text[]) AS f WHERE NOT has_function_privilege(%s, f, 'EXECUTE')",
            [callable_by(conn, writes=row["writes"]), row["role"]],
        ).fetchall()
        if lacking:
            conn.execute(grant([each["f"] for each in lacking], row["role"]))


def grant(signatures: list[str], role: str) -> psql.Composed:
    """Return the statement that lets a role call functions."""
    listed = psql.SQL(", ").join(psql.SQL(each) for each in signatures)
    return psql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(listed, psql.Identifier(role))


def revoke(signatures: list[str], role: str) -> psql.Composed:
    """Return the statement that revokes functions from a role."""
    listed = psql.SQL(", ").join(psql.SQL(each) for each in signatures)
    return psql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM {}").format(listed, psql.Identifier(role))
