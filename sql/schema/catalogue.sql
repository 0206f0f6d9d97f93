-- What a database holds in `public`, one row per thing, spelled alike by PostgreSQL 15 to 18.
-- Read by sql/schema/catalogue.py; no function of ours, because those may be what is broken.
-- NOT NULL is a property of a column here, though from 18 on it is a constraint too.
-- Without the months of price_history_intraday, which come and go.
WITH months AS (
    SELECT inhrelid AS oid FROM pg_inherits WHERE inhparent = to_regclass('public.price_history_intraday')
)
SELECT 'column' AS kind, c.relname::text AS parent, a.attname::text AS name,
       jsonb_build_object(
           'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
           'default', pg_get_expr(d.adbin, d.adrelid), 'identity', a.attidentity <> '')
       || CASE WHEN a.attgenerated = '' THEN '{}'::jsonb ELSE '{"generated": true}' END AS detail
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.oid NOT IN (TABLE months)
UNION ALL
SELECT 'partitioned', c.relname, 'by', jsonb_build_object('key', pg_get_partkeydef(c.oid))
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'p'
UNION ALL
SELECT 'constraint', c.relname, k.conname,
       jsonb_build_object('definition', pg_get_constraintdef(k.oid), 'key', keys.names)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
CROSS JOIN LATERAL (
    SELECT jsonb_agg(a.attname ORDER BY a.attname) AS names FROM pg_attribute a
    WHERE k.contype IN ('p', 'u') AND NOT k.condeferrable
      AND a.attrelid = c.oid AND a.attnum = ANY (k.conkey)) keys
WHERE c.relnamespace = 'public'::regnamespace AND k.contype IN ('p', 'u', 'c', 'f', 'x')
  AND c.oid NOT IN (TABLE months)
UNION ALL
SELECT 'index', c.relname, x.relname,
       jsonb_build_object(
           'definition', pg_get_indexdef(i.indexrelid), 'valid', i.indisvalid,
           -- What ON CONFLICT and MERGE may rely on.
           'key', CASE WHEN i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
                       THEN keys.names END, 'unique', i.indisunique)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
CROSS JOIN LATERAL (
    SELECT jsonb_agg(a.attname ORDER BY a.attname) AS names FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])) keys
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.oid NOT IN (TABLE months)
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT 'trigger', c.relname, t.tgname,
       jsonb_build_object('definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled IN ('O', 'A'))
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal
UNION ALL
SELECT 'function', p.proname, p.oid::regprocedure::text,
       jsonb_build_object('digest', md5(pg_get_functiondef(p.oid)))
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND p.prokind IN ('f', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                  AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT 'view', '', c.relname, jsonb_build_object('columns', (
    SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), 'reads', (
    SELECT coalesce(jsonb_agg(DISTINCT CASE WHEN t.relnamespace = c.relnamespace THEN t.relname::text
                                            ELSE t.oid::regclass::text END), '[]')
    FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    JOIN pg_class t ON t.oid = d.refobjid
    WHERE r.ev_class = c.oid AND d.refclassid = 'pg_class'::regclass AND t.oid <> c.oid))
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v'
UNION ALL
SELECT 'sequence', '', c.relname, '{}' FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'S'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0)
UNION ALL
-- Whose it is ('' where the owner of reckoner_schema's), and what others may do with it, columns' grants
-- included. Every privilege that PUBLIC has; of named roles, who they are and what they have.
SELECT 'rights', o.kind, o.name, o.more || jsonb_build_object(
           'owner', CASE WHEN o.owner = s.relowner THEN '' ELSE pg_get_userbyid(o.owner) END,
           'public', coalesce(g.public, '[]'), 'roles', coalesce(g.roles, '{}'))
FROM (
    SELECT 'function' AS kind, p.oid::regprocedure::text AS name, p.proowner AS owner,
           coalesce(p.proacl, acldefault('f', p.proowner)) AS acl, NULL::aclitem[] AS columns,
           jsonb_build_object('definer', p.prosecdef) AS more
    FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace AND p.prokind IN ('f', 'p')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                      AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, c.relname, c.relowner,
           c.relacl, (SELECT array_agg(x) FROM pg_attribute a, unnest(a.attacl) x WHERE a.attrelid = c.oid), '{}'
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
      AND c.oid NOT IN (TABLE months)
) o
LEFT JOIN pg_class s ON s.oid = to_regclass('public.reckoner_schema')
CROSS JOIN LATERAL (
    SELECT jsonb_agg(w.privilege_type ORDER BY w.privilege_type) FILTER (WHERE w.grantee = 0) AS public,
           jsonb_object_agg(pg_get_userbyid(w.grantee), w.rights) FILTER (WHERE w.grantee <> 0) AS roles
    FROM (SELECT x.grantee, min(x.privilege_type) AS privilege_type,
                 jsonb_agg(DISTINCT x.privilege_type) AS rights
          FROM aclexplode(o.acl || o.columns) x WHERE x.grantee <> o.owner
          GROUP BY x.grantee, CASE WHEN x.grantee = 0 THEN x.privilege_type END) w) g
