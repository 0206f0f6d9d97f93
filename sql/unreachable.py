"""Why no connection could be opened, in one line that names the database and not its password.

libpq gives a text and no code, so that the reasons that waiting cannot mend are told by their words
(English; a server in another language counts as one that may still come back).
"""

import re

import psycopg

# What libpq and psycopg say of the address before the reason; the place says it better.
_ADDRESS = re.compile(
    r"(?:connection (?:failed|is bad): )?(?:connection to server (?:at|on) .*?(?:, port \d+)? failed: )?"
)
_ATTEMPT = re.compile(r"- host: (?P<host>'[^']*'|None), port: .*?, hostaddr: (?:'[^']*'|None): ")

_LASTING = re.compile(
    r"password authentication failed|no password supplied|[Nn]o such (?:user|database)"
    r"|authentication failed for user|authentication method .* not supported"
    r"|(?:role|database|user) \"?.*\"? does not exist|Tenant or user not found"
    r"|no pg_hba\.conf entry|pg_hba\.conf rejects|is not permitted to log in"
    r"|permission denied for database|definition of service .* not found"
    r"|does not support SSL, but SSL was required|certificate|invalid .* value"
    r"|could not match .* (?:port|host)|[Ii]nvalid (?:port|integer|connection option)|unrecognized .* option"
)


class ConnectionFailed(psycopg.OperationalError):
    """No connection could be opened. is_lasting: waiting cannot mend the reason."""

    def __init__(self, message: str, *, is_lasting: bool) -> None:
        super().__init__(message)
        self.is_lasting = is_lasting


def failed(place: str, error: psycopg.Error) -> ConnectionFailed:
    """Return the error of opening a connection as one line, with every host's reason.

    place: which database, without its password.
    """
    reasons = _reasons(str(error))
    said = "; ".join(dict.fromkeys(reasons)) or type(error).__name__
    return ConnectionFailed(
        f"{place}: {said}", is_lasting=all(_LASTING.search(each) for each in reasons)
    )


def _reasons(text: str) -> list[str]:
    """Return the reason of each attempt; several hosts may have several."""
    lines = [line for line in text.splitlines() if line.strip()]
    attempts = [line for line in lines if _ATTEMPT.match(line)]
    if not attempts:
        return [_ADDRESS.sub("", lines[0], count=1)] if lines else []
    hosts = {found["host"] for line in attempts if (found := _ATTEMPT.match(line))}
    reasons = []
    for line in attempts:
        found = _ATTEMPT.match(line)
        reason = _ADDRESS.sub("", _ATTEMPT.sub("", line, count=1), count=1)
        named = found["host"].strip("'") if found and len(hosts) > 1 else ""
        reasons.append(f"{named}: {reason}" if named else reason)
    return reasons
