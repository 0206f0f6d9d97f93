"""Whatever a role or a database sets for its sessions: predictions become outcomes, commands run.

First each setting by itself on one of our connections, direct and behind a pooler. Then whole
databases with many of them: an insert, a worker that drains, and every command that reads.
"""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql as psql
from psycopg.rows import dict_row, tuple_row
from typer.main import get_command

from market.cli.console import exit_code
from market.universe import sessions
from sql.database import Database
from sql.errors import ReckonerError
from sql.schema import migrate
from sql.schema.files import schema_files
from sql.session import Session
from tests.support.cli import with_csv
from tests.support.db import (
    connect,
    copy_of,
    database_of,
    drop,
    value,
    with_database,
)
from tests.support.every_command import APPS, COMMANDS, invoke
from tests.support.market import bars
from tests.support.process import environment

ONE_BY_ONE = [
    ("search_path", ""),
    ("search_path", "pg_catalog, public"),
    ("client_encoding", "LATIN1"),
    ("client_encoding", "SQL_ASCII"),
    ("DateStyle", "SQL, DMY"),
    ("DateStyle", "German"),
    ("DateStyle", "Postgres, MDY"),
    ("IntervalStyle", "iso_8601"),
    ("IntervalStyle", "sql_standard"),
    ("IntervalStyle", "postgres_verbose"),
    ("TimeZone", "Asia/Kathmandu"),
    ("extra_float_digits", "-15"),
    ("bytea_output", "escape"),
    ("array_nulls", "off"),
    ("standard_conforming_strings", "off"),
    ("quote_all_identifiers", "on"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("statement_timeout", "100"),
    ("lock_timeout", "1"),
    ("idle_in_transaction_session_timeout", "1"),
    ("transaction_timeout", "100"),
    ("idle_session_timeout", "100"),
    ("row_security", "off"),
    ("check_function_bodies", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("client_min_messages", "error"),
]

PRICE = 0.1 + 0.2
ANSWERS = {
    "at": dt.datetime(2024, 3, 5, 15, tzinfo=dt.UTC),
    "plain": dt.datetime(2024, 3, 5, 15),  # noqa: DTZ001 - a column without a zone
    "day": dt.date(2024, 3, 5),
    "wait": dt.timedelta(days=1, seconds=3723),
    "price": PRICE,
    "bytes": b"\x01\xff'",
    "bytes_text": "\\x01ff",
    "texts": ["NULL", None, "a\\b", "日本"],
    "shown": "a",
    "isolation": "read committed",
    "generic": "auto",
    "shift": dt.datetime(2024, 3, 5, 15),  # noqa: DTZ001 - the same
    "found": True,
}
QUERY = """
SELECT %s::timestamptz AS at, timestamp '2024-03-05 15:00' AS plain, date '2024-03-05' AS day,
       interval '1 day 1:02:03' AS wait, %s::float8 AS price, %s::bytea AS bytes,
       decode('01ff', 'hex')::text AS bytes_text, %s::text[] AS texts, quote_ident('a') AS shown,
       current_setting('transaction_isolation') AS isolation, current_setting('plan_cache_mode') AS generic,
       timestamptz '2024-03-05 15:00+00'::timestamp AS shift, to_regclass('predictions') IS NOT NULL AS found
"""
VALUES = [ANSWERS["at"], PRICE, ANSWERS["bytes"], ANSWERS["texts"]]


@pytest.fixture(scope="module")
def shared(server_url: str, template: str) -> Iterator[str]:
    """A migrated database; the settings come with each connection."""
    url = copy_of(server_url, template, word="settings")
    yield url
    drop(server_url, url)


def has(conn: psycopg.Connection[Any], name: str) -> bool:
    return bool(value(conn, "SELECT current_setting(%s, true) IS NOT NULL", [name]))


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
@pytest.mark.parametrize(("name", "setting"), ONE_BY_ONE)
def test_a_setting_changes_no_answer(
    shared: str, monkeypatch: pytest.MonkeyPatch, name: str, setting: str, pooled: bool
) -> None:
    with connect(shared) as conn:
        if not has(conn, name):
            pytest.skip("this server does not know it")
    escaped = setting.replace(" ", "\\ ")
    separator = "&" if "?" in shared else "?"
    url = f"{shared}{separator}options={quote(f'-c {name}={escaped}', safe='')}"
    if pooled:
        if name in {"client_encoding", "idle_session_timeout"}:
            pytest.skip("the startup packet or the pooler's own settings decide")
        # As behind a pooler: the server's process is another than the one that was told.
        monkeypatch.setattr(Session, "told_pid", -1)
    with Database(url, size=1) as database:
        with database.transaction() as conn:
            assert isinstance(conn, Session)
            assert conn.execute(QUERY.encode(), VALUES).fetchone() == ANSWERS
            conn.execute("SELECT pg_sleep(0.15)")
        assert database.at_once(QUERY, VALUES, dict_row) == [ANSWERS]
        assert database.at_once("SELECT 1", [], tuple_row) == [(1,)]


# Each database sets these for everybody, the program that inserts included.
STRANGE = {
    "search_path": "",
    "client_encoding": "LATIN1",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kathmandu",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "5s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "5s",
    "idle_session_timeout": "3s",
    "row_security": "off",
    "check_function_bodies": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_nestloop": "off",
    "default_transaction_deferrable": "on",
}
OTHERS = {
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "TimeZone": "America/St_Johns",
    "plan_cache_mode": "force_custom_plan",
    "jit": "on",
    "jit_above_cost": "0",
    "enable_hashjoin": "off",
    "enable_indexscan": "off",
    "transaction_timeout": "2s",
    "default_transaction_isolation": "repeatable read",
}


def set_for_all(conn: psycopg.Connection[Any], settings: dict[str, str]) -> None:
    name = psql.Identifier(str(value(conn, "SELECT current_database()")))
    for key, text in settings.items():
        if has(conn, key):
            statement = psql.SQL("ALTER DATABASE {} SET {} = {}")
            conn.execute(statement.format(name, psql.Identifier(key), psql.Literal(text)))


def encoded(server_url: str, encoding: str) -> str:
    """Make a database in another encoding and migrate it; returns its URL."""
    name = f"{database_of(copy_of(server_url))}_{encoding.lower()}"
    with connect(server_url) as conn:
        conn.execute(
            psql.SQL(
                "CREATE DATABASE {} ENCODING {} TEMPLATE template0 LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
            ).format(psql.Identifier(name), psql.Literal(encoding))
        )
    url = with_database(server_url, name)
    with connect(url) as conn:
        # Where jsonb could not hold the character, and the writer's own statement would fail.
        conn.execute(
            "CREATE TABLE predictions (id serial PRIMARY KEY, assets json, market_impact json,"
            " confidence float8, analysis_status varchar DEFAULT 'completed', post_timestamp timestamptz,"
            " created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now())"
        )
    with Database(url) as database:
        migrate.migrate(database)
        sessions.ensure(database)
    return url


@pytest.fixture(params=["strange", "others", "LATIN1", "SQL_ASCII"])
def odd_url(request: pytest.FixtureRequest, server_url: str, template: str) -> Iterator[str]:
    if request.param in {"strange", "others"}:
        url = copy_of(server_url, template, word="odd")
        with connect(url) as conn:
            set_for_all(conn, STRANGE if request.param == "strange" else OTHERS)
    else:
        url = encoded(server_url, request.param)
    yield url
    drop(server_url, url)


def test_an_insert_becomes_a_complete_outcome_and_every_command_runs(
    odd_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = f"{odd_url}{'&' if '?' in odd_url else '?'}client_encoding=UTF8"
    with connect(plain) as conn:
        conn.execute("SET search_path = public; SET DateStyle = 'ISO, MDY'")
        bars(conn, tmp_path, "GOOD")
        conn.execute("RESET search_path; RESET DateStyle")
        conn.execute(
            "INSERT INTO public.predictions (assets, market_impact, confidence, post_timestamp) VALUES (%s, %s, 0.5,"
            " '2024-03-05 15:00+00')",
            ['["GOOD", "\\u65e5\\u672c"]', '{"GOOD": "bullish"}'],
        )
    done = with_csv(odd_url, tmp_path, "worker", "run", "--drain", "--max-seconds", "60")
    assert done.returncode == 0, done.stderr
    assert '"level": "error"' not in done.stderr
    with connect(plain) as conn:
        found = conn.execute(
            "SELECT symbol, outcome_state, is_complete FROM public.prediction_outcomes ORDER BY symbol"
        ).fetchall()
        assert [(row["symbol"], row["is_complete"]) for row in found] == [("GOOD", True)], (
            done.stderr
        )
        [history] = conn.execute(
            "SELECT verdict, result FROM public.outbox_history WHERE topic = 'prediction'"
        ).fetchall()
        assert history["verdict"] == "done", history

    settings = environment(odd_url, MARKET_PROVIDERS="csv", MARKET_CSV_DIR=str(tmp_path))
    failed = {}
    for arguments, code in COMMANDS.items():
        result = invoke(arguments, settings, monkeypatch)
        error = result.exception
        ended = exit_code(error) if isinstance(error, ReckonerError) else result.exit_code
        if ended != code:
            failed[arguments] = (ended, result.output[-300:], repr(error))
        elif "--json" in arguments and not ended:
            json.loads(result.stdout)
    assert not failed


def test_functions_hold_no_character_that_another_encoding_lacks() -> None:
    """Their text is in the catalogue, and `db audit` would compare question marks with it."""
    for file in schema_files():
        lines = [line for line in file.text.splitlines() if not line.startswith("--")]
        assert file.is_migration or "".join(lines).isascii(), file.name


def test_every_command_is_in_the_list_or_named_here() -> None:
    elsewhere = {
        ("worker", "run"),
        ("worker", "demo"),
        ("market", "cross-check"),
        ("market", "data-sync"),
        ("market", "backfill-all-missing"),
        ("market", "update-all-prices"),
        ("market", "auto-pipeline"),
        ("market", "db", "backup"),
    }
    known = {arguments[:n] for arguments in COMMANDS for n in (2, 3)} | elsewhere
    for root, app in APPS.items():
        for name, group in get_command(app).commands.items():  # type: ignore[attr-defined]
            below = getattr(group, "commands", {})
            assert all((root, name, each) in known for each in below)
            assert below or (root, name) in known
