"""The database of an order: how it begins, its clock, and what a clean worker makes of it."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from psycopg import sql

from market.providers import Answer, Kind, Request
from sql.database import Database
from tests.interleavings import ledger
from tests.support.clock import use_everywhere, write_clock
from tests.support.db import Conn, connect, value
from tests.support.providers import FakeProvider, serving
from tests.support.waiting import until

SYMBOLS = ("AAA", "MMM", "ZZZ")
MOMENT = "2024-03-05 15:00+00"
# Some days behind the longest horizon of MOMENT, after the close.
NOW = dt.datetime(2024, 4, 22, 22, tzinfo=dt.UTC)
FIRST, LAST = "2024-02-20", "2024-04-22"
_T1 = dt.date(2024, 3, 6)
CLOCK = "interleavings"
# Rows of these are the database's, and not of an order.
_STAYS = {
    "reckoner_schema", "reckoner_clock", "reckoner_installation", "market_sessions",
    "market_calendars", "session_correction", "symbol_rules", "reckoner_providers", "market_syncs",
}  # fmt: skip


class World:
    """One database for all orders, one after the other. Its time stands, until it is moved."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._stack = ExitStack()
        self.watch = self._conn()
        use_everywhere(self.watch, write_clock(self.watch, CLOCK, stopped_at=NOW))
        self.watch.execute("SELECT set_config('reckoner.clock', %s, false)", [CLOCK])
        ledger.keep(self.watch)
        self._tables = [
            row["name"]
            for row in self.watch.execute(
                "SELECT c.relname AS name FROM pg_class c WHERE c.relkind = 'r'"
                " AND c.relnamespace = 'public'::regnamespace"
            )
            if row["name"] not in _STAYS
        ]
        self.days: list[dt.date] = [
            row["session"]
            for row in self.watch.execute(
                "SELECT session FROM market_sessions WHERE calendar = 'XNYS'"
                " AND session BETWEEN %s AND %s ORDER BY session",
                [FIRST, LAST],
            )
        ]
        self._owner = self._conn()  # without triggers, to put an order's beginning there
        self._owner.execute("SET session_replication_role = replica")
        self._databases: dict[str, Database] = {}
        self._conns: dict[str, Conn] = {}
        self._orders = 0
        self.refills = True  # the sweep reads the notes of outcomes whose bars changed meanwhile
        self.revised = False  # whether the provider now gives another close
        self.failing = 0  # how many of its next answers are bad
        self.provider = FakeProvider("csv", self._answer)
        self.now = NOW

    def _conn(self) -> Conn:
        return self._stack.enter_context(connect(self.url))

    def close(self) -> None:
        """Close every connection."""
        self._stack.close()

    def spoiled(self, names: Iterable[str]) -> None:
        """Make the connections of these programs anew: some of them were cut."""
        for name in names:
            if name in self._databases:
                self._databases[name].let_go()
            if conn := self._conns.pop(name, None):
                conn.close()

    def database(self, name: str) -> Database:
        """The database as one process of ours sees it, with a pool of its own."""
        if name not in self._databases:
            self._databases[name] = self._stack.enter_context(Database(self.url, name=name, size=6))
        return self._databases[name]

    def conn(self, name: str) -> Conn:
        """A connection of another program."""
        found = self._conns.get(name)
        if found is None or found.closed:
            found = self._conns[name] = self._conn()
            found.execute("SELECT set_config('application_name', %s, false)", [name])
        return found

    # Time and prices.

    def jump(self, seconds: float) -> None:
        """Let the database's clock jump."""
        self.now += dt.timedelta(seconds=seconds)
        write_clock(self.watch, CLOCK, stopped_at=self.now)

    def close_of(self, day: dt.date) -> float:
        """What the provider says: one more each session; revised, another one for T+1."""
        return 100.0 + self.days.index(day) + (7.5 if self.revised and day == _T1 else 0.0)

    def revise(self) -> None:
        """Let the provider give another close from now on."""
        self.revised = True

    def _answer(self, request: Request) -> Answer:
        if self.failing:
            self.failing -= 1
            return Answer(Kind.BAD_ANSWER, message="as this order wants it")
        answer = serving(self.close_of)(request)
        assert answer.kind is Kind.OK
        return answer

    # The beginning of an order.

    def reset(self) -> None:
        """Empty the tables, set the clock back."""
        self._orders += 1
        self.revised, self.failing = False, 0
        how = "TRUNCATE {}" if self._orders % 100 == 0 else "DELETE FROM {}"
        statements = [sql.SQL(how).format(sql.Identifier(name)) for name in self._tables]
        self._owner.execute(
            sql.SQL("; ").join(
                [
                    *statements,
                    sql.SQL(
                        "UPDATE reckoner_installation SET last_prediction_id = 0, forgotten_cursor = 0,"
                        " changed_cursor = 0; UPDATE market_calendars SET checked_until = '2030-01-01';"
                        " SELECT setval('outbox_id_seq', 1, false), setval('outbox_lease', 1, false),"
                        " setval('predictions_id_seq', 1, false)"
                    ),
                ]
            )
        )
        self.jump((NOW - self.now).total_seconds())

    def know(self, symbols: Sequence[str]) -> None:
        """Have symbols registered, fetched and covered."""
        closes = [100.0 + n for n in range(len(self.days))]
        for symbol in symbols:
            self._owner.execute(
                "INSERT INTO ticker_registry (symbol, status, calendar, backfill_status, last_backfill,"
                " last_price_update, price_data_start, price_data_end, total_price_records)"
                " VALUES (%(symbol)s, 'active', 'XNYS', 'completed', %(now)s, %(now)s, %(first)s, %(last)s, %(n)s)",
                {
                    "symbol": symbol, "now": NOW, "n": len(closes),
                    "first": self.days[0], "last": self.days[-1],
                },
            )  # fmt: skip
            self._owner.execute(
                "INSERT INTO market_prices (symbol, date, open, high, low, close, adjusted_close, volume,"
                " source, fetched_at, last_updated) SELECT %s, d, c, c, c, c, c, 1000, 'csv', %s, %s"
                " FROM unnest(%s::date[], %s::float8[]) AS b(d, c)",
                [symbol, NOW, NOW, self.days, closes],
            )
            self._owner.execute(
                "SELECT coverage_add(%s, '1d', %s, %s, 'csv')",
                [symbol, self.days[0], self.days[-1]],
            )

    def gone(self, pids: Iterable[int]) -> None:
        """Wait until these backends have ended, and let go of what they held."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s)"
        until("the backends end", lambda: value(self.watch, query, [list(pids)]) == 0)

    def refill(self) -> None:
        """Let the sweep fill what its notes name."""
        if self.refills:
            self.watch.execute("SELECT sweep_refill()")

    def count(self, query: str) -> int:
        """The number that a query returns."""
        return int(value(self.watch, query))

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query, as they are committed."""
        return self.watch.execute(query.encode()).fetchall()


@contextmanager
def world_of(url: str) -> Iterator[World]:
    """A world on a migrated database of its own."""
    world = World(url)
    try:
        yield world
    finally:
        world.close()
