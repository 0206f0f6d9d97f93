"""Moments that Python cannot hold: infinity, a year before Christ or after 9999.

PostgreSQL takes them in a column of another program, and one row of those would end every command
that reads it. They come as the first or the last day that Python has, less one, so that another
time zone has them too.
"""

import datetime as dt
from typing import Any

import psycopg
from psycopg.abc import AdaptContext
from psycopg.types.datetime import DateLoader, IntervalLoader, TimestampLoader, TimestamptzLoader

_FIRST, _LAST = dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)  # noqa: DTZ001 - with and without a zone


def _nearest(data: Any) -> dt.datetime:
    text = bytes(data)
    return _FIRST if text.startswith(b"-") or text.endswith(b"BC") else _LAST


class _Date(DateLoader):
    def load(self, data: Any) -> dt.date:
        try:
            return super().load(data)
        except psycopg.DataError:
            return _nearest(data).date()


class _Timestamp(TimestampLoader):
    def load(self, data: Any) -> dt.datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            return _nearest(data)


class _Timestamptz(TimestamptzLoader):
    def load(self, data: Any) -> dt.datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            return _nearest(data).replace(tzinfo=dt.UTC)


def bound() -> None:
    """Let every connection of this process read any moment."""
    for name, loader in (("date", _Date), ("timestamp", _Timestamp), ("timestamptz", _Timestamptz)):
        psycopg.adapters.register_loader(name, loader)


class _IsoDate(_Date):
    def __init__(self, oid: int, _context: AdaptContext | None = None) -> None:
        super().__init__(oid)


class _IsoTimestamp(_Timestamp):
    def __init__(self, oid: int, _context: AdaptContext | None = None) -> None:
        super().__init__(oid)


class _IsoTimestamptz(_Timestamptz):
    def __init__(self, oid: int, _context: AdaptContext | None = None) -> None:
        super().__init__(oid)


class _IsoInterval(IntervalLoader):
    def __init__(self, oid: int, _context: AdaptContext | None = None) -> None:
        super().__init__(oid)
        self._load_method = self._load_postgres


def assume_iso(conn: psycopg.Connection[Any]) -> None:
    """Read moments as a transaction wrote them that set DateStyle, TimeZone and IntervalStyle.

    When the rows of several statements that ended with COMMIT are read, the connection has the
    session's own styles again, and psycopg would read by those.
    """
    for name, loader in (
        ("date", _IsoDate),
        ("timestamp", _IsoTimestamp),
        ("timestamptz", _IsoTimestamptz),
        ("interval", _IsoInterval),
    ):
        conn.adapters.register_loader(name, loader)
