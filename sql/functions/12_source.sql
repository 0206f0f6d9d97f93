BEGIN;
-- The one place that depends on the source's shape: the view prediction_inputs, made for the
-- generation of `predictions` that is found. For another source, replace this view and the triggers
-- (90_triggers.sql). `worker migrate` calls source_attach() every time, so that it finds a column
-- that appeared later, and a table that was swapped for another by RENAME.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- From the catalogs, because information_schema hides the columns of tables on which a role has no right.
CREATE OR REPLACE FUNCTION source_has(p_table text, p_column text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = to_regclass('public.' || quote_ident(p_table)) AND a.attname = p_column
                     AND a.attnum > 0 AND NOT a.attisdropped)
$$;

-- What `predictions` lacks of what the view needs, as a sentence; NULL where it has it all.
CREATE OR REPLACE FUNCTION source_lacks() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN to_regclass('public.predictions') IS NULL THEN
            'the table public.predictions is missing: rename it back, or make it anew'
        ELSE 'public.predictions has no column ' || string_agg(c.name, ', ')
             || ': a column that was renamed needs its old name, or a view prediction_inputs of your own'
        END
    FROM unnest('{id,assets,market_impact,confidence,analysis_status,created_at}'::text[]) AS c(name)
    WHERE NOT source_has('predictions', c.name) HAVING count(*) > 0
$$;

-- Whether a unique index covers exactly these columns, given in alphabetical order. A table that
-- another program made may have none. PL/pgSQL, because it runs for every batch and keeps its plan.
CREATE OR REPLACE FUNCTION source_keeps_unique(p_table text, p_columns text[]) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM pg_index i
        WHERE i.indrelid = to_regclass('public.' || p_table)
          AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
          AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute a
               WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]))
              = p_columns
          AND i.indnkeyatts = cardinality(p_columns));
END
$$;

