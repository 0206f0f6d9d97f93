BEGIN;
-- Renames know their date and their provider, and spellings follow Yahoo's conventions: a provider that
-- keeps old tickers gave another company's prices, or none, for the days before a rename.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- When providers first said that they do not know a ticker that has recent bars.
ALTER TABLE ticker_registry ADD COLUMN IF NOT EXISTS unknown_at timestamptz;

-- The days on which a rule holds, and the one provider for which it does. NULL: all.
ALTER TABLE symbol_rules
    ADD COLUMN IF NOT EXISTS valid_from date,   -- the first day
    ADD COLUMN IF NOT EXISTS valid_until date,  -- the first day on which it holds no more
    ADD COLUMN IF NOT EXISTS provider text;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'symbol_rules'::regclass
                   AND conname = 'symbol_rules_valid') THEN
        ALTER TABLE symbol_rules ADD CONSTRAINT symbol_rules_valid CHECK (valid_from < valid_until);
    END IF;
END
$$;

-- A pattern may have several such rules beside its plain one. It stays the key, because ON CONFLICT (pattern)
-- in operators' scripts needs a unique index on just that column. So the pattern of a rule with dates or a
-- provider ends with a comment that names them, which a regular expression may have: FB(?#polygon, until
-- 2022-06-09). symbol_rule_named() in 11_symbols.sql writes it. Kind and literal are those without it.
ALTER TABLE symbol_rules DROP COLUMN IF EXISTS kind, DROP COLUMN IF EXISTS literal;
ALTER TABLE symbol_rules
    ADD COLUMN kind text NOT NULL GENERATED ALWAYS AS (CASE
        WHEN pattern ~ '^([-A-Z0-9:/=]|\\[-.^:/=])+(\(\?#[^)]*\))?$' THEN 'exact'
        WHEN pattern ~ '^(\.\+|\(\.\+\))([-A-Z0-9:/=]|\\[-.^:/=])+(\(\?#[^)]*\))?$' THEN 'suffix'
        -- The rest is tried as an expression: ([A-Z0-9]+)\.([A-Z])\.L.
        WHEN pattern ~ '^\(\[[A-Z0-9-]+\]\+\)\\\.(PR\[\.-\]\?)?\(\[A-Z\](\{1,2\})?\)\\\.[A-Z]+$' THEN 'suffix'
        -- No quantifier behind the prefix, and no alternative beside it.
        WHEN pattern ~ '^[A-Z0-9]+:[(\[A-Z0-9]' AND pattern !~ '\[[^]]*[()|]' AND pattern !~ '\\[()|[]'
            AND regexp_replace(pattern, '\([^()]*\)', '', 'g') !~ '[()|]' THEN 'prefix'
        ELSE 'pattern' END) STORED,
    ADD COLUMN literal text GENERATED ALWAYS AS (CASE
        WHEN pattern ~ '^([-A-Z0-9:/=]|\\[-.^:/=])+(\(\?#[^)]*\))?$'
            THEN replace(regexp_replace(pattern, '\(\?#[^)]*\)$', ''), '\', '')
        WHEN pattern ~ '^(\.\+|\(\.\+\))([-A-Z0-9:/=]|\\[-.^:/=])+(\(\?#[^)]*\))?$'
            THEN replace(regexp_replace(pattern, '^(\.\+|\(\.\+\))|\(\?#[^)]*\)$', '', 'g'), '\', '')
        WHEN pattern ~ '^\(\[[A-Z0-9-]+\]\+\)\\\.(PR\[\.-\]\?)?\(\[A-Z\](\{1,2\})?\)\\\.[A-Z]+$'
            THEN '.' || substring(pattern FROM '[A-Z]+$')
        ELSE substring(pattern FROM '^[A-Z0-9]+:') END) STORED;

-- Classes, units and preferred shares in London and Canada.
INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note)
SELECT '([A-Z0-9]+)\.([A-Z])\.L', '\1-\2.L', 'XLON', 50, 'class shares in London: BT.A.L'
UNION ALL
SELECT '([A-Z0-9]+)\.' || rest || '\.' || suffix, spelled || '.' || suffix, 'XTSE', priority,
       'classes, units, preferred shares in Canada: BBD.B.TO, REI.UN.TO, BCE.PR.A.TO'
FROM string_to_table('TO V NE CN', ' ') AS suffix,
     (VALUES ('([A-Z]{1,2})', '\1-\2', 50), ('PR[.-]?([A-Z])', '\1-P\2', 51)) AS f(rest, spelled, priority)
ON CONFLICT (pattern) DO NOTHING;

-- Preferred shares in New York: BAC.PR.L, BAC/PRL, BAC^L, BAC-L. A letter behind a dot is an exchange, and A to
-- D behind a hyphen a class of shares. A row for each letter: looked up, where an expression is tried.
INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note)
SELECT '(.+)' || mark || chr(letter), '\1-P' || chr(letter), NULL, 30, 'preferred shares: BAC.PR.L, BAC/PRL, BAC^L, BAC-L'
FROM generate_series(65, 90) AS letter,
     string_to_table('\.PR\.,\.PR,/PR/,/PR,-PR,-PR-,/P,\^,-', ',') AS mark
