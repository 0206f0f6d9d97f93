"""How migrations wait for locks on other programs' tables: in blinks.

While a statement waits for a lock on a table, all that come after it wait behind it. So each
wait is a tenth of a second, and between two the owner's programs go on; after a few seconds
the whole step is given up.
"""

from collections.abc import Callable
from typing import TypeVar

import psycopg
import tenacity

MILLISECONDS = 100
_PATIENCE_SECONDS = 4.0

T = TypeVar("T")


def patiently(step: Callable[[], T]) -> T:
    """Try a step, which is a transaction, until its locks are free.

    Raises psycopg.errors.LockNotAvailable or DeadlockDetected after some seconds.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(
            (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
        ),
        wait=tenacity.wait_fixed(0.3),
        stop=tenacity.stop_after_delay(_PATIENCE_SECONDS),
        reraise=True,
    )
    return retrying(step)
