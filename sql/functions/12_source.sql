BEGIN;
-- The one place that depends on the source's shape: the view prediction_inputs, made for the
-- generation of `predictions` that is found. For another source, replace this view and the triggers
-- (90_triggers.sql). `worker migrate` calls source_attach() every time, so that it finds a column
-- that appeared later.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE OR REPLACE FUNCTION source_has(p_table text, p_column text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM information_schema.columns
                   WHERE table_schema = 'public' AND table_name = p_table AND column_name = p_column)
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

-- Replaces a view only where its text changed: replacing locks out its readers. A view without the
-- comment is not ours: the owner's, for another source.
CREATE OR REPLACE FUNCTION source_attach_view() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_view record;
    v_made text;
    v_there text;
BEGIN
    FOR v_view IN
        SELECT 'prediction_inputs' AS name, source_view_text() AS text
        UNION ALL
        -- The model that predicted, where the source records it: reports group by it. It is a view of
        -- its own, so that a replacement of prediction_inputs needs no further column.
        SELECT 'prediction_models', format(
            'SELECT predictions.id AS prediction_id, %s::text AS model FROM public.predictions',
            CASE WHEN source_has('predictions', 'llm_model') THEN 'predictions.llm_model' ELSE 'NULL' END)
    LOOP
        v_made := 'made by source_attach_view(), ' || md5(v_view.text);
        v_there := coalesce(obj_description(to_regclass('public.' || v_view.name), 'pg_class'), '');
        CONTINUE WHEN to_regclass('public.' || v_view.name) IS NOT NULL
                  AND v_there NOT LIKE 'made by source\_attach\_view()%';
        IF v_there <> v_made THEN
            EXECUTE format('CREATE OR REPLACE VIEW public.%I AS %s', v_view.name, v_view.text);
            EXECUTE format('COMMENT ON VIEW public.%I IS %L', v_view.name, v_made);
        END IF;
    END LOOP;
END
$$;

SELECT source_attach_view();
REVOKE ALL ON FUNCTION
    source_has(p_table text, p_column text),
    source_keeps_unique(p_table text, p_columns text[]),
    source_moment(p_table text, p_column text),
    source_json(p_table text, p_column text),
    source_view_text(),
    source_attach_view()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/12_source.sql', '47d28ca83ded4647376ce10172e28c2288beb6dac937b51a2c96c43ccaf68729')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