WHERE mark <> '-' OR chr(letter) !~ '[A-DUVW]'
ON CONFLICT (pattern) DO NOTHING;

-- Classes of shares in the north, as Yahoo does not write them; warrants, units and rights in New York.
INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note)
SELECT '(.+)\.' || class || '\.' || suffix, '\1-' || class || '.' || suffix, calendar, 30, 'class shares: VOLV.B.ST'
FROM (VALUES ('ST', 'XSTO'), ('CO', 'XCSE'), ('HE', 'XHEL')) AS s(suffix, calendar), string_to_table('A B C', ' ') AS class
UNION ALL
SELECT '(.+)' || mark || written, '\1-' || yahoo, NULL, 30, 'warrants, units and rights: X.WS, X.U, X/RT'
FROM (VALUES ('WS', 'WT'), ('WT', 'WT'), ('U', 'UN'), ('UN', 'UN'), ('RT', 'RI'), ('R', 'RI')) AS w(written, yahoo),
     string_to_table('\.,/,-', ',') AS mark
WHERE mark || written NOT IN ('-WT', '-UN', '-R') -- as Yahoo writes them; -R is a preferred share
UNION ALL
SELECT prefix || ':([A-Z]+)[./-]' || written, '\1-' || yahoo, NULL, 41, 'warrants, units and rights'
FROM (VALUES ('(?:WS|WT)', 'WT'), ('(?:UN|U)', 'UN'), ('(?:RT|RI)', 'RI')) AS w(written, yahoo),
     string_to_table('NYSE NYSEAMERICAN NYSEMKT AMEX', ' ') AS prefix
ON CONFLICT (pattern) DO NOTHING;

-- Exchanges' prefixes, as Google and TradingView write them.
INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note)
SELECT prefix || rest, spelled, NULL, 42, 'US exchanges'
FROM string_to_table('NASDAQ NYSE NYSEAMERICAN NYSEARCA NYSEMKT AMEX ARCA BATS CBOE OTC OTCMKTS OTCBB', ' ') AS prefix,
     (VALUES (':([A-Z]+)', '\1'), (':([A-Z]+)[./-]([A-D])', '\1-\2'),
             (':([A-Z]+)(?:[./-]PR[./-]?|/P|\^)([A-Z])', '\1-P\2'), (':([A-Z]+)-([E-TX-Z])', '\1-P\2')) AS f(rest, spelled)
UNION ALL
SELECT prefix || rest, spelled || suffix, 'XTSE', priority, 'Canada'
FROM (VALUES ('TSE', '.TO'), ('TSX', '.TO'), ('TSXV', '.V'), ('CVE', '.V'), ('NEO', '.NE'), ('CSE', '.CN'), ('CNSX', '.CN'))
         AS c(prefix, suffix),
     (VALUES (':([A-Z0-9]+)', '\1', 41), (':([A-Z0-9]+)[.-]([A-Z]{1,2})', '\1-\2', 42),
             (':([A-Z0-9]+)[.-]PR[.-]?([A-Z])', '\1-P\2', 43)) AS f(rest, spelled, priority)
UNION ALL
SELECT prefix || rest, spelled || '.L', 'XLON', priority, 'London'
FROM string_to_table('LON LSE', ' ') AS prefix,
     (VALUES (':([A-Z0-9]+)', '\1', 41), (':([A-Z0-9]+)\.', '\1', 41), (':([A-Z0-9]+)[.-]([A-Z])', '\1-\2', 42))
         AS f(rest, spelled, priority)
