"""Databases that another program made: how they are loaded, and what they look like.

The generations are in `generations/*.sql`. What is read here is read from the catalogs and
from the rows themselves, over the columns and the ids that were there at a certain moment, so
that two looks are equal exactly when nothing of the other program's was touched between them.
"""

import datetime as dt
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import sql as psql

from tests.support.cli import command
from tests.support.db import Conn, value

FOLDER = Path(__file__).parent / "generations"
GENERATIONS = ("older", "newer", "mixed")
# One outcome too many, or two, for each of these pairs of the older generation.
DUPLICATES = {(12, "AAPL"): 3, (31, "SPY"): 2, (236, "AAPL"): 2, (236, "TSLA"): 2}
# Those of their tables that we write to; the others are only read.
SHARED = ("market_prices", "prediction_outcomes", "ticker_registry")

Columns = dict[str, list[str]]
Contents = dict[str, tuple[int, str, str]]


def load(conn: Conn, generation: str) -> None:
    """Make a generation's tables and rows in an empty database."""
    conn.execute((FOLDER / f"{generation}.sql").read_bytes())


def without_duplicates(conn: Conn) -> None:
    """Delete the second and third of each outcome, as an owner who tidied up before."""
    conn.execute(
        "DELETE FROM prediction_outcomes o USING prediction_outcomes first"
        " WHERE first.prediction_id = o.prediction_id AND first.symbol = o.symbol AND first.id < o.id"
    )


def duplicates(conn: Conn) -> dict[tuple[int, str], int]:
    """The pairs that have more than one outcome, and how many."""
    rows = conn.execute(
        "SELECT prediction_id, symbol, count(*) AS n FROM prediction_outcomes"
        " GROUP BY 1, 2 HAVING count(*) > 1"
    )
    return {(row["prediction_id"], row["symbol"]): row["n"] for row in rows}


def columns(conn: Conn) -> Columns:
    """Every table of the schema with its columns, in their order."""
    rows = conn.execute(
        "SELECT relname, array_agg(attname::text ORDER BY attnum) AS names"
        " FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
        " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped"
        " GROUP BY relname"
    )
    return {row["relname"]: row["names"] for row in rows}


def contents(conn: Conn, of: Columns, last_ids: Mapping[str, int] | None = None) -> Contents:
    """Per table: how many rows, what they say in these columns, and where and since when they lie.

    last_ids: only rows up to these ids. An UPDATE that changes nothing shows in the last.
    """
    found: Contents = {}
    for table, names in of.items():
        query = psql.SQL(
            "SELECT count(*) AS n, md5(string_agg(said, ' ' ORDER BY said COLLATE \"C\")) AS said,"
            " md5(string_agg(place, ' ' ORDER BY place COLLATE \"C\")) AS places FROM ("
            "SELECT ROW({names})::text AS said, ctid::text || xmin::text AS place"
            " FROM {table} WHERE id <= {last}) t"
        ).format(
            names=psql.SQL(", ").join(map(psql.Identifier, names)),
            table=psql.Identifier(table),
            last=(last_ids or {}).get(table, 2**31 - 1),
        )
        row = conn.execute(query).fetchone()
        assert row is not None
        found[table] = (row["n"], row["said"], row["places"])
    return found


def last_ids(conn: Conn, of: Columns) -> dict[str, int]:
    """The highest id of each table."""
    return {
        table: conn.execute(
            psql.SQL("SELECT coalesce(max(id), 0) AS id FROM {}").format(psql.Identifier(table))
        ).fetchall()[0]["id"]
        for table in of
    }


def expected_moments(conn: Conn) -> dict[int, dt.datetime]:
    """Every prediction's moment: section 3 of the contract in plain Python."""
    there = columns(conn)

    def times(table: str, key: str, time: str) -> dict[str | None, dt.datetime]:
        if table not in there or key not in there["predictions"]:
            return {}
        rows = conn.execute(f'SELECT {key} AS key, "{time}" AS at FROM {table}'.encode())  # noqa: S608
        return {row["key"]: row["at"] for row in rows}

    signals = times("signals", "signal_id", "published_at")
    shitposts = times("truth_social_shitposts", "shitpost_id", "timestamp")
    found = {}
    for row in conn.execute("SELECT * FROM predictions"):
        moment: dt.datetime = (
            signals.get(row.get("signal_id"))
            or shitposts.get(row.get("shitpost_id"))
            or row.get("post_timestamp")
            or row["created_at"]
        )
        # A timestamp without a zone is UTC.
        found[row["id"]] = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return found


