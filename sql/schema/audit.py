"""Compare a database with what this version expects of it: `market db audit`.

Tables of ours must be as recorded. Of tables that another program may have made, only the parts are
compared on which our statements rely; the rest is the owner's. The checks call no function of ours,
because a broken one may be the finding, and they change nothing: a view is compared with the expected
one, which is created in a transaction that is rolled back.
"""

import re
from collections.abc import Callable

import psycopg

from sql.database import Connection, one
from sql.schema import drift, migrate, own, rights
from sql.schema.catalogue import Item, definitions, describe, recorded
from sql.schema.drift import Difference
from sql.schema.files import ATTACHED_VIEWS, SHARED
from sql.schema.fits import IDS, fits

# The unique columns on which our statements rely there: for ON CONFLICT, and for one row per name.
_KEYS = {
    "predictions": ["id"],
    "ticker_registry": ["symbol"],
    "market_prices": ["date", "symbol"],
}
# Columns of `predictions` that another program may lack.
_OPTIONAL = {"post_timestamp", "signal_id", "shitpost_id", "updated_at"}
# Columns that we neither read nor write there.
_UNUSED = {"id", "sector"}


def audit(conn: Connection) -> list[Difference]:
    """Return every difference, in an order in which their SQL can be run.

    Raises migrate.MigrationError where the database is of another version.
    """
    migrate.expect_files(conn)
    names = own.look(conn)
    live = [item for item in describe(conn) if not _is_of(item, names.not_ours)]
    have = {item.identity: item for item in live}
    # Nothing is made in the place of another program's object, nor on it.
    want = [item for item in recorded() if not _is_of(item, names.not_ours)]
    needed = _called_by_tables(want)
    routines = _routines(want, have, conn)
    found = [drift.taken(each) for each in names.clashes]
    found += [each for each in routines if _function_name(each) in needed]
    found += _tables(want, have) + _ids(have)
    found += [each for each in routines if _function_name(each) not in needed]
    checks: tuple[tuple[str, Callable[[Item], Difference], _Change], ...] = (
        ("index", drift.missing_index, drift.changed_index),
        ("trigger", drift.missing_trigger, drift.changed_trigger),
    )
    tables = {item.parent for item in live if item.kind == "column"}
    for kind, missing, changed in checks:
        for item in (item for item in want if item.kind == kind):
            there = have.get(item.identity)
            if there is None and kind == "trigger" and item.parent not in tables:
                continue  # the statement that makes the table makes its triggers
            if there is None:
                found.append(missing(item))
            elif there.detail != item.detail:
                found.append(changed(item, there))
    return found + _strangers(want, live) + _rights(want, have, conn) + _elsewhere(want, conn)


def _is_of(item: Item, not_ours: frozenset[tuple[str, str]]) -> bool:
    """Whether an item is another program's object, or belongs to its table."""
    kind, table = (item.parent, "") if item.kind == "rights" else (item.kind, item.parent)
    return (kind, item.name) in not_ours or ("table", table) in not_ours


def _called_by_tables(want: list[Item]) -> set[str]:
    """Names of functions that defaults and CHECKs call: without them no table can be made."""
    texts = [
        str(item.detail.get("default") or item.detail.get("definition"))
        for item in want
        if item.kind in {"column", "constraint"}
    ]
    return {name for text in texts for name in re.findall(r"(\w+)\(", text)}


def _function_name(difference: Difference) -> str:
    kind, _, name = difference.object.partition(" ")
    return name.partition("(")[0] if kind == "function" else ""


_Change = Callable[[Item, Item], Difference]
_Have = dict[tuple[str, str, str], Item]


