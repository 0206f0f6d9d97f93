"""Try what each role must do: insert a prediction, see it, call our functions. Part of `market db check`.

A trial is an INSERT of no row, and a SELECT of one, as the role (SET ROLE), in a savepoint that is rolled
back. The INSERT fires the statement's triggers, draws no number and writes nothing. A role that the
current user may not become is not tried: the owner, or a superuser, tries them all.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql as psql
from psycopg.errors import Diagnostic

from sql.database import Connection, error_line, one
from sql.schema import elsewhere, rights

# Roles with rights on a table that the current user may become, the owner first. PUBLIC is no role.
_GRANTEES = """
SELECT DISTINCT r.rolname AS role, r.oid = c.relowner AS owns
FROM pg_class c CROSS JOIN aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
JOIN pg_roles r ON r.oid = a.grantee
WHERE c.oid = to_regclass(%s) AND a.privilege_type = 'INSERT'
  AND pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
ORDER BY owns DESC, role
"""
_INSERT = b"INSERT INTO public.predictions (analysis_status) SELECT NULL WHERE false"
_SEE = b"SELECT FROM public.prediction_inputs LIMIT 1"


def source(conn: Connection) -> list[str]:
    """Return what is wrong with the table of predictions, and with what the views read of it."""
    if refusal := elsewhere.refusal(conn):
        return [refusal]
    if one(conn, "SELECT to_regproc('public.source_hides') IS NULL AS old")["old"]:
        return ["its view is not made yet: python -m worker migrate"]
    row = one(
        conn,
        "SELECT source_lacks() AS lacks, source_hides() AS hides,"
        " ARRAY(SELECT source_missing() UNION SELECT source_swapped()) AS missing",
    )
    said = [text for text in (row["lacks"], row["hides"]) if text]
    if row["missing"]:
        said.append(f"{'; '.join(row['missing'])}: python -m worker migrate")
    return said


def writers(conn: Connection) -> tuple[list[str], list[str]]:
    """Return the roles that may insert predictions, and what fails for one."""
    names = _grantees(conn, "public.predictions")
    said = []
    for role in names:
        warnings: list[str] = []
        try:
            with _as(conn, role, warnings):
                conn.execute(_INSERT)
            said += [f"an INSERT by {role} gets: {text}" for text in warnings]
        except psycopg.Error as error:
            said.append(f"an INSERT by {role} fails: {error_line(error)}")
    return names, said


def workers(conn: Connection) -> tuple[list[str], list[str]]:
    """Return the roles that may write the outbox, and what one cannot do that a worker must."""
    names = _grantees(conn, "public.outbox")
    called = rights.callable_by(conn, writes=True)
    said = []
    for role in names:
        row = one(
            conn,
            "SELECT array_agg(f) AS lacking FROM unnest(%s::text[]) AS f"
            " WHERE NOT has_function_privilege(%s, f, 'EXECUTE')",
            [called, role],
        )
        if row["lacking"]:
            said.append(
                f"{role} may not execute {len(row['lacking'])} functions"
                f" ({row['lacking'][0].removeprefix('public.')}, …):"
                " python -m market db roles"
            )
        try:
            with _as(conn, role, []):
                conn.execute(_SEE)
                active = one(conn, "SELECT row_security_active('public.predictions') AS yes")["yes"]
        except psycopg.Error as error:
            said.append(f"{role} cannot see predictions: {error_line(error)}")
            continue
        if active:
            said.append(
                f"row-level security of predictions applies to {role}, and the sweep reads the table itself:"
                f" ALTER ROLE {role} BYPASSRLS, or a policy for it"
            )
    return names, said


def _grantees(conn: Connection, table: str) -> list[str]:
    """Return the roles that may insert into a table and that the current user may become."""
    return [row["role"] for row in conn.execute(_GRANTEES.encode(), [table])]


@contextmanager
def _as(conn: Connection, role: str, warnings: list[str]) -> Iterator[None]:
    """Run the body as a role, and roll it back; appends the warnings that it gets."""

    def note(diagnostic: Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "")

    conn.add_notice_handler(note)
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(psql.SQL("SET LOCAL ROLE {}").format(psql.Identifier(role)))
            conn.execute("SET LOCAL lock_timeout = '1s'")
            yield
    finally:
        conn.remove_notice_handler(note)
