"""Waiting for a named state with a deadline; nothing here sleeps for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: str, probe: Callable[[], T | None], seconds: float = 20.0) -> T:
    """Wait until `probe` returns something true and return it; `what` names the state.

    The last look begins after the deadline, however long the process stood still before it.
    """
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() > deadline
        value = probe()
        if value:
            return value
        if late:
            raise AssertionError(f"not within {seconds} s: {what} (last: {value!r})")
        time.sleep(0.01)


def never(seconds: float) -> None:
    """For who must not have to wait."""
    raise AssertionError(f"asked to wait for {seconds} s")
