BEGIN;
-- Members of indexes. Python asks the sources (market/universe/constituents/) and hands a list over;
-- what a list may change is decided here.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The row of an index of this name, in any case; an error with SQLSTATE P0002 where there is none.
CREATE OR REPLACE FUNCTION index_named(p_index text) RETURNS market_indexes LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_index market_indexes;
BEGIN
    SELECT * INTO v_index FROM market_indexes WHERE name = upper(btrim(p_index));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no index "%": market_indexes has %', left(p_index, 50),
            coalesce((SELECT string_agg(i.name, ', ' ORDER BY i.name) FROM market_indexes i), 'none')
            USING ERRCODE = 'no_data_found';
    END IF;
    RETURN v_index;
END
$$;

-- The members of an index at the end of a day (UTC); NULL: now.
-- since, until: the period of membership that the day is in; until is NULL for a member of today. known_since:
-- the first refresh. A day before it has no row, because nobody looked then; a NOTICE says so.
CREATE OR REPLACE FUNCTION index_members(p_index text, p_as_of date DEFAULT NULL)
RETURNS TABLE (symbol text, name text, sector text, industry text, since timestamptz, until timestamptz,
               source text, known_since timestamptz)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_index market_indexes := index_named(p_index);
    v_end   timestamptz := (p_as_of + 1)::timestamp AT TIME ZONE 'UTC';
    v_known timestamptz := (SELECT min(c.first_seen_at) FROM index_constituents c WHERE c.index_name = v_index.name);
BEGIN
    IF v_known IS NULL OR v_end <= v_known THEN
        RAISE NOTICE '%', CASE WHEN v_known IS NULL THEN format('members of %s are not known yet', v_index.name)
            ELSE format('members of %s are known since %s, not on %s', v_index.name, v_known::date, p_as_of) END;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT c.symbol::text, c.name, c.sector, c.industry, c.first_seen_at, c.became_inactive_at, c.source, v_known
    FROM index_constituents c
    WHERE c.index_name = v_index.name
      AND CASE WHEN v_end IS NULL THEN c.is_active
               ELSE c.first_seen_at < v_end AND (c.is_active OR c.became_inactive_at >= v_end) END
    ORDER BY c.symbol;
END
$$;

-- The state of each index, for people: its members, and what came of the last refresh.
CREATE OR REPLACE VIEW index_status AS
SELECT i.name, i.title, coalesce(c.members, 0) AS members, coalesce(c.former, 0) AS former, c.known_since,
       i.refreshed_at, i.provider, i.tried_at, i.failure, i.failed_since, i.least, i.most, i.most_leaving
FROM market_indexes i
LEFT JOIN (SELECT c.index_name, count(DISTINCT c.symbol) FILTER (WHERE c.is_active) AS members,
                  count(DISTINCT c.symbol) - count(DISTINCT c.symbol) FILTER (WHERE c.is_active) AS former,
                  min(c.first_seen_at) AS known_since
           FROM index_constituents c GROUP BY c.index_name) c ON c.index_name = i.name;
COMMENT ON VIEW index_status IS 'Each index: its members, and what came of the last refresh.';

