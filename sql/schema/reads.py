"""Views and functions of ours that still mean a table which was renamed, and their repair.

A view keeps reading a table that was renamed, and not the one that has its name since: partitioning
tools swap tables so. A function keeps the row type of that table for its argument or result.
`source_attach()` in `90_triggers.sql` makes the views of the source again; this module finds and replaces
the others. It compares them with `catalogue.json`.
"""

from typing import Any

from sql.database import Connection
from sql.schema import rights
from sql.schema.catalogue import definitions, recorded, signatures
from sql.schema.files import ATTACHED_VIEWS

_READS = """
SELECT v.relname AS name,
       array_agg(DISTINCT CASE WHEN t.relnamespace = v.relnamespace THEN t.relname::text
                               ELSE t.oid::regclass::text END) AS reads
FROM pg_class v
JOIN pg_rewrite r ON r.ev_class = v.oid
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
JOIN pg_class t ON t.oid = d.refobjid
WHERE v.relnamespace = 'public'::regnamespace AND v.relkind = 'v' AND v.relname = ANY (%s)
GROUP BY v.relname
"""
# Functions of ours with the row type of a table that is not one of ours by name.
_TYPES = """
SELECT DISTINCT p.proname AS name, replace(p.oid::regprocedure::text, 'public.', '') AS signature,
       c.oid::regclass::text AS of
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_type'::regclass
JOIN pg_type t ON t.oid = d.refobjid
LEFT JOIN pg_type e ON e.oid = t.typelem
JOIN pg_class c ON c.oid = coalesce(nullif(t.typrelid, 0), e.typrelid) AND c.relkind IN ('r', 'p')
WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY (%s)
  AND NOT (c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%s))
ORDER BY 1
"""


def elsewhere(conn: Connection) -> list[str]:
    """Return a sentence for each view and function that means another table than it should."""
    said = [
        f"function {row['signature']} has the row type of {row['of']}" for row in _functions(conn)
    ]
    for name, (reads, lost) in _views(conn).items():
        said.append(f"view {name} reads {', '.join(reads) or 'nothing'} and not {', '.join(lost)}")
    return said


def replace(conn: Connection) -> None:
    """Make them again, in the order of their files: some read others."""
    functions = _functions(conn)
    for row in functions:
        if (
            row["signature"] in signatures()
        ):  # its result has that type, which no REPLACE can change
            conn.execute(f"DROP FUNCTION public.{row['signature']}".encode())
        conn.execute(definitions()[row["name"]].statement.encode())
    wrong = _views(conn)
    for name, definition in definitions().items():
        if name in wrong:
            conn.execute(definition.statement.encode())
    for row in functions:
        if row["signature"] not in signatures():
            conn.execute(f"DROP FUNCTION public.{row['signature']}".encode())
    if functions:
        rights.restrict(conn)


def _functions(conn: Connection) -> list[dict[str, Any]]:
    tables = {item.parent for item in recorded() if item.kind == "column"}
    names = {item.parent for item in recorded() if item.kind == "function"}
    return conn.execute(_TYPES.encode(), [sorted(names), sorted(tables)]).fetchall()


def _views(conn: Connection) -> dict[str, tuple[list[str], list[str]]]:
    """Return the views that do not read a table that they should: what instead, and which table."""
    wanted = {
        item.name: set(item.detail.get("reads", ()))
        for item in recorded()
        if item.kind == "view" and item.name not in ATTACHED_VIEWS
    }
    found = {}
    for row in conn.execute(_READS.encode(), [sorted(wanted)]):
        want, have = wanted[row["name"]], set(row["reads"])
        if want - have:
            found[row["name"]] = (sorted(have - want), sorted(want - have))
    return found
