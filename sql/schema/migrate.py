"""Apply `migrations/` (once each, never edited) and `functions/` (whenever their text changes).

Each migration is a transaction, so that a lock on an owner's table is short. All functions change in
one transaction. Attaching (triggers, view) comes last. Each step takes a transaction-level advisory lock
and then determines anew what is missing: so two processes may migrate at once, and the next run resumes
one that was interrupted.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
import structlog

from sql.database import Connection, Database, error_line, one
from sql.errors import ReckonerError, Unhealthy
from sql.schema import elsewhere, indexes, locks, own, reads, rights
from sql.schema.clash import Clash
from sql.schema.files import SchemaFile, schema_files
from sql.schema.locks import until_free
from sql.session import fitted

# How long one migration waits for another.
_TURN_SECONDS = 60

# The file that drops functions of older releases.
DROPS = "functions/00_dropped.sql"

log = structlog.get_logger()


class MigrationError(ReckonerError):
    """The database cannot be brought to the expected state; one line says why."""


class SchemaMismatch(MigrationError, Unhealthy):
    """The database differs from what this code expects."""


class NamesTaken(SchemaMismatch):
    """Another program has objects with names of ours; nothing was changed."""

    def __init__(self, clashes: list[Clash]) -> None:
        said = "; ".join(f"{each} ({each.sql})" for each in clashes)
        super().__init__(f"names of ours are taken, nothing was changed: {said}")
        self.changes = [_as_change(each) for each in clashes]


@dataclass(frozen=True)
class Change:
    """One change by `migrate`: `apply` a new file, `replace` a changed one, `attach`,
    `restrict` a function that everyone may call.

    `optional` and `blocked` (by duplicates): what a person may do with `sql`. `clash`: another program's
    object has a name of ours, and `migrate` refuses; `sql` makes room.
    """

    action: str
    name: str
    sql: str | None = None


def _as_change(each: Clash) -> Change:
    return Change("clash", str(each), each.sql)


def pending(conn: Connection) -> list[Change]:
    """Return the changes that `migrate` would make, or the clashes for which it would refuse;
    none where the database is as expected.

    Raises MigrationError when an applied migration's text is no longer the one that was applied,
    when the database has one that this version does not know, or when predictions is elsewhere.
    """
    if refusal := elsewhere.refusal(conn):
        raise SchemaMismatch(refusal)
    if clashes := own.look(conn).clashes:
        return [_as_change(each) for each in clashes]
    return _pending(conn)


def _pending(conn: Connection) -> list[Change]:
    changes = _pending_files(conn)
    # A file that is applied revokes its own functions from PUBLIC.
    open_to_all = [] if changes else _open_to_all(conn)
    return [*changes, *_detached(conn), *open_to_all]


def _open_to_all(conn: Connection) -> list[Change]:
    return [
        Change("restrict", f"function {each} can be called by everyone")
        for each in rights.too_public(conn)
    ]


def _pending_files(conn: Connection) -> list[Change]:
    """Return the files that are new or changed; calls no function of ours."""
    applied = {}
    if _scalar(conn, "SELECT to_regclass('public.reckoner_schema') IS NOT NULL"):
        rows = conn.execute("SELECT name, checksum FROM public.reckoner_schema").fetchall()
        applied = {row["name"]: row["checksum"] for row in rows}
    changes = []
    files = schema_files()
    # What 00_dropped.sql drops, the file that has it now must make again.
    drops = any(applied.get(file.name) != file.checksum for file in files if file.name == DROPS)
    strange = sorted(
        name
        for name in applied.keys() - {file.name for file in files}
        if name.startswith("migrations/")
    )
    if strange:
        raise SchemaMismatch(
            f"a newer version of Reckoner migrated this database ({strange[-1]}): deploy that version"
        )
    for file in files:
        recorded = applied.get(file.name)
        if recorded is None:
            changes.append(Change("apply", file.name))
        elif recorded != file.checksum or (drops and not file.is_migration):
            if file.is_migration:
                raise SchemaMismatch(
                    f"{file.name} was changed after it was applied here (recorded {recorded[:12]},"
                    f" now {file.checksum[:12]}): restore its text and put the change into a new migration"
                )
            changes.append(Change("replace", file.name))
    return changes


def _detached(conn: Connection) -> list[Change]:
    if not _scalar(conn, "SELECT to_regproc('public.source_missing') IS NOT NULL"):
        return []
    missing = conn.execute("SELECT source_missing AS text FROM public.source_missing()")
    found = [row["text"] for row in missing]
    return [Change("attach", text) for text in (*found, *reads.elsewhere(conn))]


def expect(conn: Connection) -> list[Change]:
    """Raise SchemaMismatch unless this code's tables and functions are there.

    Returns what is only detached (a trigger that is missing or disabled).
    """
    expect_files(conn)
    return _detached(conn)


def expect_files(conn: Connection) -> None:
    """Raise SchemaMismatch unless this code's files were applied; calls no function of ours."""
    if _pending_files(conn):
        raise SchemaMismatch(
            "the database lacks what this version expects: run python -m worker migrate"
        )


