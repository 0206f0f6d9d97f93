"""Taking one safeguard out, in a test's own database alone, to see its promise break.

A test says `promised(kept)` around what the safeguard promises: with it the assertions hold,
without it they must fail. So each of these tests has proved that it can.
"""

from contextlib import AbstractContextManager, nullcontext

import pytest

from tests.support.db import Conn, value

# As parameters: with the safeguard, and without.
BOTH = pytest.mark.parametrize("kept", [True, False], ids=["with", "without"])


def promised(kept: bool) -> AbstractContextManager[object]:
    """The body's assertions hold, or fail where the safeguard was taken out."""
    return nullcontext() if kept else pytest.raises(AssertionError)


def take_out(conn: Conn, function: str, safeguard: str, instead: str = "") -> None:
    """Replace a function by its own text without the safeguard."""
    text = value(conn, "SELECT pg_get_functiondef(%s::regproc)", [function])
    assert text.count(safeguard) == 1, text
    conn.execute(text.replace(safeguard, instead).encode())


def without_fencing(conn: Conn) -> None:
    """An event may be ended by whoever ever held it."""
    take_out(conn, "outbox_lock", "o.lease = c.lease", "true")
    take_out(conn, "outbox_finish", "AND o.lease = v.lease")


def without_renewal(conn: Conn) -> None:
    """A lease ends at its first end, however long the work takes."""
    take_out(conn, "outbox_renew", "leased_by = p_worker", "false")


def without_forgotten(conn: Conn) -> None:
    """The sweep does not look for predictions that no event speaks of."""
    take_out(conn, "sweep_forgotten", "p.eligible", "false")


def without_changed(conn: Conn) -> None:
    """The sweep does not look for changes of predictions that no event speaks of."""
    take_out(conn, "sweep_changed", "p.eligible", "false")


def without_guard(conn: Conn) -> None:
    """What goes wrong in the trigger is the writer's error."""
    text = value(conn, "SELECT prosrc FROM pg_proc WHERE proname = 'predictions_inserted'")
    guard = text[text.index("EXCEPTION WHEN") : text.rindex("END")]
    take_out(conn, "predictions_inserted", guard)
