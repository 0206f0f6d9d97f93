"""Taking one safeguard out, in a test's own database alone, to see its promise break.

A test puts `promised(kept)` around what the safeguard promises: with it the assertions hold,
without it they must fail. So each of these tests has proved that it can.

The switch is a file of `without/`: complete functions that do what the product's do, but for
the safeguard. Only a function's owner can replace it, and the product has no word of this.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from tests.support.db import Conn

WITHOUT = Path(__file__).parent / "without"

# As parameters: with the safeguard, and without.
BOTH = pytest.mark.parametrize("kept", [True, False], ids=["with", "without"])


def promised(kept: bool) -> AbstractContextManager[object]:
    """The body's assertions hold, or fail where the safeguard was taken out."""
    return nullcontext() if kept else pytest.raises(AssertionError)


def take_out(conn: Conn, safeguard: str) -> None:
    """Replace the functions of a safeguard by those without it."""
    conn.execute((WITHOUT / f"{safeguard}.sql").read_bytes())