def advise(conn: Connection) -> list[Change]:
    """Return what only a person may change on the tables: columns too narrow, and UNIQUE.

    Everything works without UNIQUE on prediction_outcomes. With it, that program's second insert for a pair fails where
    it succeeds now, so it is the owner who adds it, with the SQL that this returns. Reads the
    whole table where the index is missing.
    """
    if not _scalar(conn, "SELECT to_regproc('public.outcomes_are_unique') IS NOT NULL"):
        return []
    narrow = narrow_ids(conn)
    if _scalar(conn, "SELECT public.outcomes_are_unique()"):
        return narrow
    pairs = conn.execute("SELECT * FROM outcomes_duplicates()").fetchall()
    named = ", ".join(
        f"({row['prediction_id']}, {row['symbol']}) x{row['n']}" for row in pairs[:50]
    )
    if len(pairs) > 50:
        named += f", and {len(pairs) - 50} more, see outcomes_duplicates()"
    index = "no unique index on prediction_outcomes (prediction_id, symbol)"
    return [
        *narrow,
        Change(
            "blocked" if pairs else "optional",
            f"{index}: duplicates of {named}" if pairs else index,
            str(one(conn, "SELECT outcomes_resolution() AS sql")["sql"]),
        ),
    ]


def refuse_ids(conn: Connection) -> None:
    """Raise MigrationError where an id of a prediction is neither smallint, integer nor bigint.

    Before the first change, so it calls no function of ours.
    """
    row = conn.execute(
        "SELECT c.relname || '.' || a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped"
        "   AND (c.relname, a.attname) IN (('predictions', 'id'), ('prediction_outcomes', 'prediction_id'))"
        "   AND coalesce(nullif(t.typbasetype, 0), t.oid)"
        "       NOT IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)"
        " ORDER BY c.relname DESC LIMIT 1"
    ).fetchone()
    if row:
        raise MigrationError(
            f"{row['name']} is {row['type']}: the id of a prediction must be smallint, integer or bigint;"
            " nothing was changed"
        )


def narrow_ids(conn: Connection) -> list[Change]:
    """Return the columns that do not take every id of predictions.id, with what widens each."""
    if not _scalar(conn, "SELECT to_regproc('public.source_ids_wrong') IS NOT NULL"):
        return []
    rows = conn.execute(
        "SELECT problem, remedy FROM public.source_ids_wrong() WHERE NOT is_refused"
    ).fetchall()
    return [Change("blocked", row["problem"], row["remedy"]) for row in rows]


def migrate(database: Database) -> list[Change]:
    """Bring the database to the state that this code expects; returns what was done.

    Raises NamesTaken before the first change where another program's object has a name of ours, and
    MigrationError when a migration was edited, or when a lock on the owner's tables
    could not be had within a few seconds, in waits of a tenth: waiting longer at once would
    queue its inserts behind us. What was done until then stays, and the next run goes on from there.
    """
    done: list[Change] = []
    with database.transaction(seconds=60) as conn:
        refuse_ids(conn)
        if refusal := elsewhere.refusal(conn):
            raise SchemaMismatch(refusal)
        _refuse_clashes(conn)
    try:
        for file in schema_files():
            if file.is_migration:
                indexes.build(database, file)
                done += until_free(functools.partial(_step, database, [file]))
        functions = [file for file in schema_files() if not file.is_migration]
        done += until_free(lambda: _step(database, functions))
        done += until_free(lambda: _attach(database))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        with database.transaction(seconds=10) as conn:
            holder = locks.holder(conn)
        raise MigrationError(
            f"gave up waiting for a lock, so as not to hold up other programs: {holder};"
            " run it again, it goes on from here"
        ) from error
    with database.transaction(seconds=300) as conn:
        advice = advise(conn)
    return [*done, *advice]