def _tables(want: list[Item], have: _Have) -> list[Difference]:
    found: list[Difference] = []
    tables = sorted({item.parent for item in want if item.kind == "column"})
    there = {item.parent for item in have.values() if item.kind == "column"}
    found += [
        Difference(
            f"sequence {item.name}",
            "is missing",
            "danger",
            "claims need its numbers: a new one must begin above every lease ever given",
            False,
            f"CREATE SEQUENCE public.{item.name}; {own.marked('sequence', item.name)}"
            " -- RESTART WITH a number above all leases",
        )
        for item in want
        if item.kind == "sequence" and item.identity not in have
    ]
    for table in tables:
        columns = [item for item in want if item.kind == "column" and item.parent == table]
        constraints = [item for item in want if item.kind == "constraint" and item.parent == table]
        by = [item for item in want if item.kind == "partitioned" and item.parent == table]
        if table not in there:
            triggers = [item for item in want if item.kind == "trigger" and item.parent == table]
            found.append(drift.missing_table(table, columns, constraints, triggers, by))
        elif table in SHARED:
            found += _shared(table, columns, have)
        else:
            found += [
                drift.not_partitioned(item)
                for item in by
                if item.identity not in have or have[item.identity].detail != item.detail
            ]
            for item in columns:
                live = have.get(item.identity)
                found += (
                    [drift.missing_column(item)]
                    if live is None
                    else drift.changed_column(item, live)
                )
            found += [
                drift.missing_constraint(item)
                for item in constraints
                if item.identity not in have or have[item.identity].detail != item.detail
            ]
    return found


def _shared(table: str, columns: list[Item], have: _Have) -> list[Difference]:
    """Compare a table that may be another program's: only the parts on which we rely."""
    found = []
    for item in columns:
        if item.name in _UNUSED and table != "predictions":
            continue
        live = have.get(item.identity)
        if live is None:
            if not (table == "predictions" and item.name in _OPTIONAL):
                found.append(drift.missing_column(item))
        elif not fits(item, live.detail["type"]):
            found.append(drift.wrong_type(item, live))
        elif table != "predictions" and live.detail["not_null"] and not item.detail["not_null"]:
            found.append(drift.refuses_null(item))
    key = _KEYS.get(table)
    if key and not any(
        item.parent == table and item.detail.get("key") == key and item.detail.get("valid", True)
        for item in have.values()
        if item.kind in {"constraint", "index"}
    ):
        listed = ", ".join(key)
        found.append(
            Difference(
                f"table {table}",
                f"has no unique index on ({listed})",
                "danger",
                "the same thing can be there twice, and ON CONFLICT fails",
                False,
                f"CREATE UNIQUE INDEX CONCURRENTLY ON public.{table} ({listed});"
                " -- fails on duplicates",
            )
        )
    return found


def _ids(have: _Have) -> list[Difference]:
    """Find a column that does not take every id of predictions.id."""
    types = {
        table: live.detail["type"]
        for table, column in (("predictions", "id"), ("prediction_outcomes", "prediction_id"))
        if (live := have.get(("column", table, column)))
    }
    sizes = {table: IDS.get(type_, 0) for table, type_ in types.items()}
    if not 0 < sizes.get("prediction_outcomes", 0) < sizes.get("predictions", 0):
        return []
    return [
        Difference(
            "column prediction_outcomes.prediction_id",
            f"is {types['prediction_outcomes']}, predictions.id is {types['predictions']}",
            "danger",
            "the outcomes of larger ids cannot be stored",
            False,
            "-- python -m worker migrate --remove --apply, then\n"
            "ALTER TABLE public.prediction_outcomes ALTER COLUMN prediction_id TYPE"
            f" {types['predictions']};\n-- then python -m worker migrate",
        )
    ]


def _routines(want: list[Item], have: _Have, conn: Connection) -> list[Difference]:
    """Compare functions, then views, which use them."""
    found = []
    for item in (item for item in want if item.kind == "function"):
        live = have.get(item.identity)
        if live is None or live.detail != item.detail:
            found.append(drift.routine(item, missing=live is None))
    order = [*ATTACHED_VIEWS, *definitions()]  # in the order of their files: some read others
    views = [item for item in want if item.kind == "view"]
    for item in sorted(views, key=lambda view: order.index(view.name)):
        live = have.get(item.identity)
        if item.name in ATTACHED_VIEWS:
            found += _source(item, live)
        elif live is None or not _is_view(conn, item.name):
            found.append(drift.routine(item, missing=live is None))
    return found


def _is_view(conn: Connection, view: str) -> bool:
    """Whether a view is the one of its file, as this server spells it.

    Servers of different versions print one view differently, so the expected one is made here.
    """
    statement = re.sub(
        r"^CREATE OR REPLACE VIEW \w+",
        "CREATE TEMP VIEW reckoner_expected",
        definitions()[view].statement,
    )
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(statement.encode())
            row = conn.execute(
                "SELECT pg_get_viewdef('pg_temp.reckoner_expected'::regclass)"
                " = pg_get_viewdef(('public.' || quote_ident(%s))::regclass) AS same",
                [view],
            ).fetchone()
    except psycopg.ProgrammingError:
        return (
            False  # what it reads is missing or another program's, which is a difference of its own
        )
    return bool(row and row["same"])


