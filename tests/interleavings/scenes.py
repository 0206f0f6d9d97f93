"""Scenes: who takes part in an order, and what the database holds before it.

PAIRS are small, so that all orders there are can be run; the others are run in random orders. Project
code are the workers' threads; writers, operators and DBAs are plain SQL.
"""

from collections.abc import Callable

from tests.interleavings.stage import Stage, insert, update

Scene = Callable[[Stage], None]

REFETCH = "SELECT outbox_requeue_ticker('AAA')"


# Pairs: two at a time, each a few statements.


def batch_and_store(stage: Stage) -> None:
    """A new prediction is processed while a revised close of its symbol is stored."""
    stage.world.know(["AAA"])
    stage.have(insert(["AAA"]), REFETCH)
    stage.world.revise()
    one, two = stage.worker("w1"), stage.worker("w2")
    stage.thread(one, one.claimed("prediction"))
    stage.thread(two, two.claimed("ticker"))


def batch_and_update(stage: Stage) -> None:
    """A prediction is changed while it is processed."""
    stage.world.know(["AAA", "ZZZ"])
    stage.have(insert(["AAA"]))
    worker = stage.worker("w1")

    def twice() -> None:
        worker.turn("prediction")
        worker.turn("prediction")

    stage.thread(worker, twice)
    stage.plain("writer", "BEGIN", update(1, ["ZZZ", "AAA"]), "COMMIT", is_writer=True)


def batch_and_batch(stage: Stage) -> None:
    """Two workers process predictions that name the same new symbol."""
    stage.have(insert(["AAA"]), insert(["AAA"]))
    one, two = stage.worker("w1"), stage.worker("w2")
    stage.thread(one, one.claimed("prediction", 1))
    stage.thread(two, two.claimed("prediction", 1))


def claim_and_requeue(stage: Stage) -> None:
    """An operator requeues an event that a worker claims and finishes."""
    stage.world.know(["AAA"])
    stage.have(insert(["AAA"]))
    worker = stage.worker("w1")
    stage.thread(worker, lambda: worker.turn("prediction"))
    stage.plain("operator", "BEGIN", "UPDATE outbox SET status = 'pending'", "COMMIT")


def claim_and_expire(stage: Stage) -> None:
    """A worker stands still past its lease while another's heartbeat ends it and that one claims."""
    stage.world.know(["AAA"])
    stage.have(insert(["AAA"]))
    one, two = stage.worker("w1"), stage.worker("w2")
    stage.thread(one, one.claimed("prediction"))
    stage.world.jump(61)
    stage.thread(two, two.takeover)


def store_and_killed(stage: Stage) -> None:
    """A worker dies before any step of a store."""
    stage.world.know(["AAA"])
    worker = stage.worker("w1")
    stage.have(insert(["AAA"]))
    worker.turn("prediction")
    stage.have(REFETCH)
    stage.world.revise()
    stage.thread(worker, lambda: worker.turn("ticker"))
    stage.kill(worker)


def sleeper_and_writer(stage: Stage) -> None:
    """A worker goes to sleep while a writer inserts."""
    stage.world.know(["AAA"])
    worker = stage.worker("w1", listens=True)
    stage.run(worker)
    stage.plain("writer", "BEGIN", insert(["AAA"]), "COMMIT", is_writer=True)


# More, in random orders.


def leases(stage: Stage) -> None:
    """Workers that stand still, die and lose their connections; leases that end; heartbeats."""
    stage.world.know(["AAA"])
    stage.have(insert(["AAA"]), insert(["ZZZ", "AAA"]), REFETCH)
    if stage.rng.random() < 0.5:
        stage.world.revise()
    one, two = stage.worker("w1"), stage.worker("w2")
    stage.run(one)
    stage.thread(one, one.heartbeats(2), "heart")
    stage.run(two)
    stage.thread(two, two.heartbeats(3), "heart")
    stage.jump()
    stage.jump(61, "clock:again")
    fault = stage.rng.choice(["kill", "before", "after", "none"])
    if fault == "kill":
        stage.kill(one)
    elif fault != "none":
        stage.lose(one, fault)


def sleepers(stage: Stage) -> None:
    """Two workers that sleep with LISTEN, writers and an operator."""
    stage.world.know(["AAA"])
    for name in ("w1", "w2"):
        worker = stage.worker(name, listens=True)
        stage.run(worker)
    stage.plain("writer", insert(["AAA"]), is_writer=True)
    if stage.rng.random() < 0.5:
        stage.plain(
            "writer2", "BEGIN", insert(["AAA"]), "ROLLBACK", insert(["ZZZ"]), is_writer=True
        )
    stage.plain("operator", "SELECT outbox_requeue_prediction(1)", REFETCH)


def tickers(stage: Stage) -> None:
    """Workers, and a DBA who registers a ticker, with the same new symbols in several orders."""
    stage.have(insert(["AAA", "MMM", "ZZZ"]), insert(["ZZZ", "MMM", "AAA"]))
    one, two = stage.worker("w1"), stage.worker("w2")
    stage.thread(one, one.claimed("prediction", 1))
    stage.thread(two, two.claimed("prediction", 1))
    register = "INSERT INTO ticker_registry (symbol) VALUES ('MMM') ON CONFLICT DO NOTHING"
    end = stage.rng.choice(["COMMIT", "ROLLBACK"])
    if stage.rng.random() < 0.7:
        stage.plain("dba", end, begun=["BEGIN", register])
    else:
        stage.plain("dba", "BEGIN", register, end)


