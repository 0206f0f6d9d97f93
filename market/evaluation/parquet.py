"""Outcomes as a Parquet file. Needs pyarrow, the optional extra `parquet`.

The columns have their types also where there is no row, and their comments as metadata, so that two
files of the same report can be put together.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from market.files import replaced
from sql.database import Connection
from sql.rows import Rows

_TYPES = {
    "int8": pa.int64(),
    "int2": pa.int64(),
    "int4": pa.int64(),
    "float8": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "text": pa.string(),
}
_COLUMNS = """
SELECT a.attname::text AS name, t.typname::text AS type, col_description(a.attrelid, a.attnum) AS comment
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = 'public.outcome_facts'::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""


def schema_of(conn: Connection, rows: Rows, about: Mapping[str, Any]) -> pa.Schema:
    """Make the schema of rows of outcome_facts. about: what the file is about, as its metadata."""
    known = {row["name"]: row for row in conn.execute(_COLUMNS).fetchall()}
    fields = [
        pa.field(
            name,
            _TYPES[known[name]["type"]],
            metadata={"comment": known[name]["comment"] or ""},
        )
        for name in rows.columns
    ]
    return pa.schema(fields, {"reckoner": json.dumps(about, default=str)})


def write(path: Path, rows: Rows, schema: pa.Schema) -> None:
    """Write a file, in place of the one of this name when it is complete. Raises OSError."""
    columns = {name: [row[name] for row in rows] for name in rows.columns}
    table = pa.table(columns, schema=schema)
    with replaced(path) as file:
        pq.write_table(table, file, compression="zstd")