class Column(NamedTuple):
    """A column of a table."""

    table: str
    name: str
    type: str
    not_null: bool
    default: str | None


@dataclass(frozen=True)
class Catalog:
    """What the database knows about some of its tables, and about all views."""

    columns: set[Column]
    constraints: set[tuple[str, str, str, bool]]
    indexes: set[tuple[str, str]]
    triggers: set[tuple[str, str, str, str]]
    views: set[tuple[str, str]]
    files: set[tuple[str, int]]
    rights: set[tuple[str, str, str | None]]


def catalog(conn: Conn, tables: list[str]) -> Catalog:
    """Look at these tables, and at all views."""

    def rows(query: str) -> set[tuple[Any, ...]]:
        return {tuple(row.values()) for row in conn.execute(query.encode(), {"tables": tables})}

    return Catalog(
        columns={
            Column(*row)
            for row in rows(
                "SELECT attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod),"
                " attnotnull, pg_get_expr(adbin, adrelid) FROM pg_attribute"
                " LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
                " WHERE attrelid = ANY (%(tables)s::regclass[]) AND attnum > 0 AND NOT attisdropped"
            )
        },
        constraints=rows(
            "SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid), convalidated"
            # PostgreSQL 18 counts NOT NULL among them; `columns` has it.
            " FROM pg_constraint WHERE conrelid = ANY (%(tables)s::regclass[]) AND contype <> 'n'"
        ),
        indexes=rows(
            "SELECT indrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = ANY (%(tables)s::regclass[]) AND indisvalid"
        ),
        triggers=rows(
            "SELECT tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid), tgenabled::text"
            " FROM pg_trigger WHERE tgrelid = ANY (%(tables)s::regclass[]) AND NOT tgisinternal"
        ),
        views=rows("SELECT viewname::text, definition FROM pg_views WHERE schemaname = 'public'"),
        files=rows(
            "SELECT oid::regclass::text, pg_relation_filenode(oid)::int"
            " FROM pg_class WHERE oid = ANY (%(tables)s::regclass[])"
        ),
        rights=rows(
            "SELECT oid::regclass::text, relowner::regrole::text, relacl::text"
            " FROM pg_class WHERE oid = ANY (%(tables)s::regclass[])"
        ),
    )


def unique_on(conn: Conn, table: str, *names: str) -> int:
    """How many unique indexes there are on just these columns."""
    return int(
        value(
            conn,
            "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass AND indisunique AND indisvalid"
            " AND indpred IS NULL AND (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute"
            " WHERE attrelid = indrelid AND attnum = ANY (indkey)) = %s",
            [table, sorted(names)],
        )
    )


def migrate(url: str, *arguments: str) -> list[dict[str, Any]]:
    """Migrate as an operator; returns the changes that it prints."""
    done = command(url, "worker", "migrate", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    changes: list[dict[str, Any]] = json.loads(done.stdout)
    return changes


def blocked(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those changes that cannot be made before the owner does something."""
    return [change for change in changes if change["action"] == "blocked"]


def advice(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is left to a person."""
    return [change for change in changes if change["action"] in {"blocked", "optional"}]


def check(url: str) -> subprocess.CompletedProcess[str]:
    """What `migrate --check` says."""
    return command(url, "worker", "migrate", "--check", "--json")


Generation = Callable[[str], str]


@dataclass(frozen=True)
class Migration:
    """A generation as it was loaded, what migrate said, and what has become of it."""

    url: str  # nobody stays connected: it is copied
    columns: Columns
    rows: Contents
    catalog: Catalog
    changes: list[dict[str, Any]]
    rows_after: Contents
    catalog_after: Catalog
