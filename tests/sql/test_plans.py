"""What the hot statements cost after years: as much as on the first day, counted in blocks and rows.

Not by time, and not by plans: functions hide theirs. Each statement is run as often as it takes
PL/pgSQL to settle for a generic plan, as in a worker's session that lives for days.
"""

from collections.abc import Iterator
from dataclasses import astuple

import pytest

from tests.sql.big import HISTORY, OPEN, OUTCOMES, PREDICTIONS, SYMBOLS, Reads, load, reads
from tests.support.db import Conn, shared_database, value

# The statement, about the {last} prediction, its {symbol} or the last event in {history}; the most
# blocks that it may read, and rows of the big tables. A scan of one of these reads 7,000 blocks,
# a walk over one topic of the outbox some 150.
BOUNDS = {
    "claim": ("SELECT * FROM outbox_claim('prediction', 'w', 10, 60)", 300, 0),
    "claim, none ready": ("SELECT * FROM outbox_claim('ticker', 'w', 4, 60)", 100, 0),
    "claim suspect": ("SELECT * FROM outbox_claim_crashed('w', 60)", 100, 0),
    "next at": ("SELECT outbox_next_at(ARRAY['prediction', 'ticker'])", 100, 0),
    "finish": ("""SELECT outbox_finish('[{{"id": 1, "lease": 1, "verdict": "done", "result": {{}}}}]')""", 300, 0),
    "process": ("SELECT * FROM outcomes_process(ARRAY[{last}], 365)", 350, 30),
    "process ten": ("SELECT * FROM outcomes_process(ARRAY(SELECT {last} - n FROM generate_series(0, 9) n), 365)",
                    2600, 300),
    "fill": ("SELECT outcomes_fill(ARRAY[{last}], ARRAY['{symbol}'])", 300, 30),
    "fill symbol": ("SELECT outcomes_fill_symbol('{symbol}', false)", 300, 30),
    "fill due": ("SELECT outcomes_fill_due('{symbol}')", 300, 30),
    "ticker plan": ("SELECT * FROM ticker_plan('S3', 365, false)", 300, 30),
    "ticker plan, open": ("SELECT * FROM ticker_plan('{symbol}', 365, false)", 300, 30),
    "coverage holes": ("SELECT * FROM coverage_holes('S3', '1d', 'XNYS', '2010-01-01', '2025-12-31')", 100, 0),
    "coverage holes, many": ("SELECT * FROM coverage_holes('S3', '5m', 'XNYS', '2024-01-01', '2024-12-31')", 500, 0),
    "coverage add": ("SELECT coverage_add('S3', '1d', '2010-01-01', '2010-12-31', 'test')", 100, 0),
    "sweep due": ("SELECT sweep_due()", 50 * OPEN, 10 * OPEN),
    "sweep forgotten": ("SELECT sweep_forgotten(10)", 2000, 100),
    "sweep changed": ("SELECT sweep_changed(10)", 2000, 200),
    "sweep unfetched": ("SELECT sweep_unfetched()", 300, 0),
    "sweep prune, nothing": ("SELECT sweep_prune(30)", 300, 10),
    "sweep prune": ("SELECT sweep_prune(15)", 100_000, 50_000),
    "enqueue": ("SELECT * FROM enqueue_predictions(100000, 10, NULL, false)", 2000, 60),
    "enqueue, dry": ("SELECT * FROM enqueue_predictions(100000, 10, NULL, true)", 2000, 60),
    "requeue": ("SELECT outbox_requeue({history})", 300, 10),
    "insert": ("INSERT INTO predictions (assets) VALUES ('[\"S1\"]')", 300, 10),
    "explain": ("SELECT * FROM explain_prediction({last})", 6000, 200),
    "explain event": ("SELECT * FROM explain_event({history})", 2000, 10),
    "stuck": ("SELECT * FROM outbox_stuck LIMIT 1", 4000, 0),
    "status": ("SELECT * FROM outbox_status", 4000, 0),
    # One row of each table that has a sequence.
    "health": ("SELECT * FROM reckoner_health()", 4000, 20),
    "sequences": ("SELECT * FROM sequences_behind()", 600, 20),
    "sweep restated": ("SELECT sweep_restated(100)", 20000, 600),
    "sweep snapshots": ("SELECT snapshots_walk(50, '1', 'SPY')", 2000, 0),
    "snapshots due": ("SELECT snapshots_due(25)", 20, 0),
    "snapshot store": ("""SELECT * FROM snapshot_store('[{{"symbol": "S3", "bars_digest": 1}}]')""", 200, 0),
    "sweep refill, nothing": ("SELECT sweep_refill()", 20, 0),
    "watch": ("SELECT watch_page(30)", 4000, 200),
    "metrics": ("SELECT * FROM reckoner_metrics('w')", 4000, 0),
}  # fmt: skip

