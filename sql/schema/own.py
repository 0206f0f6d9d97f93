"""Tell the objects that Reckoner made from another program's with the same names.

`migrate` marks what it makes: the comment of each function, view, table, index, sequence and type of ours
ends with MARK. A mark moves with a renamed object, ends with a dropped one, and is in a dump. Without it
an object is ours where its content is what this version makes (somebody ran the SQL of `db repair`, or a
file with psql), or where `reckoner_schema` has no mark either and records the release that made it:
releases before marks left none, nor does `pg_restore --no-comments`.

Tables that are adopted by contract (`SHARED`) are the owner's in any case, and so is a view in the place
of `prediction_inputs` with its columns.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from psycopg import sql as psql

from sql.database import Connection, one
from sql.schema import clash, made
from sql.schema.catalogue import definitions, recorded
from sql.schema.clash import Clash, Named
from sql.schema.files import ATTACHED_VIEWS, SHARED

MARK = "[made by Reckoner]"
# source_attach_view() writes this comment and compares it at each migrate.
_ATTACHED = "made by source_attach_view()"

_HERE = Path(__file__).parent
_DROP = re.compile(r"^(DROP (FUNCTION|VIEW) IF EXISTS (\w+(?:\([^)]*\))?);\n)", re.MULTILINE)

# The first migration of the last release but one before marks.
_LATER = "migrations/0013"


@dataclass(frozen=True)
class Names:
    """What the names of ours stand for in a database. ours: also what older releases made."""

    ours: list[Named]
    clashes: list[Clash]

    def oids(self, kind: str) -> list[int]:
        """Return the oids of ours: of `function`s or `relation`s."""
        return [each.oid for each in self.ours if each.kind == kind]

    @property
    def not_ours(self) -> frozenset[tuple[str, str]]:
        """Kind and name of each other program's object, as the catalogue has them."""
        found = [each.named for each in self.clashes]
        return frozenset(
            (each.what, each.identity) for each in found if each.kind in {"function", "relation"}
        )


def look(conn: Connection) -> Names:
    """Return what has a name of ours, and whose it is. Changes nothing."""
    with _path(conn):
        found = _found(conn)
        return _judge(conn, found)


def mark(conn: Connection, *, everything: bool = False) -> None:
    """Mark the objects of ours that have no mark.

    everything: all with a name of ours, where the caller has found no clash in this transaction.
    """
    with _path(conn):
        found = _found(conn)
        statements = [
            _marking(each)
            for each in (filter(_is_of_ours, found) if everything else _judge(conn, found).ours)
            if each.may_mark
            and not _is_marked(each)
            and not (everything and each.identity in ATTACHED_VIEWS)
        ]
        if statements:
            conn.execute(psql.SQL("; ").join(statements))


def spare(conn: Connection, text: str) -> str:
    """Return the text of the file of drops without those of another program's objects."""
    with _path(conn):
        names = _judge(conn, _found(conn))
        for statement, kind, name in _DROP.findall(text):
            regular = "to_regprocedure" if kind == "FUNCTION" else "to_regclass"
            query = f"SELECT {regular}('public.' || %s)::oid::bigint AS oid"
            oid = one(conn, query, [" ".join(name.split())])["oid"]
            if oid is not None and oid not in names.oids(
                "function" if kind == "FUNCTION" else "relation"
            ):
                text = text.replace(statement, "")
    return text


def marked(kind: str, name: str) -> str:
    """Return the statement that marks an object which somebody makes by hand."""
    statement = psql.SQL("COMMENT ON {} public.{} IS {};")
    return statement.format(
        psql.SQL(kind.upper()), psql.Identifier(name), psql.Literal(MARK)
    ).as_string(None)


def _is_of_ours(each: Named) -> bool:
    wanted = made.wanted().get((each.kind, each.identity))
    return wanted is not None and wanted.kind == each.what


def _marking(each: Named) -> psql.Composed:
    if each.identity in ATTACHED_VIEWS:
        text = f"{_ATTACHED}, by an older release"
    else:
        text = " ".join(filter(None, [each.comment, MARK]))
    of = psql.SQL(each.identity) if each.kind == "function" else psql.Identifier(each.identity)
    return psql.SQL("COMMENT ON {} public.{} IS {}").format(
        psql.SQL(each.what.upper()), of, psql.Literal(text)
    )


@contextmanager
def _path(conn: Connection) -> Iterator[None]:
    """Have names written as the catalogue writes them."""
    path = one(conn, "SELECT current_setting('search_path') AS path")["path"]
    conn.execute("SELECT set_config('search_path', 'pg_catalog, public', true)")
    yield
    conn.execute("SELECT set_config('search_path', %s, true)", [path])


def _found(conn: Connection) -> list[Named]:
    rows = conn.execute((_HERE / "own.sql").read_bytes(), _parameters()).fetchall()
    return [Named(**row) for row in rows]


