BEGIN;
-- Rules for one symbol, or for one suffix or prefix, are looked up and not tried: PostgreSQL keeps
-- 32 compiled regular expressions, and a symbol that is tried against 73 compiles all of them again.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- What a pattern says, told by how it is written: one symbol ('FB', 'BRK\.B'), whatever ends with
-- a suffix ('.+\.L', '(.+)\.L'), symbols with a prefix ('LON:([A-Z]+)'; the rest is still tried), or
-- anything else. literal: that symbol, suffix or prefix.
ALTER TABLE symbol_rules
    ADD COLUMN IF NOT EXISTS kind text NOT NULL GENERATED ALWAYS AS (CASE
        WHEN pattern ~ '^([-A-Z0-9:/=]|\\[-.^:/=])+$' THEN 'exact'
        WHEN pattern ~ '^(\.\+|\(\.\+\))([-A-Z0-9:/=]|\\[-.^:/=])+$' THEN 'suffix'
        -- No quantifier behind the prefix, and no alternative beside it.
        WHEN pattern ~ '^[A-Z0-9]+:[(\[A-Z0-9]' AND pattern !~ '\[[^]]*[()|]' AND pattern !~ '\\[()|[]'
            AND regexp_replace(pattern, '\([^()]*\)', '', 'g') !~ '[()|]' THEN 'prefix'
        ELSE 'pattern' END) STORED,
    ADD COLUMN IF NOT EXISTS literal text GENERATED ALWAYS AS (CASE
        WHEN pattern ~ '^([-A-Z0-9:/=]|\\[-.^:/=])+$' THEN replace(pattern, '\', '')
        WHEN pattern ~ '^(\.\+|\(\.\+\))([-A-Z0-9:/=]|\\[-.^:/=])+$'
            THEN replace(regexp_replace(pattern, '^(\.\+|\(\.\+\))', ''), '\', '')
        ELSE substring(pattern FROM '^[A-Z0-9]+:') END) STORED;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0014_rules.sql', 'e1d532830d6650d9ade6fdf7095df83f3e38d815ab663b4ece2e16fda38542de')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
