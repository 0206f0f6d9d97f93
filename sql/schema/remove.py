"""Remove our objects from a database and leave the data: `worker migrate --remove`.

It removes triggers, views, functions, the queue and tables that serve the queue alone. Predictions,
tickers, prices, outcomes and fills stay, with the columns that were added to them and the record of where
the prices came from. What another program made stays, whatever its name (own.py). To change the type of a
column of `predictions` an owner needs this too, because our view reads it.
"""

import re

from sql.database import Connection, Database
from sql.schema import own
from sql.schema.files import schema_files
from sql.schema.locks import MILLISECONDS, until_free

# Tables of ours that are useless without the functions.
_TABLES = (
    "outbox",
    "outbox_history",
    "outcome_refills",
    "market_snapshot_due",
    "reckoner_workers",
    "reckoner_providers",
    "provider_quotas",
    "provider_errors",
    "provider_disagreements",
    "reckoner_installation",
    "reckoner_clock",
    "reckoner_backups",
    "reckoner_schema",
    "market_sessions",
    "market_calendars",
    "market_indexes",
    "session_correction",
    "symbol_rules",
    "price_jobs",
    "price_job_symbols",
    "market_syncs",
    "coverage_health",
    "coverage_restores",
    "coverage_restore_steps",
    "intraday_symbols",
    "job_run",
    "schedules",
    "schedule_ticks",
    "schedule_seeds",
    "alerts",
    "alert_messages",
    "alert_channels",
    "subscriptions",
    "outcome_changes",
    "subscription_states",
    "subscription_messages",
)

_INDEX = re.compile(r"^CREATE INDEX IF NOT EXISTS (\w+) ON prediction_outcomes\b", re.MULTILINE)


def statements(conn: Connection) -> list[str]:
    """Return the statements that remove the objects of ours, in an order that works."""
    texts = [file.text for file in schema_files()]
    ours = own.look(conn)
    names = {
        "indexes": [name for text in texts for name in _INDEX.findall(text)],
        "tables": list(_TABLES),
        # And of those names only what is ours: an owner may have used one since.
        "our_functions": ours.oids("function"),
        "our_relations": ours.oids("relation"),
    }
    rows = conn.execute(
        # Triggers first, of predictions before all: from then on an owner's INSERT runs no code of ours.
        "SELECT 1 AS step, t.tgrelid IS DISTINCT FROM to_regclass('public.predictions') AS later,"
        " format('DROP TRIGGER %%I ON %%s', t.tgname, t.tgrelid::regclass) AS statement"
        " FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        " WHERE NOT t.tgisinternal AND p.pronamespace = 'public'::regnamespace"
        "   AND p.oid = ANY (%(our_functions)s) AND p.pronargs = 0"
        # In one statement, because views read each other.
        " UNION ALL SELECT 2, false, 'DROP VIEW ' || string_agg(c.oid::regclass::text, ', ' ORDER BY c.relname)"
        " FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v'"
        "   AND c.oid = ANY (%(our_relations)s) HAVING count(*) > 0"
        # A CHECK that calls a function of ours.
        " UNION ALL SELECT 2, true, format('ALTER TABLE %%s DROP CONSTRAINT %%I', k.conrelid::regclass, k.conname)"
        " FROM pg_constraint k WHERE k.contype = 'c' AND k.conrelid = ANY (%(our_relations)s)"
        "   AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid"
        "               AND d.refclassid = 'pg_proc'::regclass AND d.refobjid = ANY (%(our_functions)s))"
        # And defaults that do.
        " UNION ALL SELECT 2, true, format('ALTER TABLE %%s ALTER COLUMN %%I DROP DEFAULT', c.oid::regclass, a.attname)"
        " FROM pg_attrdef e JOIN pg_class c ON c.oid = e.adrelid"
        " JOIN pg_attribute a ON a.attrelid = e.adrelid AND a.attnum = e.adnum AND a.attgenerated = ''"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
        "   AND c.oid = ANY (%(our_relations)s)"
        "   AND EXISTS (SELECT FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid"
        "               WHERE d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid"
        "                 AND d.refclassid = 'pg_proc'::regclass AND p.oid = ANY (%(our_functions)s))"
        " UNION ALL SELECT 3, false, format('DROP FUNCTION %%s', p.oid::regprocedure) FROM pg_proc p"
        " WHERE p.pronamespace = 'public'::regnamespace"
        "   AND p.oid = ANY (%(our_functions)s)"
        " UNION ALL SELECT 4, false, format('DROP INDEX %%s', c.oid::regclass) FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'i' AND c.relname = ANY (%(indexes)s)"
        "   AND c.oid = ANY (%(our_relations)s)"
        " UNION ALL SELECT 5, false, format('DROP TABLE %%s', c.oid::regclass) FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname = ANY (%(tables)s)"
        "   AND c.oid = ANY (%(our_relations)s)"
        " UNION ALL SELECT 6, false, format('DROP SEQUENCE %%s', c.oid::regclass) FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('outbox_lease', 'reckoner_lastval')"
        "   AND c.oid = ANY (%(our_relations)s)"
        " UNION ALL SELECT 7, false, format('DROP TYPE %%s', t.oid::regtype) FROM pg_type t"
        " WHERE t.typnamespace = 'public'::regnamespace AND t.typname = 'outcome_key'"
        "   AND t.typrelid = ANY (%(our_relations)s)"
        " ORDER BY 1, 2, 3",
        names,
    )
    return [row["statement"] for row in rows]


def script(lines: list[str]) -> str:
    """Return the statements as a transaction for psql with short waits for locks."""
    body = "".join(f"{line};\n" for line in lines)
    return (
        f"BEGIN;\nSET LOCAL lock_timeout = '3s';\nSET LOCAL search_path = public;\n{body}COMMIT;\n"
    )


def apply(database: Database) -> list[str]:
    """Remove our objects in one transaction; returns the statements that were run.

    Raises psycopg.errors.LockNotAvailable when the tables' locks could not be had within a few
    seconds, and DependentObjectsStillExist where somebody built on ours; nothing changed then.
    """
    return until_free(lambda: _apply(database))


def _apply(database: Database) -> list[str]:
    with database.transaction(lock_seconds=MILLISECONDS / 1000) as conn:
        conn.execute("SET LOCAL search_path = public")
        lines = statements(conn)
        for line in lines:
            conn.execute(line.encode())
    return lines