UNION ALL
SELECT prefix || ':' || rest, '\1.' || suffix, calendar, 40, 'an exchange''s prefix'
FROM (VALUES ('TADAWUL', '([0-9]{4})', 'SR', 'XSAU'), ('XETR', '([A-Z0-9]+)', 'DE', 'XETR'),
             ('XETRA', '([A-Z0-9]+)', 'DE', 'XETR'), ('MIL', '([A-Z0-9]+)', 'MI', 'XMIL'),
             ('VIE', '([A-Z0-9]+)', 'VI', 'XWBO'), ('ELI', '([A-Z0-9]+)', 'LS', 'XLIS'),
             ('OSL', '([A-Z0-9]+)', 'OL', 'XOSL'), ('BVMF', '([A-Z0-9]+)', 'SA', 'BVMF'),
             ('BMFBOVESPA', '([A-Z0-9]+)', 'SA', 'BVMF'), ('BMV', '([A-Z0-9]+)', 'MX', 'XMEX'),
             ('BCBA', '([A-Z0-9]+)', 'BA', 'XBUE'), ('SGX', '([A-Z0-9]+)', 'SI', 'XSES'),
             ('IDX', '([A-Z0-9]+)', 'JK', 'XIDX'), ('BKK', '([A-Z0-9]+)', 'BK', 'XBKK'),
             ('NZE', '([A-Z0-9]+)', 'NZ', 'XNZE'), ('JSE', '([A-Z0-9]+)', 'JO', 'XJSE'),
             ('TLV', '([A-Z0-9-]+)', 'TA', 'XTAE'), ('IST', '([A-Z0-9]+)', 'IS', 'XIST'),
             ('BIST', '([A-Z0-9]+)', 'IS', 'XIST'), ('HKEX', '([0-9]{4,5})', 'HK', 'XHKG'),
             ('SSE', '([0-9]{6})', 'SS', 'XSHG'), ('SZSE', '([0-9]{6})', 'SZ', 'XSHG'),
             ('TWSE', '([0-9]{4,6})', 'TW', 'XTAI'), ('BSE', '([0-9]{6})', 'BO', 'XBOM')) AS e(prefix, rest, suffix, calendar)
ON CONFLICT (pattern) DO NOTHING;

-- Renames: the old ticker's prices go on under the new one, and Yahoo has all of them there. Polygon keeps
-- the old ticker for the days before.
WITH renamed (today, old, until, since, note) AS (VALUES
    -- The name of today, an older name, since when it was another one, and since when it was that one.
    ('META', 'FB', date '2022-06-09', NULL::date, 'Facebook became Meta Platforms in 2022'),
    ('XYZ', 'SQ', '2025-01-21', NULL, 'Block changed its symbol in 2025'),
    ('ELV', 'ANTM', '2022-06-28', NULL, 'Anthem became Elevance Health in 2022'),
    ('DJT', 'DWAC', '2024-03-26', NULL, 'Digital World merged into Trump Media in 2024'),
    ('SHEL', 'RDS.A', '2022-01-31', NULL, 'Royal Dutch Shell became Shell in 2022'),
    ('PSKY', 'CBS', '2019-12-05', NULL, 'CBS became ViacomCBS in 2019, Paramount in 2022, Paramount Skydance in 2025'),
    ('PSKY', 'VIAC', '2022-02-17', '2019-12-05', 'ViacomCBS became Paramount in 2022, Paramount Skydance in 2025'),
    ('PSKY', 'PARA', '2025-08-07', '2022-02-17', 'Paramount became Paramount Skydance in 2025'),
    ('RTX', 'UTX', '2020-04-03', NULL, 'United Technologies became RTX in 2020'),
    ('WBD', 'DISCA', '2022-04-11', NULL, 'Discovery became Warner Bros. Discovery in 2022'),
    ('GEN', 'SYMC', '2019-11-05', NULL, 'Symantec became NortonLifeLock in 2019, Gen in 2022'),
    ('GEN', 'NLOK', '2022-11-08', '2019-11-05', 'NortonLifeLock became Gen in 2022'),
    ('BKNG', 'PCLN', '2018-02-27', NULL, 'Priceline became Booking in 2018'),
    ('SONY', 'SNE', '2021-04-01', NULL, 'Sony changed its symbol in 2021'),
    ('TTE', 'TOT', '2021-06-11', NULL, 'Total became TotalEnergies in 2021'),
    ('LUMN', 'CTL', '2020-09-18', NULL, 'CenturyLink became Lumen in 2020'),
    ('BALL', 'BLL', '2022-05-10', NULL, 'Ball changed its symbol in 2022'),
    ('WTW', 'WLTW', '2022-01-10', NULL, 'Willis Towers Watson changed its symbol in 2022'),
    ('RVTY', 'PKI', '2023-05-16', NULL, 'PerkinElmer became Revvity in 2023'),
    ('COR', 'ABC', '2023-08-30', NULL, 'AmerisourceBergen became Cencora in 2023'),
    ('CPAY', 'FLT', '2024-03-25', NULL, 'Fleetcor became Corpay in 2024'),
    ('GAP', 'GPS', '2024-08-22', NULL, 'Gap changed its symbol in 2024'),
    ('GTM', 'ZI', '2025-05-14', NULL, 'ZoomInfo changed its symbol in 2025'),
    ('LCID', 'CCIV', '2021-07-26', NULL, 'Churchill Capital IV merged into Lucid in 2021'),
    ('SOFI', 'IPOE', '2021-06-01', NULL, 'Social Capital V merged into SoFi in 2021')
), everywhere AS (
    INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note)
    SELECT prefix || replace(r.old, '.', mark), r.today, NULL, 100, r.note
    FROM renamed r, (VALUES (''), ('NYSE:'), ('NASDAQ:')) AS p(prefix), (VALUES ('\.'), ('/'), ('-')) AS m(mark)
    WHERE (r.old LIKE '%.%' OR mark = '/') AND prefix || r.old <> 'SQ'
    ON CONFLICT (pattern) DO NOTHING)
