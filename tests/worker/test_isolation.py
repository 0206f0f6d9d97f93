"""One event's error, and one row's lock, stop nothing else; what hits every event costs no attempt.

Without a process of its own: the lanes of `Inline` on the test's database.
"""

import contextlib
import datetime as dt
import time

import psycopg
import pytest

from sql.away import is_away
from sql.database import Database
from tests.support.db import Conn, connect, value
from tests.support.market import insert_prediction
from tests.support.providers import serving
from tests.support.queue import add, event
from tests.support.waiting import until
from tests.worker.checks import beat
from tests.worker.hindrances import owners_trigger, row_held
from tests.worker.inline import Inline
from worker import sweep
from worker.faults import Faults
from worker.settings import WorkerSettings
from worker.shutdown import Shutdown

PRICES = serving(lambda date: float(date.toordinal()))
# Every class that once meant "the database is away", and some that did not.
STATES = [
    "08006", "22012", "23514", "25006", "25P02", "40001", "40P01", "42501", "42703", "42804",
    "42883", "42P01", "53100", "53300", "53400", "55000", "55P03", "57014", "57P01", "57P03",
    "58030", "P0001", "P0004", "XX000", "XX001",
]  # fmt: skip


def inline(database: Database) -> Inline:
    """A worker that gives up where it would wait for ever."""
    return Inline(database, PRICES, shutdown=Shutdown(deadline=time.monotonic() + 60))


def due(conn: Conn) -> None:
    """Make what waits for a retry ready."""
    conn.execute(
        "UPDATE outbox SET available_at = now() - interval '1 s', status = status"
        " WHERE lease IS NULL AND status = 'failed'"
    )


def attempts(conn: Conn, topic: str = "prediction") -> dict[str, int]:
    """Attempts by key of what failed."""
    rows = conn.execute(
        "SELECT key, attempts FROM outbox WHERE topic = %s AND status = 'failed' ORDER BY id",
        [topic],
    )
    return {row["key"]: row["attempts"] for row in rows}


def done(conn: Conn, topic: str = "prediction") -> set[str]:
    rows = conn.execute("SELECT key FROM outbox_history WHERE topic = %s", [topic])
    return {row["key"] for row in rows}


@pytest.mark.parametrize("table", ["prediction_outcomes", "ticker_registry"])
def test_an_owners_trigger_that_fails_for_some_symbols_stops_no_other(
    conn: Conn, database: Database, table: str
) -> None:
    """In one batch; whatever the SQLSTATE says, the error is the event's own."""
    owners_trigger(conn, table)
    bad = {
        str(insert_prediction(conn, [symbol])): symbol
        for symbol in [*(f"X{state}" for state in STATES), "MISSING", "KILLER", "TSLA"]
    }
    good = {str(insert_prediction(conn, ["AAPL"])) for _ in range(12)}
    inline(database).step("prediction")
    assert done(conn) == good
    assert attempts(conn) == dict.fromkeys(bad, 1)
    errors = conn.execute("SELECT key, last_error FROM outbox WHERE topic = 'prediction'")
    told = {bad[row["key"]]: row["last_error"] for row in errors}
    assert all(told[f"X{state}"].endswith(f"not X{state}") for state in STATES), told
    assert told["MISSING"].startswith("UndefinedFunction")
    assert told["KILLER"].startswith("AdminShutdown")
    due(conn)
    insert_prediction(conn, ["AAPL"])
    inline(database).step("prediction")
    assert attempts(conn) == dict.fromkeys(bad, 2)


@pytest.mark.parametrize("state", ["25006", "40001", "42883", "53400", "55P03", "57014", "XX000"])
def test_the_only_event_that_fails_is_counted_and_in_the_end_parked(
    conn: Conn, database: Database, state: str
) -> None:
    owners_trigger(conn, "prediction_outcomes")
    number = str(insert_prediction(conn, [f"X{state}"]))
    worker = Inline(
        database, PRICES, max_attempts=2, shutdown=Shutdown(deadline=time.monotonic() + 60)
    )
    worker.step("prediction")
    assert attempts(conn) == {number: 1}
    due(conn)
    worker.step("prediction")
    found = event(conn, number, "prediction")
    assert found is not None
    assert (found["status"], found["attempts"]) == ("dead", 2)
    assert worker.faults.text is None


