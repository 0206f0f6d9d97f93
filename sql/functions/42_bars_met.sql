BEGIN;
-- Outcomes that are computed while their bars change. A batch reads bars and writes outcomes of new
-- predictions; a store writes bars and fills the outcomes that it sees. Neither sees what the other has
-- not committed, so an outcome could keep a close that was replaced, for good and without a trace:
--
--   batch                                store
--   1. bars_reading(): try shared        a. bars_writing(): try exclusive
--   2. read bars, write outcomes         b. write bars, fill the outcomes that are seen
--   3. commit, which releases            c. commit, which releases
--
-- Nobody waits. A lock that is refused says that the other is under way, and whoever is refused leaves a
-- note in outcome_refills, in its own transaction. Why no outcome is missed. Take a batch B and a store S
-- of one symbol.
--   * S committed before 1: B reads the new bars.
--   * B committed before a: the fill sees B's outcomes. Locks go after the commit is visible.
--   * Otherwise both are between lock and commit at one moment, and the second to lock is refused.
-- sweep_refill() (60_sweep.sql) fills what the notes name, when it gets the lock exclusive: then neither
-- a batch nor a store of the symbol is under way, and what they wrote is visible.
--
-- The locks are advisory ones, 128 for all symbols, because a batch may name thousands and the server has
-- room for 64 each transaction. Two symbols with one lock cost a note too many. Any role can hold these
-- locks: then each batch leaves notes, and nothing stops.
--
-- Rows that exist need no lock: whoever fills them locks them, and reads the bars behind that. What no
-- function of ours writes, as an UPDATE of market_prices by hand, is found by sweep_restated().
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The number of a symbol's lock, behind those of 05_locks.sql. A symbol's number may differ between
-- versions of PostgreSQL: it is not stored.
CREATE OR REPLACE FUNCTION bars_lock(p_symbol text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT 1000 + (hashtext(p_symbol) & 127)
$$;

-- Called before bars are read to write outcomes of these predictions and symbols, which belong together
-- by position. Notes those whose bars are about to change.
CREATE OR REPLACE FUNCTION bars_reading(p_prediction_ids bigint[], p_symbols text[]) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
    v_refused integer[];
BEGIN
    WITH lock AS MATERIALIZED (
        SELECT DISTINCT bars_lock(symbol) AS number FROM unnest(p_symbols) AS symbol WHERE symbol IS NOT NULL
    ), tried AS MATERIALIZED (
        SELECT l.number, pg_try_advisory_xact_lock_shared(1380271947, l.number) AS got FROM lock l
    )
    SELECT array_agg(t.number) INTO v_refused FROM tried t WHERE NOT t.got;
    IF v_refused IS NOT NULL THEN
        INSERT INTO outcome_refills (symbol, prediction_ids, since)
        SELECT k.symbol, array_agg(DISTINCT k.id), pg_snapshot_xmin(pg_current_snapshot())
        FROM unnest(p_prediction_ids, p_symbols) AS k(id, symbol)
        WHERE bars_lock(k.symbol) = ANY (v_refused)
        GROUP BY k.symbol;
    END IF;
END
$$;

-- Called when a symbol's bars change, or what else its outcomes follow from, before they are filled.
CREATE OR REPLACE FUNCTION bars_writing(p_symbol text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(1380271947, bars_lock(p_symbol)) THEN
        INSERT INTO outcome_refills (symbol, since)
        VALUES (p_symbol, pg_snapshot_xmin(pg_current_snapshot()));
    END IF;
END
$$;
REVOKE ALL ON FUNCTION
    bars_lock(p_symbol text),
    bars_reading(p_prediction_ids bigint[], p_symbols text[]),
    bars_writing(p_symbol text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/42_bars_met.sql', 'b642caec3ef8ee6f75d9ff7ca63815d1c628e9374ef06be35c5aa73fca5299d6')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