def _source(item: Item, live: Item | None) -> list[Difference]:
    """Compare the view of the source, which the owner may have replaced for another source."""
    if live is not None and live.detail["columns"] == item.detail["columns"]:
        return []
    return [
        Difference(
            f"view {item.name}",
            "is missing" if live is None else "has other columns",
            "danger",
            "what is read of predictions is read through it",
            live is None,
            "SELECT public.source_attach_view();",
        )
    ]


def _strangers(want: list[Item], live: list[Item]) -> list[Difference]:
    """Find strange objects on tables of ours, and columns that refuse our inserts."""
    known = {item.identity for item in want}
    tables = {item.parent for item in want if item.kind == "column"}
    functions = {item.parent for item in want if item.kind == "function"}
    found = []
    for item in live:
        if item.identity in known:
            continue
        if item.kind == "function" and item.parent in functions:
            found.append(drift.overload(item))
        if item.parent not in tables or item.parent == "predictions":
            continue
        detail = item.detail
        if item.kind == "column":
            must = detail["not_null"] and detail["default"] is None and not detail["identity"]
            if must:
                found.append(drift.needs_a_value(item))
        elif item.parent not in SHARED and (
            item.kind in {"trigger", "constraint"} or (item.kind == "index" and detail["unique"])
        ):
            found.append(drift.strange(item))
    return found


# Only the owner may write them: their rows apply to all roles.
_OWNERS_ALONE = ("reckoner_clock", "reckoner_schema", "symbol_rules")


def _rights(want: list[Item], have: _Have, conn: Connection) -> list[Difference]:
    """Compare owners and rights of our objects. How functions run is in their digests.

    Roles get rights by name, and which is the owner's business but for what would make them owner.
    """
    owner = one(
        conn,
        "SELECT pg_get_userbyid(relowner) AS name FROM pg_class WHERE oid = 'public.reckoner_schema'::regclass",
    )["name"]
    is_hardened = rights.public_is_shut_out(conn)
    found = []
    for item in (item for item in want if item.kind == "rights"):
        live = have.get(item.identity)
        if live is None or (item.parent != "function" and _is_theirs(item)):
            continue  # a missing object is a difference of its own; rights on another program's table are its owner's
        found += drift.ownership(item, live, owner)
        found += [
            each
            for each in drift.public_rights(item, live)
            if not (is_hardened and each.difference == "PUBLIC lacks EXECUTE")
        ]
        if item.parent == "function":
            bare = item.name.partition("(")[0]
            is_inner = (
                item.detail["definer"] and bare not in rights.WORKERS
            ) or bare in rights.NOBODYS
            forbidden = set(live.detail["roles"]) if is_inner else set()
        else:
            forbidden = {
                role
                for role, held in live.detail["roles"].items()
                if item.name in _OWNERS_ALONE and set(held) - {"SELECT"}
            }
        found += [drift.named_rights(item, role) for role in sorted(forbidden)]
    return found


def _is_theirs(item: Item) -> bool:
    return any(item.name == table or item.name.startswith(f"{table}_id") for table in SHARED)


def _elsewhere(want: list[Item], conn: Connection) -> list[Difference]:
    """Find triggers that call a function of ours on another table than its own."""
    triggers = [item for item in recorded() if item.kind == "trigger"]
    rows = conn.execute(
        "SELECT t.tgname AS trigger, n.nspname AS schema, c.relname AS table, p.proname AS function"
        " FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        " JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY (%s)"
        "   AND NOT (n.nspname = 'public' AND (c.relname, t.tgname) IN (SELECT * FROM unnest(%s::text[], %s::text[])))"
        " ORDER BY 2, 3, 1",
        [
            sorted({item.name for item in triggers} & {item.parent for item in want}),
            [item.parent for item in triggers],
            [item.name for item in triggers],
        ],
    ).fetchall()
    return [
        drift.elsewhere(row["trigger"], f"{row['schema']}.{row['table']}", row["function"])
        for row in rows
    ]
