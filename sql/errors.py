"""The errors that Reckoner raises on purpose: one tree for the library, the commands and the API.

Each carries one line for people: what, where, what to do. Domain code raises them and knows no
exit code or HTTP status; a front end turns the class into one (`market/cli/console.py`). SQL
functions raise the same errors by SQLSTATE; `translated` makes them ours.
"""

import contextlib
from collections.abc import Iterator

import psycopg


class ReckonerError(Exception):
    """The base: something could not be done, and its text says why in one line."""


class NotFound(ReckonerError):
    """The thing that was named does not exist."""


class InvalidInput(ReckonerError):
    """An argument, an option, a file or a setting has a value that cannot be used."""


class Conflict(ReckonerError):
    """The present state forbids it: it exists already, it changed, somebody else is at work."""


class Unavailable(ReckonerError):
    """Something outside does not answer: the database, a service, a program."""


class EmbeddedError(Unavailable):
    """The embedded server does not run, and cannot be started."""


class Unhealthy(ReckonerError):
    """A check failed: what was looked at is not as it should be."""


_BY_SQLSTATE: dict[type[psycopg.Error], type[ReckonerError]] = {
    psycopg.errors.NoDataFound: NotFound,
    psycopg.errors.InvalidParameterValue: InvalidInput,
    psycopg.errors.ObjectNotInPrerequisiteState: Conflict,
}


@contextlib.contextmanager
def translated(*, lookup: bool = False) -> Iterator[None]:
    """Turn what a SQL function raises on purpose into NotFound, InvalidInput or Conflict.

    lookup: the argument is a name to look up, so one that cannot be a name is not found either.
    """
    try:
        yield
    except tuple(_BY_SQLSTATE) as error:
        kind = _BY_SQLSTATE[type(error)]
        kind = NotFound if lookup and kind is InvalidInput else kind
        raise kind(str(error.diag.message_primary)) from None