def changes(stage: Stage) -> None:
    """A prediction is inserted and changed, twice, while two workers process it and prices are revised."""
    stage.world.know(["AAA"])
    one, two = stage.worker("w1"), stage.worker("w2", listens=True)
    stage.have(insert(["AAA"]))
    stage.run(one)
    stage.run(two)
    stage.plain(
        "writer",
        update(1, ["AAA", "ZZZ"], "neutral"),
        "BEGIN", update(1, ["ZZZ"]), stage.rng.choice(["COMMIT", "ROLLBACK"]),
        is_writer=True,
    )  # fmt: skip
    stage.plain("writer2", insert(["ZZZ", "AAA"]), is_writer=True)
    stage.plain("operator", REFETCH)
    stage.act("market:revise", stage.world.revise)


def people(stage: Stage) -> None:
    """Operators requeue, park and cancel what a worker has, and a DBA deletes."""
    stage.world.know(["AAA"])
    stage.have(insert(["AAA"]), insert(["ZZZ"]), REFETCH)
    worker = stage.worker("w1", listens=True)
    stage.run(worker)
    stage.thread(worker, worker.heartbeats(1), "heart")
    stage.plain(
        "operator",
        "SELECT outbox_park(1, 'a look')", "SELECT outbox_requeue(1)",
        "SELECT outbox_requeue_prediction(2)",
    )  # fmt: skip
    stage.plain(
        "operator2",
        stage.rng.choice(["SELECT outbox_cancel(2, 'wrong')", "SELECT outbox_park(3, 'a look')"]),
        "BEGIN", "UPDATE outbox SET status = 'pending'", "COMMIT",
    )  # fmt: skip
    if stage.rng.random() < 0.3:
        stage.plain("dba", "DELETE FROM predictions WHERE id = 2")


def failures(stage: Stage) -> None:
    """Fetches that fail, are requeued and asked for again, and leases of them that end."""
    stage.world.know(["AAA"])
    stage.have(insert(["ZZZ", "AAA"]))
    stage.world.failing = stage.rng.randint(1, 3)
    one, two = stage.worker("w1"), stage.worker("w2")
    for worker in (one, two):
        stage.run(worker)
        stage.thread(worker, worker.heartbeats(2), "heart")
    stage.plain("writer", insert(["ZZZ"]), is_writer=True)
    stage.plain(
        "operator",
        "SELECT outbox_requeue_ticker('ZZZ')",
        stage.rng.choice([REFETCH, "UPDATE outbox SET status = 'pending' WHERE status = 'failed'"]),
        "SELECT * FROM outcomes_fill_symbols('{ZZZ,AAA}', true)",
    )
    stage.jump()
    stage.jump(20, "clock:again")


def sweeps(stage: Stage) -> None:
    """Two sweeps beside a writer and a worker: they find nothing that has an event."""
    stage.world.know(["AAA"])
    stage.have(insert(["AAA", "ZZZ"]))
    one, two = stage.worker("w1"), stage.worker("w2")
    stage.run(one)
    stage.thread(one, one.sweeps(1), "sweep")
    stage.thread(two, two.sweeps(1), "sweep")
    stage.act("market:revise", stage.world.revise)
    stage.plain("operator", REFETCH)
    stage.plain("writer", insert(["ZZZ"]), update(1, ["AAA"]), is_writer=True)


def everything(stage: Stage) -> None:
    """Two workers with all their threads, writers, people, a DBA, deaths and jumps of the clock."""
    stage.world.know(["AAA"])
    stage.have(insert(["AAA"]))
    one, two = stage.worker("w1", listens=True), stage.worker("w2")
    for worker in (one, two):
        stage.run(worker)
        stage.thread(worker, worker.heartbeats(2), "heart")
    if stage.rng.random() < 0.5:
        stage.thread(two, two.sweeps(1), "sweep")
    stage.plain("writer", insert(["ZZZ", "AAA"]), update(1, ["AAA", "MMM"]), is_writer=True)
    stage.plain("operator", REFETCH, "UPDATE outbox SET status = 'pending'")
    if stage.rng.random() < 0.3:
        register = "INSERT INTO ticker_registry (symbol) VALUES ('ZZZ') ON CONFLICT DO NOTHING"
        stage.plain("dba", "BEGIN", register, "COMMIT")
    if stage.rng.random() < 0.5:
        stage.act("market:revise", stage.world.revise)
    stage.jump()
    if stage.rng.random() < 0.5:
        stage.kill(stage.rng.choice([one, two]))


PAIRS: dict[str, Scene] = {
    "batch-store": batch_and_store,
    "batch-update": batch_and_update,
    "batch-batch": batch_and_batch,
    "claim-requeue": claim_and_requeue,
    "claim-expire": claim_and_expire,
    "store-killed": store_and_killed,
    "sleeper-writer": sleeper_and_writer,
}
SCENES: dict[str, Scene] = {
    **PAIRS,
    "leases": leases,
    "sleepers": sleepers,
    "tickers": tickers,
    "changes": changes,
    "people": people,
    "failures": failures,
    "sweeps": sweeps,
    "everything": everything,
}
