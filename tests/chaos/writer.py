"""The other program: goes on writing whatever happens to the server, and knows what was committed.

It inserts predictions, changes them, and does what operators do. A COMMIT that was not
answered leaves a doubt: that transaction may have happened or not.
"""

import contextlib
import datetime as dt
import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.support.db import Conn, connect
from tests.support.market import insert_prediction
from tests.support.waiting import until

_WORDS = ("bullish", "bearish", "neutral", "unsure")
_AWAY = ("08", "25", "53", "57", "58")


@dataclass(frozen=True)
class Content:
    """What a prediction says, as JSON texts, so that it can be compared with the table."""

    assets: str
    impact: str
    status: str


class Writer:
    """Writes from a thread of its own. operator: it requeues and re-drives as well.

    acknowledged: ids of predictions whose COMMIT was answered. allowed: by id every content
    that the table may hold. errors: what went wrong and was not the server's state.
    """

    def __init__(
        self,
        url: str,
        tickers: Sequence[str],
        days: Sequence[dt.date],
        *,
        seed: int = 1,
        operator: bool = True,
        pause: float = 0.01,
    ) -> None:
        self.acknowledged: set[int] = set()
        self.allowed: dict[int, list[Content]] = {}
        self.errors: list[str] = []
        self.commits = 0
        self.interrupted = 0
        self._url = url
        self._tickers = tickers
        self._days = days
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._pause = pause
        self._stop = threading.Event()
        actions: list[tuple[Callable[[Conn, dict[int, Content]], None], int]] = [
            (self._insert, 12),
            (self._update, 3),
        ]
        if operator:
            actions += [(self._requeue, 2), (self._redrive, 1), (self._refetch, 1)]
        self._actions = [action for action, weight in actions for _ in range(weight)]

    @contextlib.contextmanager
    def working(self) -> Iterator["Writer"]:
        """Write while the body runs; may be said again afterwards."""
        self._stop.clear()
        thread = threading.Thread(target=self._run, name="writer", daemon=True)
        thread.start()
        try:
            self.until_more(5)
            yield self
        finally:
            self._stop.set()
            thread.join(60)
        assert not thread.is_alive(), "the writer hangs"

    def until_more(self, commits: int, seconds: float = 60.0) -> None:
        """Wait until this many more transactions were committed."""
        wanted = self.commits + commits
        until(f"{commits} more commits", lambda: self.commits >= wanted or self.errors, seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self._url) as conn:
                    conn.execute("SET lock_timeout = '10s'")
                    while not self._stop.wait(self._pause):
                        self._transaction(conn)
            except psycopg.Error as error:
                self.interrupted += 1
                if not _is_away(error):
                    self.errors.append(f"{error.sqlstate} {error}")
                self._stop.wait(0.05)

    def _transaction(self, conn: Conn) -> None:
        written: dict[int, Content] = {}
        try:
            with conn.transaction():
                self._chance.choice(self._actions)(conn, written)
        except psycopg.Error:
            for number, content in written.items():
                self.allowed.setdefault(number, []).append(content)
            raise
        for number, content in written.items():
            self.allowed[number] = [content]
            self.acknowledged.add(number)
        self.commits += 1

    def _insert(self, conn: Conn, written: dict[int, Content]) -> None:
        chance = self._chance
        for _ in range(chance.choice([1, 1, 1, 5, 20])):
            assets, impact = self._text()
            day = chance.choice(self._days)
            moment = dt.datetime.combine(day, dt.time(chance.randrange(24), 7), dt.UTC)
            status = "completed" if chance.random() < 0.9 else "bypassed"
            number = insert_prediction(
                conn, assets, impact, moment=moment, confidence=chance.random(), status=status
            )
            written[number] = content(assets, impact, status)

    def _update(self, conn: Conn, written: dict[int, Content]) -> None:
        number = self._known()
        if number is None:
            return
        assets, impact = self._text()
        written[number] = content(assets, impact, "completed")
        conn.execute(
            "UPDATE predictions SET assets = %s, market_impact = %s, analysis_status = 'completed'"
            " WHERE id = %s",
            [json.dumps(assets), json.dumps(impact), number],
        )

    def _text(self) -> tuple[list[str], dict[str, str]]:
        """Assets as posts write them: some in lower case, some twice, some no symbol at all."""
        chance = self._chance
        symbols = chance.sample(self._tickers, chance.randint(1, 3))
        impact = {symbol: chance.choice(_WORDS) for symbol in symbols}
        if chance.random() < 0.1:
            impact.popitem()
        named = [chance.choice([symbol, symbol.lower()]) for symbol in symbols]
        if chance.random() < 0.2:
            named += [chance.choice(symbols), "no symbol"]
        return named, impact

    def _known(self) -> int | None:
        return self._chance.choice(sorted(self.acknowledged)) if self.acknowledged else None

    def _requeue(self, conn: Conn, _written: dict[int, Content]) -> None:
        if number := self._known():
            conn.execute("SELECT outbox_requeue_prediction(%s)", [number])

    def _redrive(self, conn: Conn, _written: dict[int, Content]) -> None:
        conn.execute(
            "UPDATE outbox SET status = 'pending' WHERE id ="
            " (SELECT id FROM outbox WHERE status <> 'dead' ORDER BY random() LIMIT 1)"
        )

    def _refetch(self, conn: Conn, _written: dict[int, Content]) -> None:
        conn.execute("SELECT outbox_requeue_ticker(%s)", [self._chance.choice(self._tickers)])


def content(assets: Any, impact: Any, status: str) -> Content:
    """What a prediction says, in one spelling."""
    return Content(json.dumps(assets), json.dumps(impact, sort_keys=True), status)


def _is_away(error: psycopg.Error) -> bool:
    """Whether the server, not the statement, is to blame."""
    if error.sqlstate is None:
        return True  # the connection broke
    return error.sqlstate[:2] in _AWAY or error.sqlstate == "55P03"
