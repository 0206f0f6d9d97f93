"""Workers that are stopped past their lease, work longer than it, or die of an event each time."""

import signal
from pathlib import Path

from tests.chaos.safeguards import BOTH, promised, take_out
from tests.chaos.world import LEASE_SECONDS, World
from tests.support.db import Conn, value
from tests.support.hanging import HangingTicker
from tests.support.market import bars, everything, insert_prediction
from tests.support.process import LASTING, WorkerProcess, freeze_between_heartbeats
from tests.support.queue import event, history, until_done, until_processing
from tests.support.waiting import until

_LOST = "lease ended without a verdict"


@BOTH
def test_a_worker_stopped_past_its_lease_changes_nothing_when_it_goes_on(
    world: World, tmp_path: Path, kept: bool
) -> None:
    conn = world.conn
    if not kept:
        take_out(conn, "fencing")
    slow = HangingTicker(world.bars)
    [sleeper] = world.start_ready()
    insert_prediction(conn, ["SLOW"], {"SLOW": "bullish"})
    held = until_processing(conn, "SLOW")
    slow.until_asked()
    again = HangingTicker(tmp_path / "again")
    slow.replace(tmp_path / "again" / "SLOW.csv")

    freeze_between_heartbeats(conn, sleeper)
    # Only the first lease is to end.
    other = world.start(**LASTING)
    other.wait_for("retrying alone", id=held["id"], crashes=1)
    again.until_asked()
    before = everything(conn)[:3]
    sleeper.signal(signal.SIGCONT)
    # What it has to store are other prices than those that the second worker will read.
    slow.answer(bars(conn, tmp_path, "OTHER", start=500.0).read_text())
    sleeper.wait_for("ticker processed", id=held["id"])
    with promised(kept):
        assert sleeper.saw("ticker processed", id=held["id"], result="lease lost")
        assert everything(conn)[:3] == before

    again.answer(bars(conn, tmp_path, "RIGHT").read_text())
    other.wait_for("ticker processed", id=held["id"])
    if kept:
        until_done(conn, "SLOW")
        assert [(row["verdict"], row["crashes"]) for row in history(conn, "SLOW")] == [("done", 1)]
        slow.replace(bars(conn, tmp_path, "SLOW"))
        world.check()


@BOTH
def test_work_that_takes_longer_than_a_lease_stays_with_its_worker(
    world: World, kept: bool
) -> None:
    conn = world.conn
    if not kept:
        take_out(conn, "renewal")
    slow = HangingTicker(world.bars)
    [first] = world.start_ready()
    insert_prediction(conn, ["SLOW"], {"SLOW": "bullish"})
    held = until_processing(conn, "SLOW")
    slow.until_asked()
    [other] = world.start_ready()
    with promised(kept):
        until(
            "three leases are over, or someone else has it",
            lambda: (
                other.saw(_LOST)
                or first.saw(_LOST)
                or _renewed_for(conn, held["claimed_at"]) > 3 * LEASE_SECONDS
            ),
            60,
        )
        now = event(conn, "SLOW")
        assert now is not None
        assert (now["lease"], now["crashes"]) == (held["lease"], 0)
    if kept:
        slow.answer(bars(conn, world.bars.parent, "OTHER").read_text())
        until_done(conn, "SLOW")
        assert [row["crashes"] for row in history(conn, "SLOW")] == [0]


def _renewed_for(conn: Conn, since: object) -> float:
    query = "SELECT coalesce(extract(epoch FROM max(leased_until) - %s), 0)::float8 FROM outbox"
    return float(value(conn, query, [since]))


@BOTH
def test_an_event_that_kills_its_worker_every_time_is_parked_and_the_others_go_on(
    world: World, kept: bool
) -> None:
    conn = world.conn
    settings = {} if kept else {"WORKER_MAX_CRASHES": "1000"}
    poison = HangingTicker(world.bars, "POISON")
    workers = world.start_ready(2, **settings)
    writer = world.writer(operator=False, pause=0.05)
    with writer.working():
        insert_prediction(conn, ["POISON"], {"POISON": "bearish"})
        leases: set[int] = set()
        for _ in range(3):
            victim, lease = until("the poison works", lambda: _holder(conn, workers, leases), 30)
            leases.add(lease)
            victim.kill()
            workers.append(world.start(**settings))
        with promised(kept):
            until(
                "it is parked, or kills once more",
                lambda: _parked(conn) or _holder(conn, workers, leases),
                30,
            )
            assert _parked(conn)
        writer.until_more(20)
    if not kept:
        return
    reason = value(conn, "SELECT reason FROM outbox_stuck WHERE status = 'dead'")
    assert "its worker died 3 times while processing it" in reason
    assert world.check_health()["dead"][0] == "warn"
    # Once its cause is mended it goes through like the others.
    poison.replace(bars(conn, world.folder, "POISON"))
    assert value(conn, "SELECT outbox_requeue_dead()") == 1
    world.check(writer)


def _parked(conn: Conn) -> int:
    return int(value(conn, "SELECT count(*) FROM outbox WHERE status = 'dead'"))


def _holder(
    conn: Conn, workers: list[WorkerProcess], known: set[int]
) -> tuple[WorkerProcess, int] | None:
    """Who works on the poison now, under a lease that was not seen before."""
    row = event(conn, "POISON")
    if row is None or row["lease"] is None or row["lease"] in known:
        return None
    number = int(row["leased_by"].split(":")[1])
    return next((w, row["lease"]) for w in workers if w.process.pid == number)
