BEGIN;
-- Rules for one symbol, or for one suffix or prefix, are looked up and not tried as expressions:
-- PostgreSQL keeps 32 compiled regular expressions, and a match against 73 compiles all of them again.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The kind of a pattern, derived from its text: one symbol ('FB', 'BRK\.B'), all symbols with a suffix
-- ('.+\.L', '(.+)\.L'), symbols with a prefix ('LON:([A-Z]+)'; the rest is tried as an expression), or
-- another pattern. literal: that symbol, suffix or prefix.
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
    ('migrations/0014_rules.sql', '647380a3210f151d6abbb32f491a68d013fae3dcce03f31007ce42ecc821544c')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