@contextlib.contextmanager
def _locked(database: Database) -> Iterator[Connection]:
    """Open a transaction in which no other process migrates, with short waits for other locks.

    The advisory lock keeps out psql and older versions; any role can take it, and none that cannot
    migrate holds us up with it. The table's lock is for those who may write there.
    """
    with database.transaction(seconds=_TURN_SECONDS * 2) as conn:
        conn.execute(f"SET LOCAL lock_timeout = '{_TURN_SECONDS}s'")
        _take_turn(conn)
        if _scalar(conn, "SELECT to_regclass('public.reckoner_schema') IS NOT NULL"):
            conn.execute("LOCK TABLE public.reckoner_schema IN SHARE ROW EXCLUSIVE MODE")
        conn.execute(f"SET LOCAL lock_timeout = '{locks.MILLISECONDS}ms'")
        yield conn


def _take_turn(conn: Connection) -> None:
    key = [locks.KEY, locks.MIGRATING]
    if one(conn, "SELECT pg_try_advisory_xact_lock(%s, %s) AS got", key)["got"]:
        return
    keeper = locks.keeper(conn, locks.MIGRATING)
    if keeper and keeper.is_stranger:
        log.warning(
            "going on without the lock of migrating", because=f"{keeper}, and cannot migrate"
        )
        return
    if keeper:
        log.warning("waiting for another migration", seconds=_TURN_SECONDS, who=str(keeper))
    try:
        with conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", key)
    except psycopg.errors.LockNotAvailable as error:
        who = locks.keeper(conn, locks.MIGRATING)
        raise MigrationError(
            f"gave up waiting for another migration: {who or 'it has ended meanwhile'}"
        ) from error


def _step(database: Database, files: Sequence[SchemaFile]) -> list[Change]:
    """Apply those of the files that are pending, in one transaction."""
    with _locked(database) as conn:
        version = _scalar(conn, "SELECT current_setting('server_version_num')::int")
        if version < 150000:
            raise SchemaMismatch(
                f"PostgreSQL 15 or newer is needed, this one is {version // 10000}"
            )
        changes = {change.name: change for change in _pending_files(conn)}
        done = [changes[file.name] for file in files if file.name in changes]
        has_functions = not all(file.is_migration for file in files)
        if done or has_functions:
            _refuse_clashes(conn)
            own.mark(conn)  # made by an older release, or by psql
        for file in files:
            if file.name in changes:
                _apply(conn, file)
        if done:
            own.mark(conn, everything=True)
        if has_functions:
            done += _open_to_all(conn)
            rights.restrict(conn)
        return done


def _refuse_clashes(conn: Connection) -> None:
    if clashes := own.look(conn).clashes:
        raise NamesTaken(clashes)


def _attach(database: Database) -> list[Change]:
    """Create the missing views and triggers; leave those that work."""
    with _locked(database) as conn:
        changes = _detached(conn)
        conn.execute("SET LOCAL search_path = public")
        try:
            reads.replace(conn)
            conn.execute("SELECT source_attach()")
        except psycopg.errors.RaiseException as error:
            raise MigrationError(error_line(error)) from error
        return changes


def _apply(conn: Connection, file: SchemaFile) -> None:
    if not file.is_stamped:
        raise SchemaMismatch(f"{file.name} does not record itself: run ./dev sql")
    try:
        body = own.spare(conn, file.body) if file.name == DROPS else file.body
        conn.execute(fitted(conn, body).encode())  # old migrations have "…" in comments
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        raise
    except psycopg.Error as error:
        raise MigrationError(f"{file.name}: {str(error).splitlines()[0]}") from error


def _scalar(conn: Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    return next(iter(row.values())) if row else 0
