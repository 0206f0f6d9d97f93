"""One connection: how it is opened, and what of its role's and database's settings it replaces.

`ALTER ROLE … SET` and `ALTER DATABASE … SET` reach every session, ours too. Those that change the
meaning of our statements or the form of their answers are set here to what this code expects
(`_FIXED`): once for a connection that reaches the server itself, else in every transaction,
because behind a pooler a session's setting is left to its next user. What an owner decides for all
programs stays: read-only transactions, row security, memory, the planner's methods.

A database that is not in UTF8 cannot hold every character, and one in SQL_ASCII holds bytes that are
no text. What does not fit is a question mark, on its way in and on its way out.
"""

import functools
import json
import math
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg._encodings import pg2pyenc
from psycopg.abc import Buffer
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg.types.string import StrDumperUnknown, TextLoader

from sql import moments

Connection = psycopg.Connection[DictRow]
moments.bound()

# The schema of the names in our statements. pg_temp comes last, so that no temporary table stands
# in for one of ours.
SEARCH_PATH = "public, pg_temp"

# Each with what goes wrong without it (tests/system/test_session_settings.py).
_FIXED = {
    "search_path": SEARCH_PATH,  # our tables are not found, or others' are
    "DateStyle": "ISO, MDY",  # psycopg reads no other form
    "IntervalStyle": "postgres",  # the same
    "TimeZone": "UTC",  # columns without a time zone are written in another
    "extra_float_digits": "1",  # prices lose their last digits
    "bytea_output": "hex",  # payloads cast to text change
    "array_nulls": "on",  # a NULL in a list is the text NULL
    "standard_conforming_strings": "on",  # a backslash in a literal is lost
    "quote_all_identifiers": "off",  # `db audit` finds differences everywhere
    "plan_cache_mode": "auto",  # functions rely on their kept plans
}
# Also for a connection whose statements stand in no transaction of ours.
_FIXED_ALONE = {
    "default_transaction_isolation": "read committed",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
}
_PG_17 = 170000

# Keepalives find a dead peer on an idle connection, tcp_user_timeout on a busy one.
_CONNECT: dict[str, Any] = {
    "client_encoding": "UTF8",
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    # Prepared statements fail behind transaction poolers. Statements that are costly to plan are
    # PL/pgSQL functions, which keep their plans.
    "prepare_threshold": None,
    "autocommit": True,
    "row_factory": dict_row,
}
_LONGEST_CONNECT = 10


class Session(psycopg.Connection[DictRow]):
    """A connection that knows how its transactions begin."""

    opened_at = 0.0  # time.monotonic()
    _every_time = ""

    @property
    def told_pid(self) -> int:
        """The number of the server's process; a pooler tells one of its own."""
        return self.info.backend_pid

    def settle(self) -> None:
        """Replace inherited settings that our statements cannot bear; takes one round trip."""
        fixed = dict(_FIXED)
        if self.info.server_version >= _PG_17:
            fixed["transaction_timeout"] = "0"
        values = ", ".join(f"('{name}', '{text}')" for name, text in (fixed | _FIXED_ALONE).items())
        query = f"""
SELECT count(set_config(s.name, s.value, false)) AS n FROM (VALUES {values}) AS s(name, value)
WHERE pg_backend_pid() = {self.told_pid}
"""  # noqa: S608 - all from this module
        done = self.execute(query.encode()).fetchone()
        if not done or not done["n"]:
            self._every_time = "".join(
                f"; SET LOCAL {name} = {_literal(name, text)}" for name, text in fixed.items()
            )
            moments.assume_iso(self)
        _fit(self)

    def begin(self, seconds: float, lock_seconds: float) -> str:
        """Return the statements that begin a transaction in which each ends within `seconds`.

        They set the isolation, because the owner's default may hide rows that others just
        committed, and all with SET LOCAL, so that nothing leaks through a transaction pooler.
        """
        return (
            f"BEGIN ISOLATION LEVEL READ COMMITTED{self._every_time};"
            f" SET LOCAL statement_timeout = {int(seconds * 1000)};"
            f" SET LOCAL lock_timeout = {int(lock_seconds * 1000)};"
            " SET LOCAL idle_in_transaction_session_timeout = 120000"
        )


def connect(url: str, name: str, seconds: float) -> Session:
    """Open a connection that still has its inherited settings; see `Session.settle`.

    name: what pg_stat_activity shows. seconds: for each host of the URL.
    """
    timeout = max(2, math.ceil(min(seconds, _LONGEST_CONNECT)))
    return Session.connect(url, **_CONNECT, connect_timeout=timeout, application_name=name)


def fitted(conn: Connection, text: str) -> str:
    """Return a text with a question mark for what the database's encoding lacks."""
    server = conn.info.parameter_status("server_encoding") or "UTF8"
    if text.isascii() or server in {"UTF8", "SQL_ASCII"}:
        return text
    try:
        return _fit_text(pg2pyenc(server.encode()), text)
    except psycopg.NotSupportedError:
        return text.encode("ascii", "replace").decode()


def _literal(name: str, value: str) -> str:
    """Return a value for SET, where a quoted list would be one name."""
    return value if name in {"search_path", "DateStyle"} else f"'{value}'"


def _fit(conn: Connection) -> None:
    """Let a connection to a database that is not in UTF8 write and read any text."""
    server = conn.info.parameter_status("server_encoding") or "UTF8"
    if server == "UTF8":
        return
    try:
        dumper, dumps = _fitting(server)
    except psycopg.NotSupportedError:
        return  # Python does not know its characters
    conn.adapters.register_dumper(str, dumper)
    set_json_dumps(dumps, conn)
    if server == "SQL_ASCII":
        for name in ("text", "varchar", "bpchar", "name"):
            conn.adapters.register_loader(name, _AnyText)
        set_json_loads(_any_json, conn)


@functools.lru_cache(maxsize=8)
def _fitting(server: str) -> tuple[type[StrDumperUnknown], Callable[[Any], bytes]]:
    """Return what writes texts and JSON for a server's encoding. Raises NotSupportedError."""
    # SQL_ASCII takes any bytes, but no \u65e5 in JSON.
    codec = "utf-8" if server == "SQL_ASCII" else pg2pyenc(server.encode())

    class Fitting(StrDumperUnknown):
        def dump(self, obj: str) -> Buffer | None:
            return super().dump(_fit_text(codec, obj))

    return Fitting, functools.partial(_fit_json, codec)


def _fit_text(codec: str, text: str) -> str:
    return text.encode(codec, "replace").decode(codec)


def _fit_json(codec: str, document: Any) -> bytes:
    return _fit_text(codec, json.dumps(document, ensure_ascii=False)).encode()


class _AnyText(TextLoader):
    def load(self, data: Buffer) -> str:
        return bytes(data).decode(errors="replace")


def _any_json(data: str | bytes) -> Any:
    return json.loads(data if isinstance(data, str) else data.decode(errors="replace"))
