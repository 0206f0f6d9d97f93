"""What all commands have in common: unknown names, ranges that end before they begin, empty tables, dry runs.

A command or an option that no table here knows fails a test, so that a new one cannot be forgotten.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import error_line
from tests.support.db import Conn, value
from tests.support.every_command import FILLS
from tests.support.inline_cli import all_commands, inline
from tests.support.market import (
    MOMENT,
    cover,
    insert_prediction,
    put_bars,
    sessions,
)
from tests.support.process import ROOT

COMMANDS = dict(all_commands())
# Options and arguments that name a thing: a symbol, or the number of something.
NAMES = {
    "index",
    "symbol",
    "symbols",
    "ticker",
    "event",
    "prediction",
    "job",
    "resume",
    "number",
    "what",
    "old",
    "new",
}
RANGE = ["--start", "2024-03-01", "--end", "2024-03-08"]

# Command and what it takes: the arguments with which that is unknown.
UNKNOWN: dict[tuple[str, str], list[str]] = {
    ("market payload", "number"): ["4711"],
    ("market price-stats", "symbol"): ["NOPE"],
    ("market snapshot", "symbol"): ["NOPE"],
    ("market refresh-indicators", "symbols"): ["--symbols", "GOOD,NOPE"],
    ("market coverage", "symbol"): ["NOPE"],
    ("market outcomes", "symbol"): ["-s", "NOPE"],
    ("market constituents refresh", "index"): ["NOPE"],
    ("market constituents show", "index"): ["NOPE"],
    ("market set-ticker", "symbol"): ["NOPE", "--status", "active", "--reason", "x"],
    ("market remap-ticker", "old"): ["NOPE", "GOOD", "--yes"],
    ("market backfill", "resume"): ["--resume", "4711"],
    ("market backfill-status", "job"): ["4711"],
    ("market data-sync", "symbol"): ["-s", "NOPE"],
    ("market execution-report", "symbol"): ["-s", "NOPE"],
    ("market validation-report", "symbols"): [*RANGE, "--symbols", "GOOD,NOPE"],
    ("worker requeue", "event"): ["--event", "4711"],
    ("worker requeue", "prediction"): ["--prediction", "4711"],
    ("worker requeue", "ticker"): ["--ticker", "NOPE"],
    ("worker explain", "what"): ["NOPE"],
    ("worker explain", "event"): ["--event", "4711"],
    ("market fetch-prices", "symbol"): ["-s", "NOPE"],  # these two are the last, for they register
    ("market backfill-5m", "symbol"): ["-s", "NOPE"],
}
# These take symbols that are new, and register them.
NEW = {
    ("market register-tickers", "symbols"): ["{}"],
    ("market backfill", "symbols"): ["--start", "2024-03-01", "--symbols", "{}"],
    ("market remap-ticker", "new"): ["GOOD", "{}", "--yes"],
}
MORE_IDS = [
    "worker requeue --prediction -4711",
    "worker requeue --event 9223372036854775807",
    "worker explain 4711",
    "worker explain -- -4711",
    "worker explain 2147483648",
    "worker explain 99999999999999999999",
    "worker explain ٣",
    "worker explain --run 4711",
    "worker explain --schedule nope",
    "market payload -- -1",
]


@pytest.fixture
def known(conn: Conn) -> Conn:
    """A database with a ticker GOOD, its bars, and a prediction."""
    days = sessions(conn, "2024-01-02", "2024-03-28")
    insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"}, moment=MOMENT)
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('GOOD', 'XNYS')")
    put_bars(conn, "GOOD", dict.fromkeys(days, 100.0))
    cover(conn, "GOOD", days[0], days[-1])
    return conn


def named() -> Iterator[tuple[str, str]]:
    for words, command in COMMANDS.items():
        yield from ((" ".join(words), str(p.name)) for p in command.params if p.name in NAMES)


def test_every_command_that_takes_a_name_is_here() -> None:
    # --symbols and --new without a value
    flags = {("market backfill-status", "symbols"), ("market tracked", "new")}
    assert set(named()) - flags == UNKNOWN.keys() | NEW.keys()


@pytest.mark.usefixtures("known")
def test_an_unknown_name_is_one_sentence_and_1(url: str, conn: Conn) -> None:
    lines = [f"{command} {' '.join(rest)}" for (command, _), rest in UNKNOWN.items()]
    malformed = [line.replace("NOPE", "no_pe") for line in lines if "NOPE" in line]
    malformed += [" ".join([command, *rest]).format("no_pe") for (command, _), rest in NEW.items()]
    before = value(conn, "SELECT count(*) FROM ticker_registry")
    for line in [*malformed, *MORE_IDS, *lines]:
        done = inline(url, *line.split(), MARKET_PROVIDERS="csv", MARKET_CSV_DIR="/nowhere")
        said = error_line(done, 1)
        what = next(word for word in ("NOPE", "no_pe", "4711", line.split()[-1]) if word in line)
        assert what.lower() in said.lower(), (line, said)
        assert "the database:" not in said, (line, said)
    # Only fetch-prices and backfill-5m register what they are to ask for.
    assert value(conn, "SELECT count(*) FROM ticker_registry") == before + 1


def dated() -> Iterator[tuple[str, str, str]]:
    for words, command in COMMANDS.items():
        names = {p.name for p in command.params}
        for first, last in (("since", "until"), ("start", "end")):
            if {first, last} <= names:
                yield " ".join(words), first, last


@pytest.mark.parametrize(("command", "first", "last"), [*dated()])
def test_a_range_that_ends_before_it_begins_is_2(
    url: str, command: str, first: str, last: str
) -> None:
    rest = ["--symbols", "all"] if command == "market backfill" else []
    done = inline(
        url, *command.split(), f"--{first}", "2024-03-02", f"--{last}", "2024-03-01", *rest
    )
    assert f"--{first} 2024-03-02 is after --{last} 2024-03-01" in error_line(done, 2)


# Without rows, and with some; what is left out is no table, or has a row always.
TABLES: dict[str, list[str]] = {
    "market accuracy-report": ["--by", "symbol"],
    "market calibration-report": [],
    "market execution-report": ["--by", "symbol"],
    "market ticker-registry": [],
    "market tracked": [],
    "market constituents show": ["DOW30"],
    "market price-stats": [],
    "market record-history": [],
    "market validation-report": RANGE,
    "market cross-check": ["--sample", "2", "--dry-run"],
    "market coverage": [],
    "market stats": [],
    "market processing-stats": [],
    "market providers": [],
    "market watch": [],
    "market db audit": [],
    "market db check": [],
    "market health-check": [],
    "worker status": [],
    "worker watch": [],
    "worker health": [],
    "worker migrate": ["--check"],
}


def header(url: str, command: str, *rest: str) -> list[str]:
    done = inline(url, *command.split(), *rest, MARKET_PROVIDERS="sample")
    assert done.returncode in {0, 3}, (command, done.stderr)
    first, *rows = csv.reader(io.StringIO(done.stdout), delimiter="\t", quoting=csv.QUOTE_NONE)
    assert len(first) == len(set(first)) > 0, command
    assert all(len(row) == len(first) for row in rows), (command, done.stdout)
    return first


def test_a_table_has_its_header_also_without_rows(url: str, conn: Conn) -> None:
    empty = {command: header(url, command, *rest) for command, rest in TABLES.items()}
    days = sessions(conn, "2024-01-02", "2024-03-28")
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('GOOD', 'XNYS')")
    put_bars(conn, "GOOD", dict.fromkeys(days, 100.0))
    insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"}, moment=MOMENT)
    conn.execute(
        "INSERT INTO reckoner_workers (name, host, pid, mode) VALUES ('w', 'h', 1, 'notify')"
    )
    conn.execute("DROP INDEX outbox_ready")
    for command, rest in TABLES.items():
        assert header(url, command, *rest) == empty[command], command


def test_values_are_exact(url: str, known: Conn) -> None:
    known.execute("UPDATE market_prices SET close = 1234.56789012345")
    known.execute("UPDATE ticker_registry SET last_price_update = '2024-03-28 21:00:00.123456Z'")
    done = inline(url, "market", "price-stats")
    assert "1234.56789012345" in done.stdout
    assert ".123456" in done.stdout


# Each command's dry run, on a database where it would do something.
DRY: dict[str, list[list[str]]] = {
    "market fetch-prices": [["-s", "GOOD"], ["-s", "NEW"]],
    "market backfill-5m": [["-s", "GOOD"], ["-s", "NEW"], []],
    "market register-tickers": [["NEW", "GOOD"]],
    # tests/providers/test_constituents.py: its requests count, also those of a dry run.
    "market constituents refresh": [],
    "market import-holdings": [[str(ROOT / "tests" / "system" / "holdings.csv")]],
    "market set-ticker": [["GOOD", "--status", "active", "--reason", "x"]],
    "market remap-ticker": [["GOOD", "OTHER"], ["GOOD", "NEW"]],
    "market calculate-outcomes": [[], ["--force"]],
    "market import-fills": [[FILLS]],
    "market backfill": [
        ["--start", "2023-01-03", "--symbols", "GOOD,NEW"],
        ["--start", "2023-01-03", "--symbols", "all"],
        ["--resume", "1"],
    ],
    "market data-sync": [[], ["-s", "GOOD"]],
    "market backfill-all-missing": [[]],
    "market backfill-stale-daily": [[]],
    "market restore-coverage": [[]],
    "market update-all-prices": [[]],
    "market auto-pipeline": [["--days-back", "3000"]],
    "market cross-check": [["--sample", "1"]],
    "market refresh-indicators": [[], ["--symbols", "GOOD"], ["--due"]],
    "market record-history": [[]],
    "market schedules import": [
        [str(Path(__file__).with_name("schedules.json"))],
        [str(Path(__file__).with_name("schedules.json")), "--prune"],
    ],
    "worker sweep": [[]],
    "worker requeue": [
        ["--event", "1"],
        ["--event", "7"],
        ["--event", "8"],
        ["--event", "9"],
        ["--prediction", "1"],
        ["--prediction", "2"],
        ["--ticker", "GOOD"],
        ["--ticker", "OTHER"],
        ["--dead"],
    ],
    "worker enqueue": [["--all"]],
}


def test_every_dry_run_is_here() -> None:
    dry = {
        " ".join(words)
        for words, command in COMMANDS.items()
        if any("--dry-run" in param.opts for param in command.params)
    }
    assert dry == DRY.keys()


def test_a_dry_run_changes_nothing_and_takes_no_id(url: str, known: Conn) -> None:
    conn = known
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"}, moment=MOMENT)  # forgotten
    days = sessions(conn, "2024-01-02", "2024-03-28")
    conn.execute(
        "INSERT INTO ticker_registry (symbol, calendar, status) VALUES ('OTHER', 'XNYS', 'inactive')"
    )
    put_bars(conn, "OTHER", dict.fromkeys(days, 50.0))
    cover(conn, "OTHER", days[0], days[-1])
    conn.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, entry_session,"
        " is_complete, outcome_state, engine_version, due_at) VALUES"
        " (1, 'GOOD', '2024-03-05', '2024-03-05', false, 'maturing', 1, now() - interval '1 day')"
    )
    conn.execute(
        "INSERT INTO price_jobs (kind, range_from, range_to, priority)"
        " VALUES ('backfill', '2024-01-02', '2024-03-28', 0)"
    )
    conn.execute(
        "INSERT INTO price_job_symbols (job_id, symbol, want_from, state)"
        " VALUES (1, 'GOOD', '2024-01-02', 'failed')"
    )
    conn.execute("DELETE FROM outbox WHERE topic = 'ticker'")
    conn.execute(
        "INSERT INTO outbox (id, topic, key, status, lease, leased_by, leased_until)"
        " VALUES (7, 'ticker', 'GOOD', 'processing', 1, 'w', now() - interval '1 hour')"
    )
    conn.execute(
        "INSERT INTO outbox_history (id, topic, key, verdict, attempts, crashes, created_at)"
        " VALUES (8, 'prediction', '1', 'done', 0, 0, now()), (9, 'ticker', 'OTHER', 'done', 0, 0, now())"
    )
    before = state(conn)
    for command, variants in DRY.items():
        for rest in variants:
            done = inline(
                url, *command.split(), *rest, "--dry-run", "--json", MARKET_PROVIDERS="sample"
            )
            assert done.returncode == 0, (command, rest, done.stderr)
            assert state(conn) == before, (command, rest)


def state(conn: Conn) -> dict[str, object]:
    """A digest of each table, and the last number of each sequence."""
    tables = conn.execute(
        "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ).fetchall()
    found: dict[str, object] = {
        row["name"]: value(
            conn,
            f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {row['name']} t",  # noqa: S608
        )
        for row in tables
    }
    numbers = conn.execute("SELECT sequencename AS name, last_value FROM pg_sequences").fetchall()
    return found | {row["name"]: row["last_value"] for row in numbers}