def test_a_ticker_that_cannot_be_stored_stops_no_other(conn: Conn, database: Database) -> None:
    owners_trigger(conn, "market_prices")
    symbols = ["X25006", "X40001", "X42P01", "X53400", "X57014", "MISSING", "KILLER", "TSLA"]
    for symbol in [*symbols, "AAPL", "GOOD"]:
        insert_prediction(conn, [symbol])
    worker = inline(database)
    worker.drain()
    assert done(conn, "ticker") == {"AAPL", "GOOD"}
    assert set(attempts(conn, "ticker")) == set(symbols)
    due(conn)
    add(conn, "ticker", "IBM")  # it passes, and so the others' failures are their own
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('IBM') ON CONFLICT DO NOTHING")
    worker.drain()
    assert done(conn, "ticker") == {"AAPL", "GOOD", "IBM"}
    assert min(attempts(conn, "ticker").values()) >= 1


@pytest.mark.parametrize(
    ("topic", "table"),
    [
        ("prediction", "prediction_outcomes"),
        ("prediction", "ticker_registry"),
        ("ticker", "prediction_outcomes"),
        ("ticker", "ticker_registry"),
        ("ticker", "market_prices"),
    ],
)
def test_a_row_that_someone_holds_delays_its_own_event(
    url: str, conn: Conn, database: Database, topic: str, table: str
) -> None:
    insert_prediction(conn, ["TSLA"])
    insert_prediction(conn, ["AAPL"])
    worker = inline(database)
    worker.drain()
    # A statement of the owner's makes the prediction's row of the registry be written again.
    conn.execute("UPDATE market_prices SET close = close / 2")
    conn.execute("DELETE FROM outbox_history")
    if topic == "prediction" and table == "ticker_registry":
        conn.execute(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM FROM ticker_registry WHERE symbol = NEW.symbol FOR UPDATE; RETURN NEW; END $$;"
            " CREATE TRIGGER touch BEFORE INSERT ON prediction_outcomes"
            " FOR EACH ROW EXECUTE FUNCTION touch()"
        )
    with row_held(url, table, "TSLA") as holder:
        conn.execute("DELETE FROM outbox")
        keys = ["TSLA", "AAPL"]
        if topic == "prediction":
            keys = [str(insert_prediction(conn, [symbol])) for symbol in keys]
            if table == "prediction_outcomes":  # of rows that are there
                conn.execute("DELETE FROM outbox")
                keys = ["1", "2"]
        for key in keys:
            if table == "prediction_outcomes" or topic == "ticker":
                add(conn, topic, key, payload='{"refetch": true}')
        worker.step(topic)
        assert done(conn, topic) == {keys[1]}
        held = event(conn, keys[0], topic)
        assert held is not None
        assert (held["status"], held["attempts"], held["crashes"]) == ("failed", 0, 0)
        words = "pid {} (role {}, forgotten psql)".format(
            holder.info.backend_pid, value(holder, "SELECT current_user")
        )

        def is_named() -> bool:
            """The holder is asked for while the event waits; a slow machine may need a second try."""
            stuck = "SELECT reason FROM outbox_stuck WHERE (topic, key) = (%s, %s)"
            if words in str(value(conn, stuck, [topic, keys[0]])):
                return True
            due(conn)
            worker.step(topic)
            return False

        until("the holder is named", is_named, 60)
        held = event(conn, keys[0], topic)
        assert held is not None
        assert held["attempts"] == 0
    due(conn)
    worker.step(topic)
    assert done(conn, topic) == set(keys)


