"""Each invariant says so when it does not hold, and the scheduler when a writer waits."""

from collections.abc import Callable
from unittest.mock import patch

import pytest

from tests.interleavings import ledger
from tests.interleavings.explore import Explorer
from tests.interleavings.invariants import Invariants
from tests.interleavings.scenes import SCENES
from tests.interleavings.scheduler import Violation
from tests.interleavings.stage import Stage, insert, update
from tests.interleavings.world import World
from tests.support.db import connect

Check = Callable[[Invariants], None]
_LEASED = (
    "UPDATE outbox SET status = 'processing', lease = 7, leased_by = 'name of w8',"
    " leased_until = reckoner_now() + '1 minute'"
)
_OUTCOME = (
    "INSERT INTO prediction_outcomes (prediction_id, symbol, is_complete, prediction_date)"
    " VALUES (9, 'AAA', false, '2024-03-05')"
)
_HISTORY = (
    "INSERT INTO outbox_history (id, topic, key, verdict, attempts, crashes, created_at)"
    " SELECT id, topic, key, 'done', 0, 0, now() FROM outbox"
)


@pytest.mark.parametrize(
    ("kind", "statements", "check"),
    [
        ("no outcome", [insert(["AAA"])], lambda it: it.outcomes(())),
        ("nobody's outcome", [_OUTCOME], lambda it: it.outcomes(())),
        ("live and in history", [insert(["AAA"]), _HISTORY], Invariants.events),
        ("lost event", [insert(["AAA"]), "DELETE FROM outbox"], Invariants.events),
        ("not drained", [insert(["AAA"])], Invariants.drained),
        ("swept", [insert(["AAA"]), "DELETE FROM outbox"], Invariants.sweep_finds_nothing),
    ],
)
def test_what_does_not_hold_is_told(
    world: World, kind: str, statements: list[str], check: Check
) -> None:
    world.reset()
    for statement in statements:
        world.watch.execute(statement.encode())
    with pytest.raises(Violation) as raised:
        check(Invariants(world))
    assert raised.value.kind == kind


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("ended another's", "DELETE FROM outbox"),
        ("ended another's", "UPDATE outbox SET status = 'failed', lease = NULL, leased_by = NULL"),
        ("counts", "UPDATE outbox SET attempts = 1"),
        ("counts", "UPDATE outbox SET crashes = 1"),
    ],
)
def test_the_ledger_tells_who_ended_what_was_not_his(
    world: World, kind: str, statement: str
) -> None:
    world.reset()
    with connect(world.url) as conn:
        conn.execute("SET application_name = 'w9'")
        conn.execute(insert(["AAA"]).encode())
        conn.execute(_LEASED)
        ledger.check(world.watch, {"name of w8": "w8"})
        conn.execute(statement.encode())
    with pytest.raises(Violation) as raised:
        ledger.check(world.watch, {"name of w8": "w8"})
    assert raised.value.kind == kind


def _held(stage: Stage) -> None:
    """A worker that would lock a writer's row."""
    stage.have(insert(["AAA"]))
    worker = stage.worker("w1")

    def body() -> None:
        with stage.world.database("w1").transaction() as conn:
            conn.execute("SELECT FROM predictions FOR UPDATE")

    stage.thread(worker, body)
    stage.plain("writer", update(1, ["AAA"]), is_writer=True)


def test_a_writer_that_waits_for_a_worker_is_told(explorer: Explorer) -> None:
    with patch.dict(SCENES, {"held": _held}):
        found = [ran.violation.kind for ran in explorer.all_orders("held") if ran.violation]
        assert set(found) == {"writer waits"}


def test_an_operator_that_waits_goes_on_when_it_may(explorer: Explorer) -> None:
    parked = explorer.given_order("claim-requeue", "1", ["w1", "w1", "operator"])
    assert parked.violation is None
    assert [step.name for step in parked.steps][:3] == ["w1", "w1", "operator"]
    assert parked.steps[2].parked == ("operator",)
    assert [step.label for step in parked.steps if step.name == "operator"][-1] == "COMMIT"