# Statements that lose their bound without an index.
INDEXES = {
    "prediction_outcomes_prediction_id_symbol_key": "fill",
    "prediction_outcomes_symbol": "ticker plan",
    "outbox_history_key": "sweep forgotten",
    "outbox_history_finished": "sweep prune, nothing",
    "outbox_history_pkey": "requeue",
    "price_coverage_pkey": "coverage holes",
}


@pytest.fixture(scope="module")
def years(server_url: str, template: str) -> Iterator[Conn]:
    """The big database, for all tests of this file: what they change they roll back."""
    with shared_database(server_url, template) as conn:
        load(conn)
        yield conn


def statement_of(name: str) -> str:
    return BOUNDS[name][0].format(
        last=PREDICTIONS, history=HISTORY, symbol=f"S{PREDICTIONS % SYMBOLS}"
    )


def worst(conn: Conn, statement: str) -> Reads:
    """The most that a settled session reads; each run finds the same, the first only warms up.

    One more may have to plan anew, because the server has told it to forget: it reads the catalogs,
    and an index's last row for the sake of an estimate. What a session settles for is seen in several.
    """
    found = []
    with conn.transaction(force_rollback=True):
        # It serves metrics: another would be told none.
        conn.execute("SELECT worker_heartbeat('w', 'host', 1, 'notify', 0, 60, NULL, NULL, true)")
        for _ in range(8):
            with conn.transaction(force_rollback=True):
                found.append(reads(conn, statement))
    blocks, rows, scans = (sorted(each) for each in zip(*map(astuple, found[1:]), strict=True))
    return Reads(blocks[-2], rows[-2], scans[-1])


def test_what_forbids_plans_is_never_compiled(years: Conn) -> None:
    # Before PostgreSQL 18 a plan that had to be taken all the same counts as immensely dear.
    forbidding = (
        "SELECT array_agg(proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND array_to_string(proconfig, ' ') LIKE '%enable_%=off%'"
    )
    assert len(value(years, forbidding)) > 5
    assert value(years, f"{forbidding} AND NOT 'jit=off' = ANY (proconfig)") is None


def test_the_tables_are_big(years: Conn) -> None:
    for table, rows, blocks in [
        ("outbox_history", HISTORY, 20_000),
        ("prediction_outcomes", OUTCOMES, 15_000),
        ("predictions", PREDICTIONS, 5_000),
    ]:
        assert value(years, f"SELECT count(*) FROM {table}") == rows  # noqa: S608
        assert value(years, "SELECT relpages FROM pg_class WHERE relname = %s", [table]) > blocks


@pytest.mark.parametrize("name", BOUNDS)
def test_what_a_statement_reads_is_bounded(years: Conn, name: str) -> None:
    _, blocks, rows = BOUNDS[name]
    found = worst(years, statement_of(name))
    assert found.scans == 0, found
    assert found.blocks <= blocks, found
    assert found.rows <= rows, found


@pytest.mark.parametrize(("index", "name"), INDEXES.items())
def test_without_its_index_it_is_not(years: Conn, index: str, name: str) -> None:
    tables = ("outbox_history", "price_coverage", "prediction_outcomes")
    table = next(name for name in tables if index.startswith(name))
    if index == "outbox_history_key" and years.info.server_version < 160000:
        pytest.skip("15 finds a way of its own that is as short")
    is_constraint = index.endswith(("symbol_key", "pkey"))
    with years.transaction(force_rollback=True):
        years.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT {index}".encode()
            if is_constraint
            else f"DROP INDEX {index}".encode()
        )
        # Or a scan begins where another one ended, which may be just where the row is.
        years.execute("SET LOCAL synchronize_seqscans = off")
        assert reads(years, statement_of(name)).blocks > BOUNDS[name][1]


def test_a_sweep_does_not_scan_a_bulk_backlog_for_each_outcome(years: Conn) -> None:
    with years.transaction(force_rollback=True):
        years.execute("DELETE FROM outbox WHERE topic = 'ticker' AND key NOT LIKE 'T1__'")
        years.execute("ANALYZE outbox")
        outbox = value(years, "SELECT pg_relation_size('outbox') / 8192")
        assert worst(years, statement_of("sweep due")).blocks < BOUNDS["sweep due"][1] + 5 * outbox


@pytest.mark.parametrize("part", ["sweep_forgotten", "sweep_changed"])
def test_a_sweep_costs_as_much_as_it_looks_at(years: Conn, part: str) -> None:
    few = worst(years, f"SELECT {part}(100)")
    many = worst(years, f"SELECT {part}(1000)")
    assert many.scans == 0
    assert many.blocks < 15 * few.blocks
    assert many.rows <= 6 * 2000  # both stretches: a prediction twice, its outcomes or its history
