"""Columns arrive as the lists that they were made of."""

import datetime as dt
import math
import struct
from typing import Any

import pytest

from sql.columns import Column, Dates, Floats, Integers
from tests.support.db import Conn, value


@pytest.mark.parametrize(
    ("kind", "array", "values"),
    [
        (Floats, "float8[]", [1.5, None, -0.1, 1e-308, 1.7976931348623157e308, math.inf, 3.0]),
        (Floats, "float8[]", [None]),
        (Integers, "bigint[]", [0, None, -1, 2**63 - 1, -(2**63)]),
        (Dates, "date[]", [dt.date.min, dt.date(1999, 12, 31), dt.date(2000, 1, 1), dt.date.max]),
        *[
            (kind, array, [])
            for kind, array in ((Floats, "float8[]"), (Integers, "bigint[]"), (Dates, "date[]"))
        ],
    ],
)
def test_every_value_arrives(conn: Conn, kind: type[Column], array: str, values: list[Any]) -> None:
    column = kind(values)
    assert value(conn, "SELECT %s", [column]) == values
    assert value(conn, "SELECT pg_typeof(%s) = %s::regtype", [column, array])
    # As psycopg sends a list.
    assert value(conn, f"SELECT %s = %s::{array}", [column, values])


def test_columns_of_a_table_line_up(conn: Conn) -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(n) for n in range(5_000)]
    found = conn.execute(
        "SELECT * FROM unnest(%s, %s, %s) AS t (day, half, number)",
        [
            Dates(days),
            Floats([n / 2 if n % 3 else None for n in range(5_000)]),
            Integers(range(5_000)),
        ],
    )
    for n, row in enumerate(found):
        assert tuple(row.values()) == (days[n], n / 2 if n % 3 else None, n)


def test_what_is_no_number_is_refused_before_it_is_sent(conn: Conn) -> None:
    with pytest.raises(struct.error):
        conn.execute("SELECT %s", [Floats(["1"])])  # type: ignore[list-item]
    with pytest.raises(struct.error):
        conn.execute("SELECT %s", [Integers([2**63])])
    assert value(conn, "SELECT 1") == 1
