"""Columns of values on their way to unnest(): packed into PostgreSQL's binary arrays.

psycopg sends lists too, but asks a dumper for each value; for a ticker's history that takes a third
of the time that the server needs to store it. Packing by `struct` costs less than half of that.
The layout is that of array_send in PostgreSQL's source, and of each element's own send function.
"""

import datetime as dt
import struct
from collections.abc import Iterable, Sequence
from typing import ClassVar

import psycopg
from psycopg import postgres
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

# One dimension, NULLs may be among the elements, their type, their number, the first subscript.
_HEAD = struct.Struct(">iiIii")
_NULL = struct.pack(">i", -1)
_EPOCH = dt.date(2000, 1, 1).toordinal()


class Column:
    """Values of one column; None is NULL. Goes where a list would go as a parameter."""

    element: ClassVar[str]  # PostgreSQL's name of the type
    layout: ClassVar[str]  # an element's length and value

    def __init__(self, values: Sequence[float | None]) -> None:
        self.values = values


class Floats(Column):
    """double precision[]."""

    element, layout = "float8", ">id"


class Integers(Column):
    """bigint[]."""

    element, layout = "int8", ">iq"


class Dates(Column):
    """date[]."""

    element, layout = "date", ">ii"

    def __init__(self, values: Iterable[dt.date]) -> None:
        super().__init__([value.toordinal() - _EPOCH for value in values])


class _ColumnDumper(Dumper):
    format = Format.BINARY

    def __init__(self, cls: type[Column], context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        kind = postgres.types[cls.element]
        self.oid = kind.array_oid
        self._element_oid = kind.oid
        self._layout = struct.Struct(cls.layout)

    def dump(self, obj: Column) -> Buffer:
        pack, size = self._layout.pack, self._layout.size - 4
        head = _HEAD.pack(1, 1, self._element_oid, len(obj.values), 1)
        return head + b"".join(
            [_NULL if value is None else pack(size, value) for value in obj.values]
        )


for _kind in (Floats, Integers, Dates):
    psycopg.adapters.register_dumper(_kind, _ColumnDumper)
