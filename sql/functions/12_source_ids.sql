BEGIN;
-- The type of a prediction's id, and which shared tables are ours. An id is a smallint, an integer or a
-- bigint. Our functions pass ids as bigint; a table compares them with its own column, whose index serves
-- any of the three. prediction_inputs keeps the column's own type: a cast would lose the index.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Whether migrations/0002_market.sql made a table that another program may have made: its columns come in
-- that file's order, and id is an identity. Only such a table is altered, and its sequence moved.
CREATE OR REPLACE FUNCTION source_made(p_table text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(bool_and(a.attname = m.name) AND bool_or(a.attname = 'id' AND a.attidentity = 'd'), false)
    FROM unnest(string_to_array(CASE p_table
        WHEN 'predictions' THEN 'id assets market_impact confidence analysis_status post_timestamp signal_id'
            ' shitpost_id created_at updated_at'
        WHEN 'ticker_registry' THEN 'id symbol first_seen_date source_prediction_id status status_reason'
            ' last_price_update price_data_start price_data_end total_price_records asset_type exchange calendar'
        WHEN 'market_prices' THEN 'id symbol date open high low close adjusted_close volume source last_updated'
            ' has_split has_dividend is_market_open created_at updated_at'
        WHEN 'prediction_outcomes' THEN 'id prediction_id symbol prediction_date prediction_sentiment'
            ' prediction_confidence price_at_prediction price_t1 return_t1 correct_t1 pnl_t1'
        END, ' ')) WITH ORDINALITY AS m(name, n)
    LEFT JOIN pg_attribute a ON a.attrelid = to_regclass('public.' || p_table) AND a.attnum = m.n
$$;

-- The columns that hold ids of predictions, with a sentence and its SQL where one does not take every id
-- of predictions.id. Called by `worker migrate`, `market db audit` and health.
--   is_refused  no statement of ours works with a column of this type
CREATE OR REPLACE FUNCTION source_ids_wrong()
RETURNS TABLE (source text, problem text, remedy text, is_refused boolean) LANGUAGE sql STABLE AS $$
    WITH held AS (
        SELECT c.source, c.name, format_type(a.atttypid, a.atttypmod) AS type, t.typlen AS size,
               coalesce(nullif(t.typbasetype, 0), t.oid) IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) AS is_whole
        FROM (VALUES ('predictions', 'id'), ('prediction_outcomes', 'prediction_id'),
                     ('ticker_registry', 'source_prediction_id')) AS c(source, name)
        JOIN pg_attribute a ON a.attrelid = to_regclass('public.' || c.source) AND a.attname = c.name
        JOIN pg_type t ON t.oid = a.atttypid
    )
    SELECT h.source, format('%s.%s is %s: an id of a prediction must be smallint, integer or bigint',
                            h.source, h.name, h.type), NULL, true
    FROM held h WHERE NOT h.is_whole AND h.source <> 'ticker_registry'
    UNION ALL
    SELECT h.source, format('%s.%s is %s and predictions.id is %s: the outcomes of larger ids cannot be stored',
                            h.source, h.name, h.type, p.type),
           CASE WHEN source_made(h.source)
                THEN 'python -m worker migrate --remove --apply, then python -m worker migrate'
                ELSE format('python -m worker migrate --remove --apply, then ALTER TABLE public.%s'
                            ' ALTER COLUMN %s TYPE %s, then python -m worker migrate', h.source, h.name, p.type) END,
           false
    FROM held h JOIN held p ON p.source = 'predictions' AND p.size > h.size
    WHERE h.is_whole AND p.is_whole AND h.source = 'prediction_outcomes'
$$;
REVOKE ALL ON FUNCTION
    source_made(p_table text),
    source_ids_wrong()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/12_source_ids.sql', 'd21f3cfabb4632f59c59a42b9040983fb29370d510bd19a566de333bf5567897')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
