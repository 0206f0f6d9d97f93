"""Refuse a database whose `predictions` is in another schema than `public`.

Reckoner serves `public.predictions`, and makes an empty one where there is none. Beside a table of the
same name and shape in another schema that one would stay empty, and nobody would be told.
"""

from sql.database import Connection, one

# Tables and views `predictions` in other schemas that have the columns of the source, and the one that the
# role finds with the search_path that it has by default.
_FOUND = """
SELECT to_regclass('public.predictions') IS NOT NULL AS is_public,
       to_regclass('public.reckoner_schema') IS NOT NULL AS is_installed,
       ARRAY(SELECT format('%I.%I', n.nspname, c.relname)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relname = 'predictions' AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
               AND n.nspname <> 'public' AND n.nspname !~ '^pg_'
               AND (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid
                    AND a.attname IN ('assets', 'market_impact')) = 2
             ORDER BY c.oid IS DISTINCT FROM to_regclass('predictions')::oid, n.nspname) AS others,
       (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = to_regclass('predictions')) AS first
"""


def refusal(conn: Connection) -> str | None:
    """Return why this database cannot be served, and the ways out; None where it can."""
    path = one(conn, "SELECT current_setting('search_path') AS path")["path"]
    conn.execute(
        "SELECT set_config('search_path', reset_val, true) FROM pg_settings WHERE name = 'search_path'"
    )
    row = one(conn, _FOUND)
    conn.execute("SELECT set_config('search_path', %s, true)", [path])
    others = row["others"]
    if not others:
        return None
    if not row["is_public"]:
        return (
            f"predictions is in another schema ({', '.join(others)}), and Reckoner serves"
            f" public.predictions; nothing was changed. Move it: ALTER TABLE {others[0]} SET SCHEMA public."
            " If it is not meant, make an empty table public.predictions first"
        )
    if not row["is_installed"] and row["first"] in others:
        return (
            f"there are public.predictions and {', '.join(others)}, and the search_path of this role finds"
            f" {row['first']}; nothing was changed. Reckoner serves public.predictions: if that is meant,"
            " put public first, ALTER ROLE … SET search_path = public, …"
        )
    return None