# What breaks every event, and what mends it.
BROKEN = {
    "a column": (
        "ALTER TABLE prediction_outcomes RENAME COLUMN pnl_t30 TO gone",
        "ALTER TABLE prediction_outcomes RENAME COLUMN gone TO pnl_t30",
    ),
    "a function of the handler": (
        "ALTER FUNCTION registry_register(text[], bigint[]) RENAME TO gone",
        "ALTER FUNCTION gone(text[], bigint[]) RENAME TO registry_register",
    ),
    "the end of an event": (
        "ALTER TABLE outbox_history RENAME COLUMN verdict TO gone",
        "ALTER TABLE outbox_history RENAME COLUMN gone TO verdict",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("events", [1, 5])
def test_what_fails_for_no_event_as_well_costs_none_an_attempt(
    conn: Conn, database: Database, what: str, events: int
) -> None:
    broken, mended = BROKEN[what]
    numbers = [str(insert_prediction(conn, ["AAPL"])) for _ in range(events)]
    conn.execute(broken.encode())
    worker = inline(database)
    for _ in range(3):
        assert worker.step("prediction") == events
        assert attempts(conn) == dict.fromkeys(numbers, 0)
        due(conn)
    assert worker.faults.text is not None
    assert worker.faults.text.startswith("prediction events: the last ")
    assert "Undefined" in worker.faults.text
    conn.execute(mended.encode())
    worker.step("prediction")
    assert done(conn) == set(numbers)
    assert worker.faults.text is None


def test_what_all_fail_alike_is_theirs_only_once_another_passes(
    conn: Conn, database: Database
) -> None:
    owners_trigger(conn, "prediction_outcomes")
    bad = [str(insert_prediction(conn, ["TSLA"])) for _ in range(4)]
    worker = inline(database)
    for _ in range(3):
        worker.step("prediction")
        assert attempts(conn) == dict.fromkeys(bad, 0)
        due(conn)
    assert worker.faults.text is not None
    assert "not TSLA" in worker.faults.text
    # Of another worker, and before they are tried again.
    conn.execute("UPDATE outbox SET available_at = now() + interval '1 hour'")
    insert_prediction(conn, ["AAPL"])
    inline(database).step("prediction")
    for counted in (1, 2):
        due(conn)
        worker.step("prediction")
        assert attempts(conn) == dict.fromkeys(bad, counted)


def test_a_batch_is_split_within_a_bounded_number_of_transactions(
    conn: Conn, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners_trigger(conn, "prediction_outcomes")
    conn.execute(
        "INSERT INTO predictions (assets, analysis_status, post_timestamp)"
        " SELECT jsonb_build_array(CASE WHEN n = 77 THEN 'TSLA' ELSE 'AAPL' END), 'completed',"
        " '2024-03-05 15:00+00' FROM generate_series(1, 256) n"
    )
    worker = inline(database)
    isolation = worker.lanes["prediction"]._isolation  # noqa: SLF001 - what it does is counted
    tries: list[int] = []
    attempt = isolation._try  # noqa: SLF001

    def counted(context: object, claims: list[object]) -> BaseException | None:
        tries.append(len(claims))
        return attempt(context, claims)  # type: ignore[arg-type]

    monkeypatch.setattr(isolation, "_try", counted)
    worker.step("prediction")
    assert len(done(conn)) == 255
    assert list(attempts(conn).values()) == [1]
    assert len(tries) == 1 + 2 * 8  # two halves of each of eight sizes


def test_events_that_are_not_tried_in_time_are_handed_back(
    conn: Conn, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.queue.isolation._SPLIT_SECONDS", 0)
    owners_trigger(conn, "prediction_outcomes")
    for symbol in ["TSLA", "AAPL", "TSLA", "AAPL"]:
        insert_prediction(conn, [symbol])
    inline(database).step("prediction")
    # The first half of four failed; of the first two events TSLA is alone, and nothing else was tried.
    rows = conn.execute(
        "SELECT status, attempts FROM outbox WHERE topic = 'prediction' ORDER BY key"
    )
    assert [tuple(row.values()) for row in rows] == [("failed", 1), *[("pending", 0)] * 3]
    inline(database).drain()
    assert len(done(conn)) == 2


def test_the_probe_tells_a_read_only_database_from_a_trigger_that_says_so(
    conn: Conn, database: Database
) -> None:
    error = psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT")
    assert not is_away(database, error)
    assert value(conn, "SELECT count(*) FROM reckoner_workers") == 0
    mark = "&" if "?" in database.url else "?"
    url = f"{database.url}{mark}options=-cdefault_transaction_read_only%3Don"
    with Database(url) as other:
        assert is_away(other, error)
        assert not is_away(other, psycopg.errors.UndefinedFunction("no such function"))
    assert is_away(Database("postgresql://127.0.0.1:1/nowhere"), psycopg.OperationalError("gone"))


def test_a_locked_event_withholds_no_heartbeat(url: str, conn: Conn) -> None:
    beat(conn)
    for key in ("1", "2"):
        add(conn, key=key)
    conn.execute("SELECT outbox_claim('prediction', 'w', 10, 1)")
    with connect(url) as holder, holder.transaction():
        holder.execute("SELECT FROM outbox WHERE key = '1' FOR UPDATE")
        conn.execute("SET lock_timeout = '1s'")
        conn.execute("SELECT worker_heartbeat('w', 'host', 42, 'notify', 0, 3600, NULL, now())")
        assert value(conn, "SELECT in_flight FROM reckoner_workers") == 2
        renewed = "SELECT key FROM outbox WHERE leased_until > now() + interval '30 minutes'"
        assert [row["key"] for row in conn.execute(renewed.encode())] == ["2"]
        assert value(conn, "SELECT count(*) FROM outbox_release('w')") == 1


def test_a_part_of_the_sweep_that_fails_stops_no_other(conn: Conn, database: Database) -> None:
    conn.execute("ALTER FUNCTION sweep_changed(integer, integer) RENAME TO gone")
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER USER")
    insert_prediction(conn, ["AAPL"])
    faults = Faults()
    found = sweep.once(database, WorkerSettings(), faults=faults)
    assert found is not None
    assert (found["forgotten"], found["changed"], found["due"]) == (1, None, 0)
    assert str(faults.text).startswith("sweeping (changed): UndefinedFunction")
    conn.execute("ALTER FUNCTION gone(integer, integer) RENAME TO sweep_changed")
    sweep.once(database, WorkerSettings(), faults=faults)
    assert faults.text is None


@pytest.mark.parametrize("fault", ["trigger", "lock"])
def test_an_outcome_that_the_sweep_cannot_fill_gets_an_event_and_the_others_are_filled(
    url: str, conn: Conn, database: Database, fault: str
) -> None:
    for symbol in ("AAPL", "X57014", "X42883", "ZION"):
        insert_prediction(conn, [symbol], moment=dt.datetime.now(dt.UTC) - dt.timedelta(days=59))
    inline(database).step("prediction")
    conn.execute("DELETE FROM outbox")
    conn.execute("UPDATE ticker_registry SET status = 'inactive'")
    conn.execute("DELETE FROM outbox")
    conn.execute(
        "UPDATE prediction_outcomes SET outcome_state = 'awaiting_prices', due_at = now() - interval '1 h'"
    )
    with contextlib.ExitStack() as stack:
        if fault == "trigger":
            owners_trigger(conn, "prediction_outcomes")
        else:
            stack.enter_context(row_held(url, "prediction_outcomes", "X42883"))
        for _ in range(2):  # a cancelled statement ends the part, which is gone on with
            found = sweep.once(database, WorkerSettings())
            assert found is not None
            assert found["due"] is not None
    rows = conn.execute("SELECT key FROM outbox WHERE topic = 'ticker' ORDER BY key")
    failed = ["X42883", "X57014"] if fault == "trigger" else ["X42883"]
    assert [row["key"] for row in rows] == failed
    left = conn.execute(
        "SELECT symbol FROM prediction_outcomes WHERE outcome_state = 'awaiting_prices' ORDER BY 1"
    )
    assert [row["symbol"] for row in left] == failed
