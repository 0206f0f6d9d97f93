"""Clashes of names: an object of another program in the place of one of ours, and the way out.

Each has the SQL by which its owner makes room: a new name, or a schema of its own. Nothing runs it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import sql as psql

from sql.database import Connection
from sql.schema.catalogue import definitions, recorded, signatures
from sql.schema.fits import fits

# Columns that `migrate` adds to the tables of another program. One of the owner's with such a name is
# used as ours where its type fits: a removal leaves them.
COLUMNS = {
    "ticker_registry": (
        "calendar", "provider_symbol", "backfill_status", "backfill_error", "last_backfill",
        "fetched_from", "fetched_to", "currency", "registered_as",
    ),
    "market_prices": ("fetched_at", "payload_id"),
    "prediction_outcomes": (
        "entry_session", "outcome_state", "outcome_reason", "engine_version", "due_at", "revision",
    ),
}  # fmt: skip

_IMPLICIT = """
SELECT format_type(castsource, NULL) AS source, format_type(casttarget, NULL) AS target
FROM pg_cast WHERE castcontext = 'i'
"""


@dataclass(frozen=True)
class Named:
    """An object with a name of ours: a row of `own.sql`. what: table, view, function …

    kind: function, relation, scalar (a type that is no relation), trigger or column. call: of a function
    the fewest arguments it is called with, and the types of all. oid: of a trigger its function's.
    """

    kind: str
    name: str
    identity: str
    oid: int
    what: str
    parent: str | None
    comment: str | None
    may_mark: bool
    content: Any
    extension: str | None
    call: dict[str, Any] | None


@dataclass(frozen=True)
class Clash:
    """One object in the way: what it is and why, and the SQL that makes room."""

    named: Named
    said: str
    sql: str

    @property
    def object(self) -> str:
        """Kind and name, as an audit writes them."""
        on = f" on {self.named.parent}" if self.named.what in {"index", "trigger"} else ""
        if self.named.kind == "column":
            return f"column {self.named.parent}.{self.named.name}"
        return f"{self.named.what} {self.named.identity}{on}"

    def __str__(self) -> str:
        return f"{self.object} {self.said}"


def taken(named: Named) -> Clash:
    """Report an object that is not ours and has the name of one that is."""
    return Clash(named, "exists and is not Reckoner's", _way_out(named))


def no_table(named: Named) -> Clash:
    """Report something else where a table is adopted."""
    return Clash(named, "exists, and Reckoner needs a table of that name", _way_out(named))


def before_us(found: Iterable[Named], functions: set[int]) -> list[Clash]:
    """Report triggers and columns that were there before the first installation.

    functions: the oids of ours. Later an owner may have replaced a trigger, or changed a type.
    """
    wanted = {
        (item.parent, item.name): item
        for item in recorded()
        if item.kind == "column" and item.name in COLUMNS.get(item.parent, ())
    }
    clashes = []
    for each in found:
        if each.kind == "trigger" and each.oid not in functions:
            clashes.append(taken(each))
        item = wanted.get((each.parent or "", each.name)) if each.kind == "column" else None
        if item and not fits(item, each.content):
            said = f"is {each.content} and not Reckoner's, which needs {item.detail['type']}"
            clashes.append(Clash(each, said, _way_out(each)))
    return clashes


def overloads(conn: Connection, found: list[Named], functions: dict[str, int]) -> list[Clash]:
    """Report overloads that calls of a function of ours would reach, or be ambiguous with.

    functions: ours that are there. Beside those an overload is for `audit` to tell: it has been so before.
    """
    strange = [
        each for each in found if each.kind == "function" and each.identity not in signatures()
    ]
    strange = [each for each in strange if each.identity not in functions]
    if not strange:
        return []
    implicit = {(row["source"], row["target"]) for row in conn.execute(_IMPLICIT.encode())}
    clashes = []
    for each in strange:
        for signature in sorted(signatures()):
            name, _, types = signature.rstrip(")").partition("(")
            if name != each.name or signature in functions:
                continue
            if _captures(each, name, types.split(",") if types else [], implicit):
                said = f"is not Reckoner's, and calls of its {signature} could mean it"
                clashes.append(Clash(each, said, _way_out(each)))
                break
    return clashes


def _captures(each: Named, name: str, ours: list[str], implicit: set[tuple[str, str]]) -> bool:
    """Whether a call of ours could mean the other, with some number of arguments that both take.

    Of two that take the same types, one of them by a default, the server chooses neither.
    """
    call = each.call or {}
    theirs = call["types"]
    lowest = max(call["lowest"], len(ours) - _defaults(name))
    return any(
        all(
            a == b or (a, b) in implicit or (b, a) in implicit
            for a, b in zip(ours[:count], theirs[:count], strict=True)
        )
        for count in range(lowest, min(len(ours), len(theirs)) + 1)
    )


def _defaults(name: str) -> int:
    """How many parameters of a function of ours have a default."""
    return definitions()[name].statement.partition("$$")[0].count(" DEFAULT ")


def _way_out(named: Named) -> str:
    """Return the SQL that makes room for ours."""
    if named.extension:
        move = psql.SQL("CREATE SCHEMA {0}; ALTER EXTENSION {0} SET SCHEMA {0};")
        return move.format(psql.Identifier(named.extension)).as_string(None)
    new = psql.Identifier(f"their_{named.name}"[:63])
    old = psql.Identifier(named.name)
    on = psql.SQL("public.{}").format(psql.Identifier(named.parent or ""))
    if named.kind == "trigger":
        statement = psql.SQL("ALTER TRIGGER {} ON {} RENAME TO {};").format(old, on, new)
    elif named.kind == "column":
        statement = psql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {};").format(on, old, new)
    else:
        of = psql.SQL(named.identity) if named.kind == "function" else old
        what = "type" if named.what == "domain" else named.what
        statement = psql.SQL("ALTER {} public.{} RENAME TO {};").format(
            psql.SQL(what.upper()), of, new
        )
    return statement.as_string(None)
