"""The errors that Reckoner raises on purpose: one tree for the library, the commands and the API.

Each carries one line for people: what, where, what to do. Domain code raises them and knows no
exit code or HTTP status; a front end turns the class into one (`market/cli/console.py`). SQL
functions raise the same errors by SQLSTATE; `translated` makes them ours.
"""

import contextlib
from collections.abc import Iterator

import psycopg


class ReckonerError(Exception):
    """The base of our errors; the text gives the reason in one line."""


class NotFound(ReckonerError):
    """The named object does not exist."""


class InvalidInput(ReckonerError):
    """An argument, an option, a file or a setting has a value that cannot be used."""


class Conflict(ReckonerError):
    """The present state forbids it: it exists, it changed, or another process works on it."""


class Unavailable(ReckonerError):
    """The database, a service or a program does not answer."""


class EmbeddedError(Unavailable):
    """The embedded server does not run, and cannot be started."""


class Unhealthy(ReckonerError):
    """A check failed: the state differs from the expected one."""


_BY_SQLSTATE: dict[type[psycopg.Error], type[ReckonerError]] = {
    psycopg.errors.NoDataFound: NotFound,
    psycopg.errors.InvalidParameterValue: InvalidInput,
    psycopg.errors.ObjectNotInPrerequisiteState: Conflict,
}


@contextlib.contextmanager
def translated(*, lookup: bool = False) -> Iterator[None]:
    """Turn the errors that SQL functions raise on purpose into NotFound, InvalidInput or Conflict.

    lookup: the argument is a name to look up, so an invalid name is NotFound too.
    """
    try:
        yield
    except tuple(_BY_SQLSTATE) as error:
        kind = _BY_SQLSTATE[type(error)]
        kind = NotFound if lookup and kind is InvalidInput else kind
        raise kind(str(error.diag.message_primary)) from None
