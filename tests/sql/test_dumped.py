"""A database that was dumped and restored is what `db audit` expects: every definition is stable.

PostgreSQL prints some expressions otherwise once they were printed and read again: a NULL without a
type comes back with one. Such a definition would be a difference after every restore.
"""

import subprocess
from pathlib import Path

import pytest

from sql.database import Database
from sql.schema import catalogue, repair
from tests.support.db import Conn, connect

# The definitions of everything that is printed from a parsed tree, and not kept as text.
_PRINTED = """
SELECT 'view ' || c.relname AS name, pg_get_viewdef(c.oid) AS text FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('v', 'm')
UNION ALL
SELECT 'default ' || c.relname || '.' || a.attname, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.adnum
WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'constraint ' || k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k
WHERE k.connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index ' || c.relname, pg_get_indexdef(c.oid) FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'i'
UNION ALL
SELECT 'trigger ' || t.tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t WHERE NOT t.tgisinternal
UNION ALL
SELECT 'function ' || p.oid::regprocedure, pg_get_functiondef(p.oid) FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
"""


def printed(conn: Conn) -> dict[str, str]:
    return {row["name"]: row["text"] for row in conn.execute(_PRINTED.encode())}


@pytest.fixture
def restored_url(url: str, empty_url: str, psql_program: str, tmp_path: Path) -> str:
    """A database restored from a dump of a migrated one."""
    programs, file = Path(psql_program).parent, tmp_path / "b.sql"
    dump = [str(programs / "pg_dump"), "--schema-only", "-d", url, "-f", str(file)]
    subprocess.run(dump, check=True, capture_output=True)
    # An older server than these programs does not know this setting.
    kept = [line for line in file.read_text().splitlines() if "transaction_timeout" not in line]
    file.write_text("\n".join(kept))
    restore = [psql_program, "-Xq", "-v", "ON_ERROR_STOP=1", "-d", empty_url, "-f", str(file)]
    done = subprocess.run(restore, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with connect(url) as source, connect(empty_url) as target:
        # Which files were applied is data, by which `migrate` and the audit judge.
        for row in source.execute("SELECT name, checksum FROM reckoner_schema").fetchall():
            target.execute(
                "INSERT INTO reckoner_schema (name, checksum) VALUES (%(name)s, %(checksum)s)", row
            )
    return empty_url


def test_every_definition_survives_a_dump_and_the_audit_finds_nothing(
    url: str, restored_url: str
) -> None:
    with connect(url) as conn, connect(restored_url) as restored:
        assert printed(restored) == printed(conn)
    with Database(restored_url) as database:
        assert repair.look(database) == []
        with database.transaction() as conn:
            assert catalogue.as_text(catalogue.describe(conn)) == catalogue.RECORD.read_text()
