"""What the other program's services share: its clock, its log, its columns, one transaction."""

import argparse
import datetime as dt
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

Conn = psycopg.Connection[DictRow]
Values = dict[str, Any]


class Clock:
    """Its own clock, which may be set; it needs no database to know the time."""

    def __init__(self, now: dt.datetime) -> None:
        self._ahead = now - dt.datetime.now(dt.UTC)

    def now(self) -> dt.datetime:
        """The time of its world, UTC."""
        return dt.datetime.now(dt.UTC) + self._ahead


class Log:
    """What happened, from all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._unique: Counter[str] = Counter()
        self._slowest: dict[str, float] = {}
        self._errors: list[dict[str, str | None]] = []

    def done(self, kind: str, seconds: float) -> None:
        """A transaction was committed."""
        with self._lock:
            self._counts[kind] += 1
            self._slowest[kind] = max(self._slowest.get(kind, 0.0), seconds)

    def failed(self, kind: str, table: str, error: psycopg.Error) -> None:
        """A statement failed; that of a unique index of the very table is a lost race."""
        with self._lock:
            if isinstance(error, psycopg.errors.UniqueViolation) and (
                error.diag.table_name == table
            ):
                self._unique[kind] += 1
            else:
                self._errors.append(
                    {"kind": kind, "sqlstate": error.sqlstate, "message": str(error).strip()}
                )

    def line(self) -> str:
        """All of it as one line of JSON."""
        with self._lock:
            return json.dumps(
                {
                    "counts": self._counts,
                    "unique": self._unique,
                    "errors": self._errors,
                    "slowest": {kind: round(s, 3) for kind, s in self._slowest.items()},
                }
            )


class Program:
    """What its services share: the address, the columns, the clock, the predictions made so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.url: str = options.url
        self.symbols: list[str] = options.symbols.split(",")
        self.clock = Clock(options.now)
        self.prices_from: dt.date = options.prices_from
        self.began = time.monotonic()
        self.seconds: float = options.seconds
        # Set when nobody wants it to go on.
        self.dismissed = threading.Event()
        self.pause: float = options.pause
        self.log = Log()
        self.seed: int = options.seed
        self.predictions: list[int] = []
        with self.connect() as conn:
            rows = conn.execute(
                "SELECT table_name, column_name, data_type FROM information_schema.columns"
                " WHERE table_schema = 'public'"
            )
            self._columns: dict[str, dict[str, str]] = {}
            for row in rows:
                self._columns.setdefault(row["table_name"], {})[row["column_name"]] = row[
                    "data_type"
                ]

    def connect(self) -> Conn:
        """A connection in the way of an ORM's session: a transaction until COMMIT."""
        return psycopg.connect(self.url, row_factory=dict_row, application_name="other program")

    def is_over(self) -> bool:
        """Whether it ends: its time is up, and it was dismissed."""
        return self.left() <= 0 and self.dismissed.is_set()

    def left(self) -> float:
        """Seconds of its time that are left; negative when it works longer."""
        return self.began + self.seconds - time.monotonic()

    def known_symbols(self) -> list[str]:
        """The symbols that it has heard of so far: new ones come until two thirds of its time."""
        share = 1.5 * (1 - self.left() / self.seconds)
        return self.symbols[: max(2, round(len(self.symbols) * min(share, 1.0)))]

    def has(self, table: str, column: str) -> bool:
        """Whether its generation has this column."""
        return column in self._columns.get(table, {})

    def insert(self, conn: Conn, table: str, values: Values) -> int:
        """One INSERT of the columns that there are; returns the new id."""
        now = self.clock.now()
        values = {**values, "created_at": now, "updated_at": now}
        there = {
            name: self._fitting(table, name, value)
            for name, value in values.items()
            if self.has(table, name)
        }
        names = ", ".join(f'"{name}"' for name in there)
        marks = ", ".join(["%s"] * len(there))
        query = f'INSERT INTO "{table}" ({names}) VALUES ({marks}) RETURNING id'  # noqa: S608
        row = conn.execute(query.encode(), list(there.values())).fetchone()
        assert row is not None
        return int(row["id"])

    def _fitting(self, table: str, name: str, value: Any) -> Any:
        """Without a zone where the column has none: an ORM's utcnow()."""
        kind = self._columns[table][name]
        if isinstance(value, dt.datetime) and kind == "timestamp without time zone":
            return value.astimezone(dt.UTC).replace(tzinfo=None)
        return value


class Service:
    """One of its services: does one small thing after the other until the time is up."""

    def __init__(self, program: Program, number: int) -> None:
        self.program = program
        self.random = random.Random(program.seed * 10 + number)  # noqa: S311 - no secret
        self.conn = program.connect()

    def run(self) -> None:
        """Work until it is over."""
        with self.conn:
            while not self.program.is_over():
                self.step()
                time.sleep(self.random.uniform(0, 2 * self.program.pause))

    def step(self) -> None:
        """One small thing."""
        raise NotImplementedError

    def transaction(self, kind: str, table: str, body: Callable[[], bool]) -> bool:
        """One transaction; True when it did something and was committed."""
        began = time.monotonic()
        try:
            did = body()
            self.conn.commit()
        except psycopg.Error as error:
            self.conn.rollback()
            self.program.log.failed(kind, table, error)
            return False
        if did:
            self.program.log.done(kind, time.monotonic() - began)
        return did

    def one(self, query: str, *parameters: Any) -> DictRow | None:
        """The first row of a query."""
        return self.conn.execute(query.encode(), parameters).fetchone()

    def think(self) -> None:
        """Now and then an ORM is slow between looking and inserting."""
        if self.random.random() < 0.3:
            time.sleep(self.random.uniform(0, 0.02))

    def register(self, symbol: str, prediction: int | None) -> None:
        """Look for the ticker, then insert it."""

        def body() -> bool:
            if self.one("SELECT id FROM ticker_registry WHERE symbol = %s LIMIT 1", symbol):
                return False
            self.think()
            self.program.insert(
                self.conn,
                "ticker_registry",
                {
                    "symbol": symbol,
                    "first_seen_date": self.program.clock.now().date(),
                    "source_prediction_id": prediction,
                    "status": "active",
                    "total_price_records": 0,
                    "asset_type": "crypto" if symbol.endswith("-USD") else "stock",
                },
            )
            return True

        self.transaction("ticker", "ticker_registry", body)