INSERT INTO symbol_rules (pattern, provider_symbol, priority, note, valid_from, valid_until, provider)
SELECT format('%s(?#%s)', r.today, concat_ws(', ', 'polygon', 'from ' || to_char(r.since, 'YYYY-MM-DD'),
                                             'until ' || to_char(r.until, 'YYYY-MM-DD'))),
       r.old, 100, r.note, r.since, r.until, 'polygon'
FROM renamed r
ON CONFLICT (pattern) DO NOTHING;
-- Taken over for shares of another company: the name is the other company's from then on. The prices from
-- before are those of the old ticker, or nobody's.
-- The rule for CBS of an earlier release stays, and so does one for SQ, which the documentation had as its
-- example: they do not count beside one that has a date.
INSERT INTO symbol_rules (pattern, provider_symbol, priority, note, valid_from)
SELECT format('%s(?#from %s)', prefix || t.old, to_char(t.since, 'YYYY-MM-DD')), t.today, 100, t.note, t.since
FROM (VALUES
    ('CBS', 'PSKY', date '1990-01-01', 'CBS became ViacomCBS in 2019, Paramount in 2022, Paramount Skydance in 2025'),
    ('SQ', 'XYZ', '1990-01-01', 'Block changed its symbol in 2025'),
    ('RTN', 'RTX', '2020-04-03', 'Raytheon merged into RTX in 2020: 2.3348 shares for one'),
    ('AKS', 'CLF', '2020-03-13', 'AK Steel was taken over by Cleveland-Cliffs in 2020: 0.4 shares for one'),
    ('RDS\.B', 'SHEL', '2022-01-31', 'Royal Dutch Shell became Shell in 2022; its history is that of RDS.A'),
    ('RDS/B', 'SHEL', '2022-01-31', 'Royal Dutch Shell became Shell in 2022; its history is that of RDS.A'),
    ('RDS-B', 'SHEL', '2022-01-31', 'Royal Dutch Shell became Shell in 2022; its history is that of RDS.A'))
    AS t(old, today, since, note), (VALUES (''), ('NYSE:')) AS p(prefix)
ON CONFLICT (pattern) DO NOTHING;

INSERT INTO symbol_rules (pattern, provider_symbol, priority, note, valid_until) VALUES
    ('RTN(?#until 2020-04-03)', 'RTN', 100, 'Raytheon merged into RTX in 2020: 2.3348 shares for one', '2020-04-03')
ON CONFLICT (pattern) DO NOTHING;

-- The name of today reaches a ticker that has the one of an older rule.
UPDATE ticker_registry SET provider_symbol = NULL WHERE symbol = 'CBS' AND provider_symbol = 'PARA';

-- Tickers that nobody knew under the name of an older rule. The next sweep gives them name and calendar,
-- and computes their outcomes anew (calendars_assign in 53_outcomes_sessions.sql).
UPDATE ticker_registry t
SET calendar = '?', provider_symbol = NULL, status = 'active', status_reason = NULL
FROM ticker_registry r
CROSS JOIN LATERAL (
    SELECT regexp_replace(r.symbol, '^(?:' || u.pattern || ')$', u.provider_symbol) AS name
    FROM symbol_rules u WHERE r.symbol ~ ('^(?:' || u.pattern || ')$') AND u.provider IS NULL AND u.valid_until IS NULL
    ORDER BY u.priority DESC, u.pattern LIMIT 1) n
WHERE t.symbol = r.symbol AND r.status = 'invalid' AND n.name IS NOT NULL
  AND n.name IS DISTINCT FROM coalesce(r.provider_symbol, r.symbol);
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0029_names.sql', '38899bf2f25adc345a2a17b7117611ad16661243ab602aab66608aec30e2e409')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
