"""Texts of strangers in every column that a command shows, and what comes out of every command.

Every text column of every table of ours is filled with what a terminal obeys, an eye cannot see, a
markup reader takes for markup or a spreadsheet computes. Then every command that shows something
runs on a terminal, in a pipe, and with --json.
"""

import itertools
import json
import os
import pty
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql as psql

from tests.support.cli import command
from tests.support.db import Conn, value
from tests.support.market import MOMENT, bars, insert_prediction
from tests.support.process import ROOT, environment
from tests.support.text import hostile

# Without this prefix nothing of ours writes such a text.
_ATOMS = [
    "\x1b[31mOWNED",
    "\x1b]0;OWNED\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "[/x]",
    "[red]",
    "[link=http://evil]x",
    ":boom:",
    "\u202eOWNED",
    "\u2066",
    "\u200b",
    "\u2028",
    "\x85",
    "\r\n2026-01-01 [error] OWNED",
    "\x0b",
    "\x7f",
    "\t",
    "\U000e0041",
    "\ufeff",
    "=1+1",
    "@SUM(1)",
    "+cmd|' /C calc'!A0",
    "-2+3",
    '"=1+1',
    "<script>OWNED</script>",
    "|`*_[x](http://evil)",
    "$x^2$",
    "\\",
    "'",
]
_WORST = "[/x]\x1b[31mOWNED\u202e\r\n\t\x9b\x7f\u2028=1"

# Migrations and rules that decide whether anything runs at all; and ranges of jobs are no texts.
_OURS_ALONE = {"reckoner_schema", "reckoner_installation", "symbol_rules", "market_sessions"}

_SHOWN = [
    ["worker", "status"],
    ["worker", "health"],
    ["worker", "explain", "1"],
    ["worker", "explain", "2"],
    ["worker", "explain", "GOOD"],
    ["worker", "explain", _WORST],
    ["worker", "explain", "--event", "1"],
    ["worker", "requeue", "--dead", "--dry-run"],
    ["worker", "sweep", "--dry-run"],
    ["worker", "migrate", "--check"],
    ["market", "ticker-registry"],
    ["market", "price-stats"],
    ["market", "price-stats", "GOOD"],
    ["market", "providers"],
    ["market", "stats"],
    ["market", "processing-stats"],
    ["market", "health-check"],
    ["market", "backfill-status", "1", "--symbols"],
    ["market", "backfill-status", "1"],
    ["market", "validation-report", "--start", "2024-03-01", "--end", "2024-03-08"],
    ["market", "accuracy-report", "--by", "symbol"],
    ["market", "accuracy-report", "--by", "sector"],
    ["market", "accuracy-report", "--by", "model"],
    ["market", "accuracy-report", "--by", "sentiment"],
    ["market", "calibration-report"],
    ["market", "register-tickers", _WORST, "--dry-run"],
    ["market", "set-ticker", "GOOD", "--status", "active", "--reason", _WORST, "--dry-run"],
    ["market", "remap-ticker", "GOOD", _WORST, "--dry-run"],
    ["market", "db", "audit"],
    ["market", "db", "check"],
    ["market", "tracked"],
    ["market", "constituents", "show"],
    ["market", "constituents", "show", "DOW30"],
    ["market", "constituents", "show", _WORST],
    ["market", "import-holdings", "tests/system/holdings.csv", "--account", _WORST, "--dry-run"],
    ["market", "accuracy-report", "--by", "source"],
]
_PIPES_ONLY = [["worker", "watch"], ["market", "watch"]]
_REPORTS = [
    [*_SHOWN[19], "--format", "md"],
    [*_SHOWN[19], "--format", "html"],
    [*_SHOWN[21], "--format", "md", "--wide"],
    [*_SHOWN[21], "--format", "html"],
    [*_SHOWN[20], "--format", "html"],
]


def poison(conn: Conn, texts: Iterator[str]) -> int:
    """Fill every column that takes it, row by row; returns how many took it."""
    columns = conn.execute(
        "SELECT c.table_name AS name, c.column_name AS field, c.data_type AS type,"
        " c.character_maximum_length AS most FROM information_schema.columns c"
        " JOIN information_schema.tables t USING (table_schema, table_name)"
        " WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'"
        " AND c.data_type IN ('text', 'character varying', 'json', 'jsonb') ORDER BY 1, 2"
    ).fetchall()
    taken = 0
    for column in columns:
        if column["name"] in _OURS_ALONE:
            continue
        table = psql.Identifier(column["name"])
        rows = conn.execute(psql.SQL("SELECT ctid::text AS row FROM {}").format(table)).fetchall()
        for row in rows[:4]:
            text = next(texts)
            if column["type"] in {"json", "jsonb"}:
                text = json.dumps([text, {text: text}] if taken % 2 else {text: text, "a": [text]})
            if column["most"]:
                text = text[: column["most"]]
            # Keys, checks and triggers refuse some: what they refuse nobody can write.
            with suppress(psycopg.Error):
                done = conn.execute(
                    psql.SQL("UPDATE {} SET {} = %s WHERE ctid = %s::tid").format(
                        table, psql.Identifier(column["field"])
                    ),
                    [text, row["row"]],
                )
                taken += done.rowcount
    return taken


