-- What has a name or the mark of ours in `public`: functions, relations, types, triggers and added columns.
-- Read by sql/schema/own.py with `search_path = pg_catalog, public`; calls no function of ours.
-- content: what an object without a mark is compared by. Marked objects need none.
SELECT 'function' AS kind, p.proname::text AS name, p.oid::regprocedure::text AS identity, p.oid::bigint AS oid,
       CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END AS what,
       NULL::text AS parent, obj_description(p.oid, 'pg_proc') AS comment,
       pg_has_role(p.proowner, 'USAGE') AS may_mark,
       CASE WHEN p.prokind IN ('f', 'p') AND right(obj_description(p.oid, 'pg_proc'), length(%(mark)s))
                                            IS DISTINCT FROM %(mark)s
            THEN to_jsonb(md5(pg_get_functiondef(p.oid))) END AS content,
       (SELECT e.extname::text FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') AS extension,
       -- Of an overload: how many arguments it can be called with, and their types.
       jsonb_build_object('lowest', p.pronargs - p.pronargdefaults,
                          'types', (SELECT coalesce(jsonb_agg(format_type(t.oid, NULL) ORDER BY t.n), '[]')
                                    FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY t (oid, n))) AS call
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace
  AND (p.proname = ANY (%(functions)s) OR right(obj_description(p.oid, 'pg_proc'), length(%(mark)s)) = %(mark)s)
UNION ALL
SELECT 'relation', c.relname, c.relname, c.oid::bigint,
       CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence'
                      WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'c' THEN 'type'
                      WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END,
       t.relname, CASE WHEN c.relkind = 'c' THEN obj_description(c.reltype, 'pg_type')
                       ELSE obj_description(c.oid, 'pg_class') END,
       pg_has_role(c.relowner, 'USAGE'),
       CASE WHEN i.indexrelid IS NOT NULL THEN to_jsonb(pg_get_indexdef(c.oid))
            ELSE (SELECT coalesce(jsonb_agg(a.attname ORDER BY a.attnum), '[]') FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END,
       (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'), NULL
FROM pg_class c
LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = i.indrelid
WHERE c.relnamespace = 'public'::regnamespace
  AND (c.relname = ANY (%(relations)s)
       OR c.relkind IN ('r', 'p', 'v') AND right(obj_description(c.oid, 'pg_class'), length(%(mark)s)) = %(mark)s)
UNION ALL
-- A table, a view and a composite type are types too. An array type makes way by itself.
SELECT 'scalar', t.typname, t.typname, t.oid::bigint, CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END,
       NULL, NULL, false, NULL,
       (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'), NULL
FROM pg_type t
WHERE t.typnamespace = 'public'::regnamespace AND t.typname = ANY (%(relations)s) AND t.typrelid = 0
  AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
UNION ALL
SELECT 'trigger', t.tgname, t.tgname, t.tgfoid::bigint, 'trigger', c.relname, NULL, false, NULL, NULL, NULL
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace
  AND c.relname = ANY (%(shared)s) AND t.tgname = ANY (%(triggers)s)
UNION ALL
SELECT 'column', a.attname, a.attname, c.oid::bigint, 'column', c.relname, NULL, false,
       to_jsonb(format_type(a.atttypid, a.atttypmod)), NULL, NULL
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname = ANY (%(shared)s)
  AND a.attname = ANY (%(columns)s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY 1, 6 NULLS FIRST, 3
