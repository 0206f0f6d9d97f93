"""Any order of verbs, any stale token: the queue agrees with a small model of it in Python."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.sql.model import Event, Model
from tests.support import queue
from tests.support.clock import move_clock, stop_clock
from tests.support.db import Conn, value

MAX_ATTEMPTS, MAX_CRASHES = 3, 2
WORKERS = st.sampled_from(["one", "two"])
SYMBOLS = st.sampled_from(["AAPL", "BTC-USD"])
PICK = st.integers(0, 10_000)


class Queue(RuleBasedStateMachine):
    """Two workers and an operator on one queue; the clock stands, or moves by the hour."""

    conn: Conn  # of the test, set by a subclass

    def __init__(self) -> None:
        super().__init__()
        self.hours = 0
        self.model = Model()
        move_clock(self.conn, "0")
        self.conn.execute("TRUNCATE outbox, outbox_history")

    def ready(self, topic: str | None, *, suspect: bool) -> list[int]:
        due = self.conn.execute("SELECT id FROM outbox WHERE available_at <= reckoner_now()")
        return self.model.ready([row["id"] for row in due], topic, suspect=suspect)

    # What writers, workers and operators do.

    @rule(key=st.sampled_from("123"))
    def prediction(self, key: str) -> None:
        self.model.live[queue.add(self.conn, key=key)] = Event("prediction", key)

    @rule(symbol=SYMBOLS, named=st.booleans())
    def ticker(self, symbol: str, named: bool) -> None:
        there = self.model.waiting(symbol)
        written = queue.enqueue(self.conn, symbol, named=named)
        if there is None:
            newest = value(self.conn, "SELECT max(id) FROM outbox WHERE key = %s", [symbol])
            self.model.live[newest] = Event("ticker", symbol)
            assert written == 1
        elif named and self.model.live[there].status == "dead":
            self.model.live[there].reset()
            assert written == 1
        else:
            assert written == 0

    @rule(worker=WORKERS, topic=st.sampled_from(["prediction", "ticker"]), limit=st.integers(1, 4))
    def claim(self, worker: str, topic: str, limit: int) -> None:
        ready = self.ready(topic, suspect=False)
        rows = queue.claim(self.conn, topic, worker, limit)
        assert len(rows) == min(limit, len(ready))
        assert {row["id"] for row in rows} <= set(ready)
        self.model.taken(worker, sorted(rows, key=lambda row: int(row["lease"])))

    @rule(worker=WORKERS)
    def claim_suspect(self, worker: str) -> None:
        ready = self.ready(None, suspect=True)
        rows = queue.claim_crashed(self.conn, worker)
        assert len(rows) == min(1, len(ready))
        assert {row["id"] for row in rows} <= set(ready)
        self.model.taken(worker, rows)

    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        if claimed := self.model.picked(pick):
            held = self.model.holds(claimed)
            assert queue.lock(self.conn, claimed) == [claimed["id"]] * held
            assert queue.finish(self.conn, claimed) == [claimed["id"]] * held
            if held:
                self.model.end(claimed["id"], "done")

    @rule(pick=PICK)
    def fail(self, pick: int) -> None:
        if claimed := self.model.picked(pick):
            expected = None
            if self.model.holds(claimed):
                last = self.model.live[claimed["id"]].attempts + 1 >= MAX_ATTEMPTS
                expected = self.model.put_back(
                    claimed["id"], "dead" if last else "failed", attempts=1
                )
            assert queue.fail(self.conn, claimed, "boom", MAX_ATTEMPTS) == expected

    @rule(pick=PICK)
    def delay(self, pick: int) -> None:
        if claimed := self.model.picked(pick):
            held = self.model.holds(claimed)
            expected = self.model.put_back(claimed["id"], "pending") if held else None
            assert queue.delay(self.conn, claimed, "30 minutes") == expected

    @rule(worker=WORKERS)
    def release(self, worker: str) -> None:
        mine = self.model.in_processing(worker)
        for number in mine:
            self.model.put_back(number, "pending")
        assert sorted(queue.release(self.conn, worker)) == mine

    @rule()
    def an_hour_passes_and_leases_end(self) -> None:
        assert queue.expire(self.conn, MAX_CRASHES) == []
        self.hours += 1
        move_clock(self.conn, f"{self.hours} hours")
        expected = {}
        for number in self.model.in_processing():
            last = self.model.live[number].crashes + 1 >= MAX_CRASHES
            expected[number] = self.model.put_back(number, "dead" if last else "pending", crashes=1)
        rows = queue.expire(self.conn, MAX_CRASHES)
        assert {row["id"]: row["status"] for row in rows} == expected

    @rule(pick=PICK)
    def update_to_pending(self, pick: int) -> None:
        if number := self.model.one_live(pick):
            self.model.redriven(number)
            self.conn.execute("UPDATE outbox SET status = 'pending' WHERE id = %s", [number])

    @rule(pick=PICK)
    def requeue_finished(self, pick: int) -> None:
        if self.model.ended:
            number = sorted(self.model.ended)[pick % len(self.model.ended)]
            done = queue.finished(self.conn, number)
            there = self.model.waiting(done["key"]) if done["topic"] == "ticker" else None
            again = value(self.conn, "SELECT outbox_requeue(%s)", [number])
            assert again == there or again not in {**self.model.live, **self.model.ended}
            self.model.live[again] = Event(done["topic"], done["key"])

    @rule(pick=PICK)
    def park(self, pick: int) -> None:
        if number := self.model.one_live(pick):
            expected = "dead"
            if self.model.live[number].status == "processing":
                expected = self.model.put_back(number, "dead")
            else:
                self.model.live[number].status = "dead"
            assert value(self.conn, "SELECT outbox_park(%s, 'x')", [number]) == expected

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        if number := self.model.one_live(pick):
            self.model.end(number, "cancelled")
            assert value(self.conn, "SELECT outbox_cancel(%s, 'x')", [number]) == "cancelled"

    @invariant()
    def every_event_is_where_the_model_has_it(self) -> None:
        rows = self.conn.execute("SELECT * FROM outbox").fetchall()
        found = {
            row["id"]: Event(
                *(row[c] for c in ("topic", "key", "status", "attempts", "crashes", "leased_by"))
            )
            for row in rows
        }
        assert found == self.model.live
        history = self.conn.execute("SELECT id, verdict FROM outbox_history").fetchall()
        assert len(history) == len(self.model.ended)
        assert {row["id"]: row["verdict"] for row in history} == self.model.ended
        for row in rows:
            leased = (row["lease"] is not None, row["leased_until"] is not None)
            assert leased == (row["status"] == "processing",) * 2
        waiting = [r["key"] for r in rows if r["topic"] == "ticker" and r["status"] != "processing"]
        assert len(waiting) == len(set(waiting))


def test_the_queue_agrees_with_its_model(conn: Conn) -> None:
    stop_clock(conn)  # or a backoff ends between what is due and the claim
    machine = type("QueueOfThisTest", (Queue,), {"conn": conn})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
