"""No value that a column of another program can hold ends a command: every extreme, every read command.

Rows of the tables that others write get the extremes of each column's type, in every generation. The
predictions are processed, and then every command that reads runs on all rows.
"""

import contextlib
import json
import random
from typing import Any

import psycopg
import pytest
from psycopg import sql as psql

from market import outcomes
from sql.database import Database
from tests.support.db import Conn, connect
from tests.support.inline_cli import inline

_DATES = (
    "infinity",
    "-infinity",
    "4713-01-01 BC",
    "0044-03-15 BC",
    "0001-01-01",
    "9999-12-31",
    "12026-01-01",
)
_MOMENTS = (*_DATES, "294276-12-31 23:59:59.999999", "2024-03-05 23:59:59.999999")
_TEXTS = (
    "",
    " ",
    "=1+1",
    "\x01\x7f\u202e",
    "🙂" * 400,
    "NaN",
    "infinity",
    "2147483648",
    "/" * 20,
    "BULLISH",
)
_JSON: tuple[Any, ...] = (
    None,
    [],
    {},
    "",
    0,
    True,
    [None],
    [[]],
    ["AAPL"] * 300,
    {"AAPL": None},
    {"AAPL": ["x"]},
    10**400,
)
EXTREMES: dict[str, tuple[Any, ...]] = {
    "double precision": ("NaN", "Infinity", "-Infinity", 1.7e308, -1.7e308, 5e-324, 0, -1, 85),
    "real": ("NaN", "Infinity", "-Infinity", 3.4e38, 0, -1),
    "numeric": ("NaN", "Infinity", "1e300", "-1e-300", 0),
    "smallint": (-(2**15), 2**15 - 1, 0, -1),
    "integer": (-(2**31), 2**31 - 1, 0, -1),
    "bigint": (-(2**63), 2**63 - 1, 0, -1),
    "date": (*_DATES, "5874897-12-31"),
    "timestamp without time zone": _MOMENTS,
    "timestamp with time zone": _MOMENTS,
    "text": _TEXTS,
    "character varying": _TEXTS,
    "json": tuple(map(json.dumps, _JSON)),
    "jsonb": tuple(map(json.dumps, (*_JSON, ["AAPL", "\x01 \ud7ff"]))),
    "boolean": (True, False),
}
TABLES = (
    "predictions",
    "signals",
    "truth_social_shitposts",
    "ticker_registry",
    "market_prices",
    "prediction_outcomes",
)
RANGE = ["--start", "2024-01-02", "--end", "2026-12-31"]
COMMANDS = [
    *(["worker", name] for name in ("status", "health", "watch")),
    ["worker", "sweep", "--dry-run"],
    ["worker", "enqueue", "--all", "--dry-run"],
    ["worker", "requeue", "--dead", "--dry-run"],
    *(
        ["market", name]
        for name in (
            "ticker-registry",
            "price-stats",
            "providers",
            "stats",
            "processing-stats",
            "health-check",
        )
    ),
    ["market", "validation-report", *RANGE],
    ["market", "accuracy-report"],
    *(
        ["market", "accuracy-report", "--by", by]
        for by in ("symbol", "month", "quarter", "confidence", "sentiment", "source")
    ),
    ["market", "accuracy-report", "--compare", "sentiment=bullish,bearish", "-o", "table"],
    ["market", "accuracy-report", "--format", "md", "--wide"],
    ["market", "accuracy-report", "--since", "2024-01-01", "--until", "2026-12-31", "--json"],
    ["market", "calibration-report"],
    ["market", "calibration-report", "--json"],
    ["market", "calculate-outcomes", "--force", "--dry-run"],
    ["market", "auto-pipeline", "--days-back", "5000", "--dry-run"],
    ["market", "backfill", "--start", "2024-01-02", "--symbols", "all", "--dry-run"],
    *(
        ["market", name, "--dry-run"]
        for name in ("data-sync", "update-all-prices", "backfill-all-missing")
    ),
    ["market", "cross-check", "--sample", "5", "--dry-run"],
    ["market", "set-ticker", "AAPL", "--status", "inactive", "--reason", "x", "--dry-run"],
    ["market", "db", "audit"],
    ["market", "db", "check"],
]


def spread(conn: Conn, dice: random.Random, rows: int = 25) -> int:
    """Give each column of some rows an extreme that the table takes; returns how many values."""
    columns = conn.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = ANY (%s) AND is_generated = 'NEVER'"
        " ORDER BY 1, ordinal_position",
        [list(TABLES)],
    ).fetchall()
    taken = 0
    for table in TABLES:
        ours = [c for c in columns if c["table_name"] == table and c["data_type"] in EXTREMES]
        if not ours:
            continue
        name = psql.Identifier(table)
        places = conn.execute(
            psql.SQL("SELECT id FROM {} ORDER BY random() LIMIT {}").format(name, rows)
        ).fetchall()
        for place in places:
            for column in ours:
                if column["column_name"] == "id" or dice.random() < 0.5:
                    continue
                extreme = dice.choice((None, *EXTREMES[column["data_type"]]))
                # Keys and checks refuse some: what they refuse nobody can write.
                with contextlib.suppress(psycopg.Error):
                    taken += conn.execute(
                        psql.SQL("UPDATE {} SET {} = %s WHERE id = %s").format(
                            name, psql.Identifier(column["column_name"])
                        ),
                        [extreme, place["id"]],
                    ).rowcount
    return taken


def processed(url: str, ids: list[int]) -> None:
    """Process predictions as a worker does, in batches."""
    with Database(url) as database:
        for first in range(0, len(ids), 100):
            with database.transaction(seconds=120) as conn:
                outcomes.process(conn, ids[first : first + 100], 365, check_calendars=False)


@pytest.mark.parametrize("seed", [1])
def test_no_extreme_ends_a_command(migrated_url: str, seed: int) -> None:
    url, dice = migrated_url, random.Random(seed)  # noqa: S311
    with connect(url) as conn:
        conn.execute("ALTER TABLE predictions DISABLE TRIGGER USER")
        assert spread(conn, dice) > 200
        rows = conn.execute("SELECT id FROM predictions ORDER BY id").fetchall()
        ids = [row["id"] for row in rows]
    processed(url, ids)
    with connect(url) as conn:
        assert spread(conn, dice) > 200
        for number in ids:
            assert conn.execute("SELECT * FROM explain_prediction(%s)", [number]).fetchall()
        symbols = conn.execute(
            "SELECT symbol FROM ticker_registry WHERE normalize_symbol(symbol) = symbol"
        ).fetchall()
    commands = [*COMMANDS, *(["worker", "explain", str(number)] for number in dice.sample(ids, 10))]
    for row in dice.sample(symbols, min(5, len(symbols))):
        commands += [["worker", "explain", row["symbol"]], ["market", "price-stats", row["symbol"]]]
    faults: list[tuple[object, ...]] = []
    for words in commands:
        try:
            done = inline(url, *words, MARKET_PROVIDERS="sample")
        except BaseException as error:  # noqa: BLE001 - every traceback is a fault
            faults.append((words, repr(error)))
            continue
        bad = done.returncode not in {0, 3} and not (
            done.returncode == 1
            and "the database:" not in done.stderr
            and len(done.stderr.splitlines()) == 1
        )
        if bad:
            faults.append((words, done.returncode, done.stderr))
    assert not faults, "\n".join(map(str, faults))
