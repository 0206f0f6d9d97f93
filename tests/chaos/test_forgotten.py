"""Predictions that no event speaks of: the trigger was away, failed, or a backup was restored."""

from typing import LiteralString

import pytest

from tests.chaos import audit
from tests.chaos.safeguards import BOTH, promised, take_out
from tests.chaos.world import World
from tests.support.locks import locked
from tests.support.waiting import until

_FORGOTTEN = (
    "SELECT count(*) FROM predictions p WHERE analysis_status = 'completed' AND NOT EXISTS"
    " (SELECT FROM prediction_outcomes o WHERE o.prediction_id = p.id)"
)
# Sweeps of these tests come every half second.
_SWEEPS_SECONDS = 60.0


def until_found(world: World, seconds: float) -> None:
    until("the sweep found them all", lambda: world.ask(_FORGOTTEN) == 0, seconds)


def until_right(world: World, seconds: float) -> None:
    """Wait until every row is what its prediction says now."""

    def is_right() -> bool:
        try:
            audit.check_outcomes(world.conn, audit.read_closes(world.bars))
        except AssertionError:
            return False
        return True

    until("the sweep found all that was changed", is_right, seconds)


@BOTH
def test_predictions_written_while_the_trigger_is_disabled_are_found(
    world: World, kept: bool
) -> None:
    if not kept:
        take_out(world.conn, "forgotten")
    world.start_ready(2)
    writer = world.writer(operator=False)
    with writer.working():
        writer.until_more(10)
        world.conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
        writer.until_more(40)
        state, message = world.check_health()["triggers"]
        assert state == "fail"
        assert "predictions_inserted on predictions is disabled: run python -m worker" in message
        world.conn.execute("ALTER TABLE predictions ENABLE TRIGGER predictions_inserted")
        writer.until_more(10)
    with promised(kept):
        until_found(world, _SWEEPS_SECONDS if kept else 3.0)
    if kept:
        world.check(writer)


@BOTH
def test_changes_made_while_the_trigger_is_disabled_are_found(world: World, kept: bool) -> None:
    if not kept:
        take_out(world.conn, "changed")
    world.start_ready(2)
    writer = world.writer(operator=False)
    with writer.working():
        writer.until_more(30)
        world.conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_updated")
        writer.until_more(60)
        world.conn.execute("ALTER TABLE predictions ENABLE TRIGGER predictions_updated")
        writer.until_more(10)
    with promised(kept):
        until_right(world, 60 if kept else 3.0)
    if kept:
        world.check(writer)


def test_predictions_of_a_restored_backup_without_outbox_rows_are_found(world: World) -> None:
    writer = world.writer(operator=False)
    with writer.working():
        writer.until_more(60)
    # Half of them had been done, and then everything of the queue was left out of the backup.
    assert world.start("run", "--drain", "--max-seconds", "1").process.wait(60) == 0
    with world.writer(operator=False, seed=2).working() as later:
        later.until_more(30)
    world.conn.execute("DELETE FROM prediction_outcomes WHERE prediction_id % 3 = 0")
    world.conn.execute("TRUNCATE outbox, outbox_history, chaos_came, chaos_ended")
    assert world.ask(_FORGOTTEN) > 0

    world.start_ready(2)

    until_found(world, 60)
    world.check()


_FAULTS: dict[str, tuple[LiteralString, LiteralString]] = {
    "the outbox is renamed": (
        "ALTER TABLE outbox RENAME TO outbox_away",
        "ALTER TABLE outbox_away RENAME TO outbox",
    ),
    "the outbox refuses": (
        "ALTER TABLE outbox ADD CONSTRAINT no CHECK (topic <> 'prediction') NOT VALID",
        "ALTER TABLE outbox DROP CONSTRAINT no",
    ),
}


@BOTH
@pytest.mark.parametrize("fault", _FAULTS)
def test_a_fault_in_the_trigger_is_no_error_of_the_writer(
    world: World, fault: str, kept: bool
) -> None:
    if not kept:
        take_out(world.conn, "guard")
    breaks, mends = _FAULTS[fault]
    world.start_ready()
    writer = world.writer(operator=False)
    with writer.working():
        writer.until_more(10)
        world.conn.execute(breaks)
        writer.until_more(20)
        world.conn.execute(mends)
    with promised(kept):
        assert writer.errors == []
    if kept:
        until_right(world, 60)
        world.check(writer)


def test_a_locked_outbox_holds_up_no_writer_and_its_predictions_are_found(world: World) -> None:
    world.start_ready()
    writer = world.writer(operator=False)
    with writer.working():
        writer.until_more(10)
        with locked(world.url, "outbox"):
            writer.until_more(10)
    assert writer.interrupted == 0
    until_right(world, 60)
    world.check(writer)
