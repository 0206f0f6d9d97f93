"""The loop's parts, each built alone: retry, claims in flight, the claim cursor."""

import math
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from worker.listening import sleeper as sleeper_module
from worker.listening.sleeper import Sleeper
from worker.queue.claim_cursor import ClaimCursor
from worker.queue.in_flight import InFlight
from worker.queue.outbox import Claim
from worker.retry import until_available, until_no_error
from worker.shutdown import Shutdown, ShutdownRequested


def claim(number: int, lease: int) -> Claim:
    return Claim(
        id=number,
        topic="prediction",
        key=str(number),
        payload=None,
        priority=0,
        attempts=0,
        crashes=0,
        available_at=f"2026-01-01 00:00:0{number}+00",
        lease=lease,
    )


def failing(times: int, error: Exception) -> Callable[[], str]:
    """An action that fails so often, and then succeeds."""
    left = iter([error] * times)

    def action() -> str:
        for each in left:
            raise each
        return "done"

    return action


LOST = psycopg.OperationalError("connection refused")


def away(times: int) -> Callable[[Exception], str | None]:
    """A reason to wait that is there so often."""
    left = iter(["away"] * times)
    return lambda _: next(left, None)


def test_an_action_waits_until_the_database_answers() -> None:
    ticks: list[int] = []
    shutdown = Shutdown(lambda: ticks.append(1))
    assert until_available(shutdown, "testing", failing(1, LOST), away(2)) == "done"
    assert ticks  # the worker is alive meanwhile


@pytest.mark.parametrize("error", [psycopg.errors.CheckViolation("bad row"), KeyError("ours")])
def test_an_error_that_waiting_does_not_mend_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        until_available(Shutdown(), "testing", failing(1, error), away(0))


@pytest.mark.parametrize("outages", [0, 99])
def test_an_action_that_fails_again_and_again_is_not_retried_for_ever(outages: int) -> None:
    """Neither where the database answers, nor where each try takes it away for a moment."""

    def reason(_: Exception) -> str | None:
        said.append("away" if outages and len(said) % 2 == 0 else None)
        return said[-1]

    said: list[str | None] = []
    with pytest.raises(psycopg.OperationalError):
        until_available(Shutdown(), "testing", failing(99, LOST), reason, tries=1)


def test_where_no_event_can_be_at_fault_every_error_of_the_database_is_waited_out() -> None:
    noted: list[str | None] = []

    def note(_: str, reason: str | None) -> None:
        noted.append(reason)

    error = psycopg.errors.CheckViolation("bad row")
    assert until_no_error(Shutdown(), "testing", failing(1, error), note) == "done"
    assert noted == ["CheckViolation: bad row", None]
    with pytest.raises(KeyError):
        until_no_error(Shutdown(), "testing", failing(1, KeyError("ours")), note)


def test_a_forced_shutdown_and_a_deadline_end_the_retries() -> None:
    forced = Shutdown()
    forced.forced.set()
    with pytest.raises(ShutdownRequested):
        until_available(forced, "testing", failing(99, LOST), away(99))
    late = Shutdown(deadline=time.monotonic() - 1)
    with pytest.raises(ShutdownRequested):
        until_available(late, "testing", failing(99, LOST), away(99))
    requested = Shutdown()
    requested.requested.set()
    with pytest.raises(ShutdownRequested):
        until_available(requested, "testing", failing(99, LOST), away(99))


def test_a_wait_ends_with_the_request_to_end() -> None:
    shutdown = Shutdown()
    threading.Timer(0.05, shutdown.requested.set).start()
    with pytest.raises(ShutdownRequested):
        shutdown.wait(60)


def test_leases_are_certain_again_only_after_the_newest_loss_was_handed_back() -> None:
    in_flight = InFlight()
    in_flight.add([claim(1, 11), claim(2, 12)])
    assert (len(in_flight), sorted(in_flight.leases)) == (2, [11, 12])
    certain = [in_flight.is_certain]
    in_flight.unconfirmed()
    handed_back = in_flight.unconfirmed_count
    in_flight.unconfirmed()  # once more, while the first is handed back
    in_flight.handed_back(handed_back)
    certain.append(in_flight.is_certain)
    in_flight.handed_back(in_flight.unconfirmed_count)
    certain.append(in_flight.is_certain)
    assert certain == [True, False, True]
    in_flight.remove([claim(1, 11)])
    assert in_flight.leases == [12]