@pytest.fixture
def scene(url: str, conn: Conn, tmp_path: Path) -> Conn:
    """A database in which everything happened once."""
    bars(conn, tmp_path / "bars", "GOOD")
    insert_prediction(conn, ["GOOD", "NOBODY", _WORST], {"GOOD": "bullish"}, moment=MOMENT)
    for moment in ("2024-03-06 15:00Z", "2024-03-07 15:00Z"):
        insert_prediction(conn, ["GOOD"], {"GOOD": "bearish"}, moment=moment, confidence=0.9)
    run = command(
        url, "worker", "run", "--drain", MARKET_PROVIDERS="csv", MARKET_CSV_DIR=str(tmp_path / "bars")
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    conn.execute("ALTER TABLE predictions ADD llm_model text")
    conn.execute("ALTER TABLE ticker_registry ADD sector text")
    assert command(url, "worker", "migrate").returncode == 0
    insert_prediction(conn, ["GOOD", "LATE", _WORST], {"LATE": _WORST}, moment=MOMENT)
    conn.execute("SELECT outbox_park(id, %s) FROM outbox", [_WORST])
    conn.execute(
        "INSERT INTO reckoner_backups (kind, name, taken_at) VALUES ('pg_dump', %s, now())",
        [_WORST],
    )
    command(
        url, "market", "backfill", "--start", "2024-01-02", "--symbols", "GOOD,LATE", "--no-wait"
    )
    conn.execute(
        "INSERT INTO reckoner_workers (name, host, pid, mode, started_at, last_seen_at)"
        " VALUES (%s, %s, 1, 'polling', now(), now())",
        [_WORST, _WORST],
    )
    assert value(conn, "SELECT count(*) FROM price_jobs") == 1
    conn.execute(
        "INSERT INTO index_constituents (index_name, symbol, name) VALUES ('DOW30', 'GOOD', 'x');"
        " INSERT INTO holdings (symbol, quantity) VALUES ('GOOD', 1)"
    )
    return conn


def run_all(url: str, commands: list[list[str]], *, terminal: bool) -> list[tuple[int, str]]:
    """Exit code and output of each command; on a terminal both streams are that terminal."""
    driver = [sys.executable, "-m", "tests.system.run_commands", json.dumps(commands)]
    # A terminal of the simplest kind: then no escape is ours.
    env = environment(
        url, TERM="dumb", COLUMNS="200", LOG_FORMAT="console", MARKET_PROVIDERS="sample"
    )
    if terminal:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            driver, env=env, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
        ):
            os.close(theirs)
            output = bytearray()
            with suppress(OSError):
                while data := os.read(ours, 65536):
                    output += data
        os.close(ours)
        text = output.replace(b"\r\n", b"\n").decode()
    else:
        done = subprocess.run(
            driver, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        text = done.stdout.decode()
    found, at = [], 0
    for number in range(len(commands)):
        mark = f"== {number} "
        end = text.find(mark, at)
        assert end >= 0, f"{commands[number]} ended the process: {text[at:][-3000:]}"
        line = text.index("\n", end)
        found.append((int(text[end + len(mark) : line]), text[at:end]))
        at = line + 1
    return found


def check(commands: list[list[str]], found: list[tuple[int, str]]) -> None:
    """No command crashed, and nothing that acts came out."""
    for arguments, (code, text) in zip(commands, found, strict=True):
        assert code in {0, 1, 2, 3}, (arguments, text)
        assert "Traceback" not in text, (arguments, text)
        assert hostile(text, keep="\n\t") == [], (arguments, text)


def cells(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("error: "):
            yield from line.split("\t")


def is_number(cell: str) -> bool:
    with suppress(ValueError):
        float(cell.strip("%✓✗ "))
        return True
    return cell in {"", "-"}


nasty = st.lists(st.sampled_from(_ATOMS) | st.text(max_size=3), min_size=1, max_size=5).map("".join)


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[*HealthCheck],
)
@given(st.lists(nasty.filter(lambda text: "\0" not in text), min_size=20, max_size=40))
def test_whatever_strangers_wrote_every_command_prints_text(
    scene: Conn, url: str, texts: list[str]
) -> None:
    assert poison(scene, itertools.cycle([_WORST, *_ATOMS, *texts])) > 60

    tables = run_all(url, _SHOWN, terminal=True)
    check(_SHOWN, tables)
    told = "".join(text for _, text in tables)
    assert "\\x1b" in told
    assert "[/x]" in told

    piped = [*_SHOWN, *_PIPES_ONLY]
    found = run_all(url, piped, terminal=False)
    check(piped, found)
    for arguments, (_, text) in zip(piped, found, strict=True):
        for cell in cells(text):
            if cell.startswith(("=", "+", "-", "@", '"', "\r")):
                assert is_number(cell), (arguments, cell)

    reports = run_all(url, _REPORTS, terminal=False)
    check(_REPORTS, reports)
    assert "<script" not in "".join(text for _, text in reports)

    documents = [[*each, "--json"] for each in piped]
    found = run_all(url, documents, terminal=False)
    check(documents, found)
    for arguments, (code, text) in zip(documents, found, strict=True):
        body = "\n".join(line for line in text.splitlines() if not line.startswith("error: "))
        assert body.isascii(), arguments
        if body and not (code and not body.startswith(("[", "{"))):
            json.loads(body[body.index("{") if body[0] not in "[{" else 0 :])


def test_explain_of_markup_in_assets(conn: Conn, url: str) -> None:
    number = insert_prediction(conn, ["[/x]", "\x1b[31mred"], None)
    found = run_all(url, [["worker", "explain", str(number)]], terminal=True)
    check([["explain"]], found)
    assert found[0][0] == 0


def test_json_gives_back_what_was_written(conn: Conn, url: str) -> None:
    conn.execute(
        "INSERT INTO ticker_registry (symbol, status, status_reason) VALUES ('X', 'active', %s)",
        [_WORST],
    )
    done = command(url, "market", "ticker-registry", "--json")
    assert done.stdout.isascii()
    [row] = [row for row in json.loads(done.stdout) if row["symbol"] == "X"]
    assert _WORST in row.values()


def test_a_page_has_no_tag_of_a_stranger(scene: Conn, url: str) -> None:
    poison(scene, itertools.cycle(["<script>OWNED</script>", '"><img src=x onerror=OWNED>']))
    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not any(name.startswith("on") for name, _ in attrs)

    for code, text in run_all(url, [r for r in _REPORTS if "html" in r], terminal=False):
        assert code in {0, 1, 3}
        Reader().feed(text)
    assert "script" not in tags


def test_a_triggers_words_are_text_in_the_error_and_the_log(conn: Conn, url: str) -> None:
    conn.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION E'\\x1b]0;OWNED\\x07\\u202e[/x]'; END$$"
    )
    conn.execute("CREATE TRIGGER refuse BEFORE INSERT ON ticker_registry EXECUTE FUNCTION refuse()")
    done = command(url, "market", "register-tickers", "ACME")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the database: \\x1b]0;OWNED\\x07\\u202e[/x] (database ")
    insert_prediction(conn, ["ACME"])
    for form in ("json", "console"):
        conn.execute("UPDATE outbox SET status = 'pending'")
        done = command(
            url, "worker", "run", "--drain", "--max-seconds", "3", LOG_FORMAT=form, MARKET_PROVIDERS="sample"
        )  # fmt: skip
        assert "OWNED" in done.stderr
        assert hostile(done.stderr, keep="\n") == []


def test_bytes_of_a_provider_are_bytes_in_a_pipe_and_text_on_a_terminal(
    conn: Conn, url: str
) -> None:
    body = b"\x1b]0;OWNED\x07\xff\n\x9b"
    conn.execute(
        "SELECT * FROM payloads_keep(ARRAY['h'], ARRAY['csv'], ARRAY['u'], ARRAY[200], ARRAY['ok'],"
        " ARRAY[1], ARRAY[%s::bytea])",
        [zlib.compress(body)],
    )
    number = value(conn, "SELECT id FROM provider_payloads")
    done = subprocess.run(
        [sys.executable, "-m", "market", "payload", str(number)],
        env=environment(url), cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == body
    [(code, text)] = run_all(url, [["market", "payload", str(number)]], terminal=True)
    assert code == 0
    assert text == "\\x1b]0;OWNED\\x07\\xff\n\\x9b\n"


def test_tab_completion_suggests_nothing_that_a_shell_would_run(conn: Conn, url: str) -> None:
    hostile_names = ["A;id", "A$(id)", "A`id`", "A\n", "A B", "A\x1b[31m", "--A", "a'", "A*", "AÄ"]
    for symbol in [*hostile_names, "ABC"]:
        conn.execute("INSERT INTO ticker_registry (symbol, status) VALUES (%s, 'active')", [symbol])
    for typed in ("A", "a", "-", ""):
        done = command(
            url, "market",
            _RECKONER_COMPLETE="complete_bash", COMP_WORDS=f"market price-stats {typed}", COMP_CWORD="2",
        )  # fmt: skip
        said = done.stdout.split()
        assert "id" not in done.stdout
        assert hostile(done.stdout, keep="\n") == []
        if typed in {"A", "a"}:
            assert said == [f"{typed}{'BC' if typed == 'A' else 'bc'}"]
        else:
            assert not [word for word in said if word.lower().startswith("--a") and word != "--all"]