@cache
def _parameters() -> dict[str, Any]:
    names = {name for _, name in made.wanted()} | {name for _, _, name in made.before_marks()}
    return {
        "mark": MARK,
        "functions": sorted({name.partition("(")[0] for name in names if "(" in name}),
        "relations": sorted({name for name in names if "(" not in name} | {*SHARED}),
        "shared": list(SHARED),
        "triggers": sorted({item.name for item in recorded() if item.kind == "trigger"}),
        "columns": sorted({name for names in clash.COLUMNS.values() for name in names}),
    }


def _is_marked(each: Named) -> bool:
    comment = each.comment or ""
    return comment.endswith(MARK) or (
        each.identity in ATTACHED_VIEWS and comment.startswith(_ATTACHED)
    )


def _judge(conn: Connection, found: list[Named]) -> Names:
    release = _Release.of(conn, found)
    tables = {
        each.identity
        for each in found
        if each.what == "table" and each.identity not in SHARED and release.made(each)
    }
    ours = []
    clashes = []
    functions = {}
    for each in found:
        wanted = made.wanted().get((each.kind, each.identity))
        if each.kind not in {"function", "relation"} or each.identity in SHARED:
            continue
        if wanted and wanted.kind == "index" and each.what == "index" and each.parent in tables:
            is_ours = each.parent == wanted.parent or _is_marked(each)
        else:
            is_ours = release.made(each)
        if is_ours:
            ours.append(each)
            if each.kind == "function":
                functions[each.identity] = each.oid
        elif (
            wanted
            and not (wanted.is_key and wanted.parent in tables)
            and not _is_the_owners_source(each, wanted)
        ):
            clashes.append(clash.taken(each))
    clashes += [clash.taken(each) for each in found if each.kind == "scalar"]
    clashes += [
        clash.no_table(each) for each in found if each.identity in SHARED and each.what != "table"
        and each.kind == "relation"
    ]  # fmt: skip
    if not release.is_there:
        clashes += clash.before_us(found, set(functions.values()))
    clashes += clash.overloads(conn, found, functions)
    return Names(ours, clashes)


def _is_the_owners_source(each: Named, wanted: made.Wanted) -> bool:
    """Whether a view took the place of prediction_inputs, which the contract allows."""
    return (
        each.identity in ATTACHED_VIEWS and each.what == "view" and each.content == wanted.content
    )


@dataclass(frozen=True)
class _Release:
    """What `reckoner_schema` says. has_marks: whether the release that it records left marks."""

    files: dict[str, str]
    is_there: bool
    has_marks: bool

    @classmethod
    def of(cls, conn: Connection, found: list[Named]) -> "_Release":
        for each in found:
            if each.identity == "reckoner_schema" and each.what == "table":
                if not _is_marked(each) and not {"name", "checksum"} <= set(each.content or ()):
                    break
                rows = conn.execute("SELECT name, checksum FROM public.reckoner_schema").fetchall()
                files = {row["name"]: row["checksum"] for row in rows}
                return cls(files, bool(files), _is_marked(each))
        return cls({}, False, False)

    def made(self, each: Named) -> bool:
        """Whether the object is ours."""
        if _is_marked(each):
            return True
        wanted = made.wanted().get((each.kind, each.identity))
        if wanted and wanted.kind != each.what:
            return False
        if wanted and _is_as_wanted(each, wanted):
            return True
        return self._recorded(each) if self.is_there and not self.has_marks else False

    def _recorded(self, each: Named) -> bool:
        """Whether a release without marks made it: known by name, as are the files that are recorded."""
        listed = made.before_marks()
        key = each.kind, each.identity
        if key not in made.wanted() and not any(key[1] == name for _, _, name in listed):
            return False  # an overload of theirs
        bare = each.identity.partition("(")[0]
        if made.made_by().get(bare) in self.files:
            return True
        definition = definitions().get(bare)
        if definition and self.files.get(definition.file) == made.checksums()[definition.file]:
            return True
        if not any(name.startswith("functions/") for name in self.files):
            return False
        releases = {"0001"}
        if max(filter(_is_migration, self.files), default="") >= _LATER:
            releases.add("0013")
        return any((since, each.what, each.identity) in listed for since in releases)


def _is_migration(name: str) -> bool:
    return name.startswith("migrations/")


def _is_as_wanted(each: Named, wanted: made.Wanted) -> bool:
    """Whether an object has the content that this version gives it, or a removal left it."""
    if each.identity in ATTACHED_VIEWS or wanted.content is None:
        return False
    if wanted.kind != "table":
        return bool(each.content == wanted.content)
    have = set(each.content or ())
    return have >= set(wanted.content) or have >= made.kept().get(each.identity, {""})