-- Makes a list the members of an index, in one transaction. p_members: [{symbol, name, sector, industry}];
-- p_source: fmp, wikipedia, csv. p_yes: a person consents to more than most_leaving members that leave.
-- result is `refreshed`, or `refused` with the reason, and then nothing has changed. Elements that are not
-- symbols are left out, and of a symbol that is there twice the first one counts.
-- A second refresh waits for the first, by the lock of the index's row. No period begins before the last one
-- ended, also where the clock was set back: each refresh is later than the one before.
CREATE OR REPLACE FUNCTION index_refresh(p_index text, p_source text, p_members jsonb, p_yes boolean DEFAULT false)
RETURNS TABLE (result text, reason text, fetched integer, inserted integer, reactivated integer,
               inactivated integer, registered integer, members_before integer, members_after integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_index   market_indexes := index_named(p_index);
    v_now     timestamptz;
    v_symbols text[];
    v_leaving text[];
BEGIN
    SELECT * INTO v_index FROM market_indexes i WHERE i.name = v_index.name FOR NO KEY UPDATE;
    v_symbols := ARRAY(
        SELECT DISTINCT universe_symbol(m.symbol) FROM jsonb_to_recordset(p_members) AS m(symbol text)
        WHERE universe_symbol(m.symbol) IS NOT NULL);
    v_leaving := ARRAY(SELECT c.symbol::text FROM index_constituents c
                       WHERE c.index_name = v_index.name AND c.is_active AND c.symbol <> ALL (v_symbols)
                       ORDER BY c.symbol);
    result := 'refused';
    fetched := cardinality(v_symbols);
    inserted := 0;
    reactivated := 0;
    inactivated := 0;
    registered := 0;
    members_before := (SELECT count(*) FROM index_constituents c WHERE c.index_name = v_index.name AND c.is_active);
    members_after := members_before;
    reason := CASE
        WHEN fetched NOT BETWEEN v_index.least AND v_index.most THEN
            format('%s symbols, %s are expected', fetched,
                   CASE WHEN v_index.least = v_index.most THEN v_index.least::text
                        ELSE format('%s to %s', v_index.least, v_index.most) END)
        WHEN cardinality(v_leaving) > v_index.most_leaving AND p_yes IS NOT TRUE THEN
            format('%s members would leave (%s%s), more than %s: --yes takes the list all the same',
                   cardinality(v_leaving), array_to_string(v_leaving[:5], ', '),
                   CASE WHEN cardinality(v_leaving) > 5 THEN ' ...' ELSE '' END, v_index.most_leaving) END;
    IF reason IS NOT NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;
    v_now := greatest(
        reckoner_now(), v_index.refreshed_at + interval '1 microsecond',
        (SELECT max(greatest(c.last_seen_at, c.became_inactive_at)) + interval '1 microsecond'
         FROM index_constituents c WHERE c.index_name = v_index.name));

    UPDATE index_constituents c SET is_active = false, became_inactive_at = v_now
    WHERE c.index_name = v_index.name AND c.is_active AND c.symbol = ANY (v_leaving);
    inactivated := cardinality(v_leaving);
    WITH listed AS (
        SELECT DISTINCT ON (symbol) universe_symbol(m.symbol) AS symbol, one_line(m.name) AS name,
               one_line(m.sector) AS sector, one_line(m.industry) AS industry
        FROM ROWS FROM (jsonb_to_recordset(p_members) AS (symbol text, name text, sector text, industry text))
             WITH ORDINALITY AS m(symbol, name, sector, industry, n)
        WHERE universe_symbol(m.symbol) IS NOT NULL
        ORDER BY symbol, m.n
    ), seen AS (
        UPDATE index_constituents c
        SET last_seen_at = v_now, source = p_source, name = coalesce(l.name, c.name),
            sector = coalesce(l.sector, c.sector), industry = coalesce(l.industry, c.industry)
        FROM listed l WHERE c.index_name = v_index.name AND c.is_active AND c.symbol = l.symbol
        RETURNING c.symbol
    ), added AS (
        INSERT INTO index_constituents (index_name, symbol, name, sector, industry, first_seen_at, last_seen_at, source)
        SELECT v_index.name, l.symbol, l.name, l.sector, l.industry, v_now, v_now, p_source
        FROM listed l WHERE l.symbol NOT IN (SELECT s.symbol FROM seen s)
        ORDER BY l.symbol
        RETURNING symbol
    ), counted AS ( -- as the table was before this statement
        SELECT EXISTS (SELECT FROM index_constituents c
                       WHERE c.index_name = v_index.name AND c.symbol = a.symbol) AS was_there FROM added a
    )
    SELECT count(*) FILTER (WHERE NOT was_there), count(*) FILTER (WHERE was_there)
    INTO inserted, reactivated FROM counted;
    registered := (SELECT count(*) FROM tracked_register());
    UPDATE market_indexes i
    SET tried_at = reckoner_now(), refreshed_at = v_now, provider = p_source, failure = NULL, failed_since = NULL
    WHERE i.name = v_index.name;
    result := 'refreshed';
    members_after := (SELECT count(*) FROM index_constituents c WHERE c.index_name = v_index.name AND c.is_active);
    RETURN NEXT;
END
$$;

-- Records that no source gave a list that could be taken; health and index_status show it.
CREATE OR REPLACE FUNCTION index_refresh_failed(p_index text, p_failure text) RETURNS void LANGUAGE sql AS $$
    UPDATE market_indexes
    SET tried_at = reckoner_now(), failure = one_line(p_failure), failed_since = coalesce(failed_since, reckoner_now())
    WHERE name = (index_named(p_index)).name
$$;
REVOKE ALL ON FUNCTION
    index_named(p_index text),
    index_members(p_index text, p_as_of date),
    index_refresh(p_index text, p_source text, p_members jsonb, p_yes boolean),
    index_refresh_failed(p_index text, p_failure text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/66_constituents.sql', 'c660aac85c32332e88b4fa4831cda558ca2588f7fb70f7eb9523323af6f3127f')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
