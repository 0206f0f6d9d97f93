"""SQL that creates roles of least rights: `market db roles` prints it.

worker: processes, on tables that `migrate` made; it can neither change the schema nor write
`predictions`. dashboard: reads, and its transactions are read-only besides. analyst: inserts
predictions; the trigger writes the event with the owner's rights. Run again after a `migrate`
that added tables; what a role has more than this is taken from it.
"""

from psycopg import sql as psql

from sql.database import Connection, one
from sql.schema.catalogue import recorded
from sql.schema.files import SHARED
from sql.schema.rights import callable_by, grant, of_server, revoke

# Tables of the source, where they exist (sql/functions/12_source.sql).
_SOURCES = ("predictions", "signals", "truth_social_shitposts")
_ALL = "SELECT, INSERT, UPDATE, DELETE"
# Columns that the dashboard reads of tables with secrets.
_NOT_SECRET = {
    "subscriptions": "id, events, filter, active, created_at, created_by, failures, failing_since,"
    " last_error, last_sent_at"
}
# Tables on which the worker has fewer rights.
_LESS = {
    "ticker_registry": "SELECT, INSERT, UPDATE",
    "symbol_rules": "SELECT",
    "market_snapshot_history": "SELECT, INSERT, DELETE",  # DELETE: by age, which a trigger holds it to
    "reckoner_clock": "SELECT",
    "reckoner_schema": "SELECT",
    "reckoner_backups": "SELECT",
    "reckoner_installation": "SELECT, UPDATE",
}


def statements(conn: Connection, worker: str, dashboard: str, analyst: str) -> list[str]:
    """Return the statements for this database, which the owner of its tables runs.

    Raises ValueError where a name is that of an owner.
    """
    _refuse_owners(conn, [worker, dashboard, analyst])
    name = psql.Identifier(one(conn, "SELECT current_database() AS name")["name"])
    tables = {item.parent for item in recorded() if item.kind == "column"}
    views = [item.name for item in recorded() if item.kind == "view"]
    tables_there = conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND relname = ANY (%s) ORDER BY relname",
        [[*tables, *_SOURCES]],
    )
    there = [row["relname"] for row in tables_there]
    roles = [psql.Identifier(role) for role in (worker, dashboard, analyst)]
    every = callable_by(conn, writes=True)
    made: list[psql.Composable] = []
    for role, text in zip(roles, (worker, dashboard, analyst), strict=True):
        made += [
            psql.SQL("DO {}").format(_unless_there(conn, text)),
            psql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role),
            revoke(every, text),
            psql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, role),
            psql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role),
        ]
    made.append(psql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(name, roles[0]))
    for table in there:
        rights = "SELECT" if table in _SOURCES else _LESS.get(table, _ALL)
        made.append(_grant(rights, table, roles[0]))
        columns = f"SELECT ({_NOT_SECRET[table]})" if table in _NOT_SECRET else "SELECT"
        made.append(_grant(columns, table, roles[1]))
    for view in views:
        made += [_grant("SELECT", view, role) for role in roles[:2]]
    made += [
        grant(every, worker),
        grant(callable_by(conn, writes=False), dashboard),
    ]
    if servers := of_server(conn):  # only a superuser can grant these
        made += [grant(servers, worker), grant(servers, dashboard)]
    # A worker moves a sequence that fell behind its table (sql/functions/59_sequences.sql).
    for sequence in ["public.outbox_lease", *_identities(conn, sorted(tables))]:
        grant_all = psql.SQL("GRANT USAGE, SELECT, UPDATE ON SEQUENCE {} TO {}")
        made.append(grant_all.format(psql.SQL(sequence), roles[0]))
    for sequence, table in _serials(conn):
        role = roles[2 if table == "predictions" else 0]
        made.append(psql.SQL("GRANT USAGE ON SEQUENCE {} TO {}").format(psql.SQL(sequence), role))
    made += [
        psql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(roles[1]),
        _grant("INSERT", "predictions", roles[2]),
    ]
    return [each.as_string(conn) for each in made]


def _unless_there(conn: Connection, role: str) -> psql.Literal:
    """Return the body of DO that creates a role, as a literal that no name can end."""
    body = psql.SQL(
        "BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {}) THEN CREATE ROLE {} LOGIN; END IF; END"
    ).format(psql.Literal(role), psql.Identifier(role))
    return psql.Literal(body.as_string(conn))


def _refuse_owners(conn: Connection, names: list[str]) -> None:
    """Refuse owners and the current user: revoking their rights would lock people out."""
    row = conn.execute(
        "SELECT rolname FROM pg_roles r WHERE rolname = ANY (%s) AND (rolsuper OR rolname = current_user"
        " OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relowner = r.oid))",
        [names],
    ).fetchone()
    if row:
        raise ValueError(f"{row['rolname']} owns tables here, or all: name a role of its own")


def _grant(rights: str, table: str, role: psql.Identifier) -> psql.Composed:
    grant = psql.SQL("GRANT {} ON public.{} TO {}")
    return grant.format(psql.SQL(rights), psql.Identifier(table), role)


def _identities(conn: Connection, tables: list[str]) -> list[str]:
    """Return the sequences of identity columns, but for the writers' table."""
    rows = conn.execute(
        "SELECT d.objid::regclass::text AS sequence FROM pg_depend d"
        " JOIN pg_class c ON c.oid = d.refobjid JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'"
        " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass"
        "   AND d.deptype = 'i' AND c.relnamespace = 'public'::regnamespace"
        "   AND c.relname = ANY (%s) AND c.relname <> 'predictions' ORDER BY 1",
        [tables],
    ).fetchall()
    return [row["sequence"] for row in rows]


def _serials(conn: Connection) -> list[tuple[str, str]]:
    """Return the sequences of serial columns of another program, and their tables; identity needs no right."""
    rows = conn.execute(
        "SELECT d.objid::regclass::text AS sequence, c.relname AS table"
        " FROM pg_depend d JOIN pg_class c ON c.oid = d.refobjid"
        " JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'"
        " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass"
        "   AND d.deptype = 'a' AND d.refobjsubid > 0"
        "   AND c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%s) ORDER BY 1",
        [list(SHARED)],
    ).fetchall()
    return [(row["sequence"], row["table"]) for row in rows]