-- A timestamp column as timestamptz: without a zone it is UTC.
CREATE OR REPLACE FUNCTION source_moment(p_table text, p_column text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format(CASE WHEN data_type = 'timestamp without time zone'
                       THEN '%I.%I AT TIME ZONE ''UTC''' ELSE '%I.%I::timestamptz' END,
                  p_table, p_column)
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = p_table AND column_name = p_column
$$;

CREATE OR REPLACE FUNCTION source_json(p_table text, p_column text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format(CASE data_type WHEN 'jsonb' THEN '%I.%I' WHEN 'json' THEN 'safe_jsonb(%I.%I)'
                                 ELSE 'to_jsonb(%I.%I)' END, p_table, p_column)
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = p_table AND column_name = p_column
$$;

-- The text of prediction_inputs for the tables and columns that exist now.
CREATE OR REPLACE FUNCTION source_view_text() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_moments text[] := '{}';
    v_joins   text := '';
BEGIN
    IF source_has('predictions', 'signal_id') AND source_has('signals', 'signal_id')
       AND source_has('signals', 'published_at') THEN
        v_moments := v_moments || source_moment('signals', 'published_at');
        v_joins := v_joins || ' LEFT JOIN public.signals ON signals.signal_id = predictions.signal_id';
    END IF;
    IF source_has('predictions', 'shitpost_id') AND source_has('truth_social_shitposts', 'shitpost_id')
       AND source_has('truth_social_shitposts', 'timestamp') THEN
        v_moments := v_moments || source_moment('truth_social_shitposts', 'timestamp');
        v_joins := v_joins || ' LEFT JOIN public.truth_social_shitposts'
                              ' ON truth_social_shitposts.shitpost_id = predictions.shitpost_id';
    END IF;
    IF source_has('predictions', 'post_timestamp') THEN
        v_moments := v_moments || source_moment('predictions', 'post_timestamp');
    END IF;
    v_moments := v_moments || source_moment('predictions', 'created_at');
    RETURN format(
        'SELECT predictions.id AS prediction_id, coalesce(%s) AS moment, %s AS assets,'
        ' %s AS market_impact, predictions.confidence::double precision AS confidence,'
        ' coalesce(predictions.analysis_status::text OPERATOR(pg_catalog.=) ''completed'', false)'
        ' AND has_assets(predictions.assets::text) AS eligible FROM public.predictions%s',
        array_to_string(v_moments, ', '), source_json('predictions', 'assets'),
        source_json('predictions', 'market_impact'), v_joins);
END
$$;

-- Where the text of a prediction comes from, as an expression: of its signal, else of the prediction, else the
-- platform whose table has its post. Subqueries: a report that does not group by it reads none of them, and a
-- table without a unique key cannot show a prediction twice.
CREATE OR REPLACE FUNCTION source_origin_text() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_origins text[] := '{}';
BEGIN
    IF source_has('predictions', 'signal_id') AND source_has('signals', 'signal_id')
       AND source_has('signals', 'source') THEN
        v_origins := v_origins || '(SELECT signals.source::text FROM public.signals'
                                  ' WHERE signals.signal_id = predictions.signal_id LIMIT 1)'::text;
    END IF;
    IF source_has('predictions', 'source') THEN
        v_origins := v_origins || 'predictions.source::text'::text;
    END IF;
    IF source_has('predictions', 'shitpost_id') AND source_has('truth_social_shitposts', 'shitpost_id') THEN
        v_origins := v_origins || '(SELECT ''truth_social''::text FROM public.truth_social_shitposts'
                                  ' WHERE truth_social_shitposts.shitpost_id = predictions.shitpost_id LIMIT 1)'::text;
    END IF;
    RETURN CASE WHEN v_origins = '{}' THEN 'NULL::text'
                ELSE format('coalesce(%s)', array_to_string(v_origins, ', ')) END;
END
$$;

-- The tables and views that a view reads. A view keeps reading a table that is renamed.
CREATE OR REPLACE FUNCTION source_reads(p_view text) RETURNS oid[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY(SELECT DISTINCT d.refobjid
                 FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                 WHERE r.ev_class = to_regclass('public.' || quote_ident(p_view))
                   AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class ORDER BY 1)
$$;

-- The views that depend on the source's shape: the text for the tables that exist now, the tables in it,
-- the tables that the view reads, and the comment that source_attach_view() writes on it.
-- is_theirs: somebody replaced the view for a source of his own, so that it is left alone. Its comment
-- is another; or it reads other tables than at its making, and not because of a RENAME: a table of ours
-- that was renamed has our trigger.
CREATE OR REPLACE FUNCTION source_views()
RETURNS TABLE (name text, text text, wants oid[], reads oid[], made text, note text, is_theirs boolean)
LANGUAGE sql STABLE AS $$
    SELECT k.name, k.text, k.wants, k.reads, k.made, k.note,
           (to_regclass('public.' || k.name) IS NOT NULL
            AND coalesce(k.note, '') NOT LIKE 'made by source\_attach\_view()%')
           OR (k.reads <> '{}' AND k.reads <> k.wants
               AND k.reads::text IS DISTINCT FROM substring(k.note FROM ' reads ({[0-9,]*})$')
               AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = ANY (k.reads)
                               AND t.tgname = 'predictions_inserted'
                               AND t.tgrelid <> to_regclass('public.predictions')))
    FROM (
        SELECT v.name, v.text, w.wants, source_reads(v.name) AS reads,
               format('made by source_attach_view(), %s reads %s', md5(v.text), w.wants) AS made,
               obj_description(to_regclass('public.' || v.name), 'pg_class') AS note
        FROM (
            SELECT 'prediction_inputs' AS name, source_view_text() AS text
            UNION ALL
            -- The model that predicted and the source of the text, where they are recorded: reports group by
            -- them. It is a view of its own, so that a replacement of prediction_inputs needs no further column.
            SELECT 'prediction_models', format(
                'SELECT predictions.id AS prediction_id, %s::text AS model, %s AS source FROM public.predictions',
                CASE WHEN source_has('predictions', 'llm_model') THEN 'predictions.llm_model' ELSE 'NULL' END,
                source_origin_text())
        ) v
        CROSS JOIN LATERAL (
            SELECT ARRAY(SELECT DISTINCT to_regclass(m[1])::oid
                         FROM regexp_matches(v.text, ' (public\.\w+)', 'g') m ORDER BY 1) AS wants) w
    ) k
$$;

-- What is wrong with these views, in words. `worker migrate` mends it.
CREATE OR REPLACE FUNCTION source_stale() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN v.note IS NULL AND to_regclass('public.' || v.name) IS NULL THEN format('view %s is missing', v.name)
        WHEN v.reads <> v.wants THEN format('view %s reads %s and not %s', v.name,
                                            array_to_string(v.reads::regclass[], ', '),
                                            coalesce(nullif(array_to_string(v.wants::regclass[], ', '), ''),
                                                     'public.predictions'))
        ELSE format('view %s is made for other columns than there are now', v.name) END
    FROM source_views() v
    WHERE NOT v.is_theirs
      AND (v.reads <> v.wants OR v.note IS NULL OR split_part(v.note, ' reads ', 1) <> split_part(v.made, ' reads ', 1))
$$;

-- The other tables of another program's that were swapped for others by RENAME: one view of ours for each, in
-- words. `worker migrate` finds all such views by catalogue.json (sql/schema/reads.py).
CREATE OR REPLACE FUNCTION source_swapped() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT format('view %s does not read public.%s', w.name, w.source)
    FROM (VALUES ('our_bars', 'market_prices'), ('our_outcomes', 'prediction_outcomes'),
                 ('symbol_stats', 'ticker_registry')) w(name, source)
    WHERE to_regclass('public.' || w.name) IS NOT NULL
      AND (to_regclass('public.' || w.source) = ANY (source_reads(w.name))) IS NOT TRUE
$$;

-- Replaces a view only where its text or a table in it changed: replacing locks out its readers.
CREATE OR REPLACE FUNCTION source_attach_view() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_view record;
BEGIN
    IF source_lacks() IS NOT NULL
       AND EXISTS (SELECT FROM source_views() v WHERE v.name = 'prediction_inputs' AND NOT v.is_theirs) THEN
        RAISE '%', source_lacks();
    END IF;
    FOR v_view IN SELECT * FROM source_views() v WHERE NOT v.is_theirs AND v.note IS DISTINCT FROM v.made LOOP
        -- The comment alone differs after a restore, which gives the tables other numbers.
        IF v_view.reads <> v_view.wants
           OR split_part(v_view.note, ' reads ', 1) IS DISTINCT FROM split_part(v_view.made, ' reads ', 1) THEN
            BEGIN
                EXECUTE format('CREATE OR REPLACE VIEW public.%I AS %s', v_view.name, v_view.text);
            EXCEPTION WHEN invalid_table_definition THEN
                RAISE 'view % cannot be made for public.predictions as it is now: %. Give the column its old type, or'
                      ' run worker migrate --remove --apply, then worker migrate and worker enqueue --all',
                      v_view.name, SQLERRM;
            END;
        END IF;
        EXECUTE format('COMMENT ON VIEW public.%I IS %L', v_view.name, v_view.made);
    END LOOP;
END
$$;

-- Why prediction_inputs may not show a prediction that exists; NULL where what it does not show does not
-- exist, and where it shows none of p_ids. With row_security = off PostgreSQL raises an error where
-- row-level security would hide rows from the view's owner, with whose rights the view reads. A policy
-- without a condition hides none. A session's old plan goes on hiding rows after ALTER ROLE BYPASSRLS.
CREATE OR REPLACE FUNCTION source_hides(p_ids bigint[] DEFAULT '{}') RETURNS text
LANGUAGE plpgsql STABLE SET row_security = off AS $$
DECLARE
    v_why text := (SELECT format('view prediction_inputs reads %s and not public.predictions: run python -m worker migrate',
                                 array_to_string(v.reads::regclass[], ', '))
                   FROM source_views() v
                   WHERE v.name = 'prediction_inputs' AND NOT v.is_theirs
                     AND (to_regclass('public.predictions') = ANY (v.reads)) IS NOT TRUE);
BEGIN
    IF NOT has_table_privilege(to_regclass('public.prediction_inputs'), 'SELECT') THEN
        RETURN format('role %s may not read prediction_inputs: python -m market db roles', current_user);
    END IF;
    IF v_why IS NULL THEN
        PERFORM FROM public.prediction_inputs p WHERE p.prediction_id = ANY (p_ids) LIMIT 1;
        IF FOUND THEN
            v_why := 'row-level security hid it from the plans of this session, which are made anew';
        END IF;
    END IF;
    RETURN v_why;
EXCEPTION WHEN insufficient_privilege THEN
    v_why := SQLERRM;
    RETURN (
        SELECT format('role %s, as which prediction_inputs reads, may not see every row (%s): '
                      'ALTER ROLE %s BYPASSRLS, or CREATE POLICY reckoner ON %s FOR SELECT TO %s USING (true)',
                      o.name, v_why, o.name, string_agg(c.oid::regclass::text, ', '), o.name)
        FROM pg_class v
        CROSS JOIN LATERAL (SELECT quote_ident(pg_get_userbyid(v.relowner)) AS name) o
        LEFT JOIN pg_class c ON c.oid = ANY (source_reads('prediction_inputs')) AND c.relrowsecurity
            AND NOT ( -- every row is shown
                EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive
                        AND p.polcmd IN ('r', '*') AND pg_get_expr(p.polqual, p.polrelid) = 'true'
                        AND (p.polroles = '{0}' OR v.relowner = ANY (p.polroles)))
                AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive))
        WHERE v.oid = 'public.prediction_inputs'::regclass
        GROUP BY o.name
        -- Without any such table it is not row-level security, but a right that is missing.
        HAVING count(c.oid) > 0 OR v_why NOT LIKE '%row-level security%');
END
$$;

SELECT source_attach_view();
REVOKE ALL ON FUNCTION
    source_has(p_table text, p_column text),
    source_lacks(),
    source_keeps_unique(p_table text, p_columns text[]),
    source_moment(p_table text, p_column text),
    source_json(p_table text, p_column text),
    source_view_text(),
    source_origin_text(),
    source_reads(p_view text),
    source_views(),
    source_stale(),
    source_swapped(),
    source_attach_view(),
    source_hides(p_ids bigint[])
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/12_source.sql', '4fff1e25ff394f0123d99d47ca42397d7081b3746108fdf4926e2fe8ebd6e80d')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
