"""Sequences behind their table, as after logical replication: moved where they are ours, else named."""

from pathlib import Path

import pytest

from sql.database import Database
from sql.schema.catalogue import recorded
from tests.support.backends import backends
from tests.support.db import Conn, connect, value
from tests.support.market import bars, insert_prediction, until_complete
from tests.support.process import Start
from tests.support.queue import add, claim_one, finish
from worker import sweep
from worker.settings import WorkerSettings

OWNERS = """
    ALTER TABLE market_prices ALTER COLUMN id DROP IDENTITY;
    CREATE SEQUENCE market_prices_serial OWNED BY market_prices.id;
    ALTER TABLE market_prices ALTER COLUMN id SET DEFAULT nextval('market_prices_serial')"""


def behind(conn: Conn) -> dict[str, bool]:
    """The tables whose sequence is behind, and whether it is ours to move."""
    rows = conn.execute("SELECT source, is_ours FROM sequences_behind()")
    return {row["source"]: row["is_ours"] for row in rows}


def mend(conn: Conn) -> int:
    return int(value(conn, "SELECT sequences_mend()"))


def test_every_sequence_of_ours_is_watched(conn: Conn) -> None:
    """A later table must be added to sequences_behind()."""
    tables = {
        item.parent for item in recorded() if item.kind == "column" and item.detail["identity"]
    }
    for table in tables:
        conn.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 5)".encode())
    text = value(conn, "SELECT prosrc FROM pg_proc WHERE proname = 'sequences_behind'")
    assert {table for table in tables if f"'{table}'" not in text} == set()


@pytest.mark.parametrize("gap", [3, 50_000])
def test_ids_of_events_that_history_has_are_not_given_again(conn: Conn, gap: int) -> None:
    first = add(conn, key="1")
    conn.execute("UPDATE outbox SET id = id + %s", [gap])
    finish(conn, claim_one(conn))
    assert behind(conn) == {"outbox_history": True}
    assert mend(conn) == 1
    assert behind(conn) == {}
    assert mend(conn) == 0
    assert add(conn, key="2") == first + gap + 1
    finish(conn, claim_one(conn))


def test_tokens_are_never_given_again(conn: Conn) -> None:
    add(conn)
    lease = claim_one(conn)["lease"]
    conn.execute("SELECT setval('outbox_lease', 1, false)")
    assert behind(conn) == {"outbox": True}
    mend(conn)
    assert value(conn, "SELECT nextval('outbox_lease')") == lease + 1


def test_a_sequence_that_gave_no_number_yet(conn: Conn) -> None:
    conn.execute(
        "INSERT INTO price_jobs (id, kind, range_from, range_to, priority) VALUES (7, 'backfill', now(), now(), 0)"
    )
    assert mend(conn) == 1
    assert value(conn, "SELECT nextval(pg_get_serial_sequence('price_jobs', 'id'))") == 8


def test_the_owners_sequence_is_named_and_left(conn: Conn) -> None:
    conn.execute(OWNERS.encode())
    conn.execute(
        "INSERT INTO market_prices (id, symbol, date, close)"
        " VALUES (1, 'A', '2024-01-02', 1), (2, 'B', '2024-01-02', 1)"
    )
    insert = "INSERT INTO predictions (id, assets) VALUES (%s, '[]')"
    conn.execute(
        insert,
        [
            value(
                conn,
                "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('predictions', 'id')::regclass), 0)",
            )
            + 1
        ],
    )
    assert behind(conn) == {"market_prices": False, "predictions": False}
    assert mend(conn) == 0
    health = value(
        conn, "SELECT message FROM reckoner_health() WHERE name = 'sequences' AND state = 'fail'"
    )
    assert "market_prices has 2: SELECT setval('market_prices_serial', 2)" in health
    conn.execute("SELECT setval('market_prices_serial', 2)")
    assert behind(conn) == {"predictions": False}


def test_a_number_chosen_by_hand_far_away_is_no_fault(conn: Conn) -> None:
    """Or moving the sequence there would make it the last: whoever inserts may choose the id."""
    conn.execute("INSERT INTO predictions (id, assets) VALUES (2147483647, '[]')")
    conn.execute("INSERT INTO ticker_registry (id, symbol) VALUES (2147483647, 'FAR')")
    assert behind(conn) == {}
    conn.execute(
        "INSERT INTO outbox (id, topic, key) VALUES (9223372036854775807, 'prediction', '1')"
    )
    assert behind(conn) == {"outbox": False}


def test_a_sequence_shared_with_another_server_is_left(conn: Conn) -> None:
    conn.execute(
        "INSERT INTO price_jobs (id, kind, range_from, range_to, priority) VALUES (7, 'backfill', now(), now(), 0)"
    )
    conn.execute("ALTER TABLE price_jobs ALTER COLUMN id SET INCREMENT 2")
    assert behind(conn) == {}


def test_two_that_mend_take_no_number_back(url: str, conn: Conn) -> None:
    add(conn)
    conn.execute("UPDATE outbox SET id = id + 5000")
    with backends(url, 2) as (one, two):
        one.conn.execute("SELECT sequences_mend()")
        ids = [add(conn, key=str(n)) for n in range(3)]
        done = two.start(lambda other: other.execute("SELECT sequences_mend() AS n").fetchone())
        assert done.result(30) == {"n": 0}
        one.end("COMMIT")
    assert add(conn) == ids[-1] + 1


def test_the_sweep_goes_on_and_a_dry_run_moves_nothing(conn: Conn, database: Database) -> None:
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    for key in "56789":
        add(conn, key=key)
    conn.execute("SELECT setval(pg_get_serial_sequence('outbox', 'id'), 1, false)")
    insert_prediction(conn, ["GOOD"])
    dry = sweep.once(database, WorkerSettings(), dry_run=True)
    assert dry is not None
    assert dry["sequences"] == 1
    assert behind(conn) == {"outbox": True}
    found = sweep.once(database, WorkerSettings())
    assert found is not None
    assert (found["sequences"], found["forgotten"]) == (1, 1)


def test_a_worker_that_starts_moves_them(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    conn.execute("SELECT setval('outbox_lease', 900)")
    for number in (2, 6):  # the writer's event gets the 2 again
        conn.execute("UPDATE outbox SET id = %s WHERE id = %s", [number, add(conn, key="9")])
        finish(conn, claim_one(conn))
    conn.execute("SELECT setval(pg_get_serial_sequence('outbox', 'id'), 1)")
    with connect(url) as writer:
        insert_prediction(writer, ["GOOD"])
    assert start_worker("run", "--drain").process.wait(60) == 0
    until_complete(conn, 1)
    assert value(conn, "SELECT count(*) FROM outbox") == 0


def test_an_event_that_failed_for_its_id_gets_another(conn: Conn) -> None:
    number = add(conn, key="9")
    finish(conn, claim_one(conn))
    conn.execute("INSERT INTO outbox (id, topic, key, status, last_error) VALUES"
                 " (%s, 'prediction', '1', 'failed', 'violates \"outbox_history_pkey\"')", [number])  # fmt: skip
    assert mend(conn) == 0
    assert value(conn, "SELECT id FROM outbox") == number + 1
