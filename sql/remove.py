"""Takes our objects out of a database and leaves the data: `worker migrate --remove`.

Triggers, views, functions, the queue and what only serves it go; predictions, tickers,
prices and outcomes stay, with the columns that were added to them. Whoever wants to change
the type of a column of `predictions` needs this too, because our view reads it.
"""

import re

from sql.database import Connection, Database
from sql.files import schema_files

# Ours alone, and worth nothing without the functions.
_TABLES = (
    "outbox",
    "outbox_history",
    "reckoner_workers",
    "reckoner_providers",
    "reckoner_installation",
    "reckoner_schema",
    "market_sessions",
    "symbol_rules",
)

_FUNCTION = re.compile(r"^CREATE OR REPLACE FUNCTION (\w+)", re.MULTILINE)
_VIEW = re.compile(r"^CREATE OR REPLACE VIEW (\w+)", re.MULTILINE)
_INDEX = re.compile(r"^CREATE INDEX IF NOT EXISTS (\w+) ON prediction_outcomes\b", re.MULTILINE)


def statements(conn: Connection) -> list[str]:
    """The statements that remove what is there of ours, in an order that works; none: nothing is."""
    texts = [file.text for file in schema_files()]
    names = {
        "functions": sorted({name for text in texts for name in _FUNCTION.findall(text)}),
        "views": [*{name for text in texts for name in _VIEW.findall(text)}, "prediction_inputs"],
        "indexes": [name for text in texts for name in _INDEX.findall(text)],
        "tables": list(_TABLES),
    }
    rows = conn.execute(
        # Triggers first: from then on no insert of the owner's runs anything of ours.
        "SELECT 1 AS step, format('DROP TRIGGER %%I ON %%s', t.tgname, t.tgrelid::regclass) AS statement"
        " FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        " WHERE NOT t.tgisinternal AND p.pronamespace = 'public'::regnamespace"
        "   AND p.proname = ANY (%(functions)s)"
        " UNION ALL SELECT 2, format('DROP VIEW %%s', c.oid::regclass) FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v' AND c.relname = ANY (%(views)s)"
        " UNION ALL SELECT 3, format('DROP FUNCTION %%s', p.oid::regprocedure) FROM pg_proc p"
        " WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY (%(functions)s)"
        " UNION ALL SELECT 4, format('DROP INDEX %%s', c.oid::regclass) FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'i' AND c.relname = ANY (%(indexes)s)"
        " UNION ALL SELECT 5, format('DROP TABLE %%s', c.oid::regclass) FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname = ANY (%(tables)s)"
        " UNION ALL SELECT 6, format('DROP SEQUENCE %%s', c.oid::regclass) FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relname = 'outbox_lease'"
        " ORDER BY 1, 2",
        names,
    )
    return [row["statement"] for row in rows]


def script(lines: list[str]) -> str:
    """The statements as a transaction for psql that waits for no lock for long."""
    body = "".join(f"{line};\n" for line in lines)
    return (
        f"BEGIN;\nSET LOCAL lock_timeout = '3s';\nSET LOCAL search_path = public;\n{body}COMMIT;\n"
    )


def apply(database: Database) -> list[str]:
    """Remove what is ours in one transaction; returns the statements that were run.

    Raises psycopg.errors.LockNotAvailable after three seconds of waiting for the owner's
    tables, and DependentObjectsStillExist where somebody built on ours; nothing changed then.
    """
    with database.transaction(lock_seconds=3) as conn:
        conn.execute("SET LOCAL search_path = public")
        lines = statements(conn)
        for line in lines:
            conn.execute(line.encode())
    return lines
