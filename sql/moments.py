"""Moments that Python cannot hold: infinity, a year before Christ or after 9999.

PostgreSQL takes them in a column of another program, and one row of those would end every command
that reads it. They come as the first or the last day that Python has, less one, so that another
time zone has them too.
"""

import datetime as dt
from typing import Any

import psycopg
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader

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
