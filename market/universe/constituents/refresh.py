"""The refresh of an index: the first source whose list can be taken decides.

A source that refuses, fails or gives a list that cannot be right changes nothing, and the next one
is asked. What each said is in the result, and kept where none could be taken.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from market.providers.base import Kind, Payload
from market.universe.constituents.listed import Index, Listed, Source, Wait
from sql.database import Connection, Database, one, trying
from sql.errors import translated
from sql.redaction import one_line
from sql.rows import Rows, fetch_rows

# A lock of the index's row is held for one refresh's transaction.
_SECONDS = 120


@dataclass(frozen=True)
class Refresh:
    """The result for one index. counters: of index_refresh(). notes: what sources said that were not used."""

    index: str
    result: str  # refreshed, refused (a list was there), failed (none was)
    counters: dict[str, int]
    provider_used: str | None = None
    fallback_used: bool = False
    notes: list[str] = field(default_factory=list)
    payload: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether a list was taken."""
        return self.result == "refreshed"

    def as_row(self) -> dict[str, Any]:
        """Return the row of a table, with `said` in one line."""
        return {
            "index": self.index,
            "result": self.result,
            **self.counters,
            "provider_used": self.provider_used,
            "fallback_used": self.fallback_used,
            "said": "; ".join(self.notes),
            "payload": self.payload,
        }


# What index_refresh() counts.
COUNTERS = (
    "fetched", "inserted", "reactivated", "inactivated", "registered", "members_before", "members_after",
)  # fmt: skip
# The columns of Refresh.as_row().
COLUMNS = ("index", "result", *COUNTERS, "provider_used", "fallback_used", "said", "payload")


def names(conn: Connection) -> list[str]:
    """Return the names of all indexes."""
    return [row["name"] for row in conn.execute("SELECT name FROM market_indexes ORDER BY name")]


def find(conn: Connection, name: str) -> Index:
    """Return an index by its name, in any case; raises NotFound."""
    with translated(lookup=True):
        row = one(conn, "SELECT * FROM index_named(%s)", [name])
    return Index(row["name"], row["least"], row["most"], row["fmp"], row["wikipedia"], row["csv"])


def members(conn: Connection, name: str, as_of: Any) -> Rows:
    """List the members of an index on a day; None: now. Raises NotFound."""
    with translated(lookup=True):
        return fetch_rows(
            conn,
            "SELECT symbol, name, sector, industry, since, until, source FROM index_members(%s, %s)",
            [name, as_of],
        )


def states(conn: Connection, name: str | None = None) -> Rows:
    """List the state of each index, or of one; raises NotFound."""
    if name is not None:
        name = find(conn, name).name
    return fetch_rows(
        conn,
        "SELECT * FROM index_status WHERE name = coalesce(%s::text, name) ORDER BY name",
        [name],
    )


def refresh(
    database: Database,
    sources: Sequence[Source],
    name: str,
    wait: Wait,
    *,
    yes: bool = False,
    dry_run: bool = False,
    keep_days: int = 90,
) -> Refresh:
    """Refresh the members of one index from the first source whose list can be taken.

    yes: also where more members would leave than the index allows. dry_run: ask the sources, and roll
    the change back. keep_days 0: payloads are not kept. Raises NotFound, psycopg.Error.
    """
    with database.transaction() as conn:
        index = find(conn, name)
    notes: list[str] = []
    counters = dict.fromkeys(COUNTERS, 0)
    refused = False
    asked = 0
    for source in sources:
        if not source.has(index):
            continue
        asked += 1
        listed = source.fetch(database, index, wait)
        if listed.kind is not Kind.OK:
            notes.append(one_line(f"{source.name}: {listed.kind} {listed.message}".strip()))
            continue
        with (
            translated(lookup=True),
            database.transaction(seconds=_SECONDS) as conn,
            trying(conn, dry_run=dry_run),
        ):
            row = _take(conn, index, source, listed, yes=yes)
            payload = _keep(conn, source, listed, keep_days)
        counters = {each: row[each] for each in COUNTERS}
        if row["result"] == "refreshed":
            return Refresh(
                index.name, "refreshed", counters, source.name, asked > 1, notes,
                None if dry_run else payload,
            )  # fmt: skip
        notes.append(f"{source.name}: {row['reason']}")
        refused = True
    if not notes:
        notes.append("no source has this index: see market_indexes")
    if not dry_run:
        with database.transaction() as conn:
            conn.execute("SELECT index_refresh_failed(%s, %s)", [index.name, "; ".join(notes)])
    return Refresh(index.name, "refused" if refused else "failed", counters, notes=notes)


def _take(
    conn: Connection, index: Index, source: Source, listed: Listed, *, yes: bool
) -> dict[str, Any]:
    members = Jsonb([asdict(each) for each in listed.members])
    return one(
        conn,
        "SELECT * FROM index_refresh(%s, %s, %s, %s)",
        [index.name, source.name, members, yes],
    )


def _keep(conn: Connection, source: Source, listed: Listed, days: int) -> int | None:
    """Keep the bytes that a list was read from; returns the payload's id."""
    payload: Payload | None = listed.payload
    if payload is None or days == 0:
        return None
    row = conn.execute(
        "SELECT payload_id FROM payloads_keep(p_hashes => %s, p_providers => %s, p_urls => %s,"
        " p_statuses => %s::integer[], p_classes => %s, p_sizes => %s::integer[], p_bodies => %s::bytea[])",
        [
            [payload.sha256], [source.name], [one_line(payload.url)], [payload.status],
            [str(listed.kind)], [len(payload.body)], [zlib.compress(payload.body)],
        ],
    ).fetchone()  # fmt: skip
    return row["payload_id"] if row else None