def test_a_full_scan_may_take_a_fiftieth_of_the_time() -> None:
    now = 0.0
    cursor = ClaimCursor(clock=lambda: now)
    assert cursor.position("prediction") == {}
    cursor.record("prediction", [claim(1, 11)], seconds=0.1, began={})
    here = cursor.position("prediction")
    assert here == {0: ("2026-01-01 00:00:01+00", 1)}
    assert cursor.seconds_to_full_scan(["prediction"]) is None  # the last claim was one
    cursor.record("prediction", [], seconds=0.0, began=here)
    assert cursor.seconds_to_full_scan(["prediction"]) == pytest.approx(5)
    now = 5.0
    assert cursor.position("prediction") == {}
    cursor.reset()
    assert cursor.position("prediction") == {}


class Rest:
    """A doorbell, a claimer and an idle suspend in one, whose time passes only in sleeps.

    A claim takes a millisecond and finds nothing behind the events that were claimed before.
    """

    is_due = False
    topics = ("prediction",)

    def __init__(self, state: str) -> None:
        self.now, self.state, self.armed, self.turns = 0.0, state, False, 0
        self.since_wake = self
        self.cursor = ClaimCursor(lambda: self.now)
        self.cursor.record("prediction", [claim(1, 1)], 0.001, {})

    def woke(self, wake: str) -> None:
        """Nothing is measured."""

    def arm(self) -> str:
        self.armed = self.state == "armed"
        return self.state

    def sleep(self, seconds: float) -> str:
        self.now += seconds
        return "poll"

    def query(self, _read: object) -> None:
        """No event waits."""

    def claim(self) -> bool:
        began = self.cursor.position("prediction")
        self.now += 0.001
        self.cursor.record("prediction", [], 0.001, began)
        return False

    def seconds_to_full_scan(self) -> float | None:
        return self.cursor.seconds_to_full_scan(self.topics)


@pytest.mark.parametrize("state", ["busy", "guarded"])
def test_a_worker_that_has_claimed_rests_though_another_has_the_armed_lock(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It turned every 20 ms: each second claim owed a full scan, and each full scan was due soon."""
    rest: Any = Rest(state)
    monkeypatch.setattr(sleeper_module, "time", SimpleNamespace(monotonic=lambda: rest.now))
    sleeper = Sleeper(rest, rest, rest, Shutdown(), poll_seconds=5)
    while rest.now < 120:
        rest.turns += 1
        rest.claim()
        found = sleeper.arm(rest.claim)
        assert found == state
        sleeper.sleep(None, found)
    assert rest.turns < 60


@pytest.mark.parametrize(("tick", "slept"), [(30.0, 30), (3600.0, 300), (math.inf, 300)])
def test_a_sleep_ends_at_the_next_tick_and_asks_for_it_now_and_then(
    tick: float, slept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest: Any = Rest("armed")
    monkeypatch.setattr(sleeper_module, "time", SimpleNamespace(monotonic=lambda: rest.now))
    monkeypatch.setattr(rest, "seconds_to_full_scan", lambda: None)
    Sleeper(rest, rest, rest, Shutdown(), poll_seconds=5).sleep(None, "armed", tick)
    assert rest.now == pytest.approx(slept)


@pytest.mark.parametrize(("states", "claims"), [
    (["guarded", "guarded"], [True, False]),
    (["busy", "guarded"], [False, True]),  # the second claim comes once the lock is another's
    (["busy", "armed"], [False, True]),
    (["armed", "armed"], [True, False]),
    (["guarded", "armed"], [True, True]),
    (["armed", "busy", "armed"], [True, False, True]),
])  # fmt: skip
def test_a_worker_claims_once_more_where_writers_ring_since_its_last_claim(
    states: list[str], claims: list[bool]
) -> None:
    rest: Any = Rest(states[0])
    sleeper = Sleeper(rest, rest, rest, Shutdown(), poll_seconds=5)
    claimed = []
    for state in states:
        rest.state = state
        seen: list[bool] = []
        sleeper.arm(lambda seen=seen: bool(seen.append(True)))  # type: ignore[misc]
        claimed.append(bool(seen))
    assert claimed == claims
