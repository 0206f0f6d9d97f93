"""What the database says of its schema."""

from typing import Any

from tests.support.db import Conn


def applied(conn: Conn) -> dict[str, str]:
    """What the database says was applied: file names and checksums."""
    rows = conn.execute("SELECT name, checksum FROM reckoner_schema")
    return {row["name"]: row["checksum"] for row in rows}


def catalog(conn: Conn) -> dict[str, list[Any]]:
    """Everything in `public` that migrating makes, as text."""
    queries = {
        "functions": "SELECT p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid)) FROM pg_proc p"
        " WHERE pronamespace = 'public'::regnamespace",
        "rights": "SELECT p.oid::regprocedure::text, p.proacl::text FROM pg_proc p"
        " WHERE pronamespace = 'public'::regnamespace",
        "triggers": "SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal",
        "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
        "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "constraints": "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace",
        "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = 'public'",
    }
    return {
        name: sorted(str(tuple(row.values())) for row in conn.execute(query.encode()))
        for name, query in queries.items()
    }
