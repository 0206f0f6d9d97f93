"""What must hold after every order, in plain Python and with the tests' own oracle."""

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pytest

from tests.interleavings.scheduler import Violation
from tests.interleavings.workers import OurWorker
from tests.interleavings.world import World
from tests.support.oracle import Oracle, Session

_SESSIONS = (
    "SELECT session, closes_at FROM market_sessions WHERE calendar = 'XNYS'"
    " AND session BETWEEN '2024-02-01' AND '2024-07-31' ORDER BY session"
)
# Events that a worker could claim now.
_READY = """
SELECT o.id, o.topic, o.key FROM outbox o
WHERE o.lease IS NULL AND o.status <> 'dead' AND o.available_at <= reckoner_now()
  AND NOT EXISTS (SELECT FROM outbox p WHERE p.topic = o.topic AND p.key = o.key AND p.lease IS NOT NULL)
"""
# The parts of a sweep that write events, and those that write outcomes.
_SWEEP = (
    "SELECT sweep_forgotten(1000) AS forgotten, sweep_changed(1000, 100) AS changed,"
    " sweep_due() AS due, sweep_unfetched() AS unfetched, sweep_refill() AS refill,"
    " sweep_restated(1000) AS restated"
)


class Invariants:
    """The checks of one world; its sessions are read once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions = [
            Session(row["session"], row["closes_at"]) for row in world.rows(_SESSIONS)
        ]

    def nobody_sleeps_over_work(self, workers: Iterable[OurWorker]) -> None:
        """Whoever sleeps until it is rung for was rung for, if there is something to claim."""
        asleep = [worker.group.name for worker in workers if worker.sleeps_for_a_ring]
        ready = self._world.rows(_READY)
        if asleep and ready:
            raise Violation("not woken", f"{', '.join(asleep)} sleep, ready is {ready[0]}")

    def events(self) -> None:
        """Each event that was ever committed is in the outbox or in history, once."""
        both = self._world.rows("SELECT id FROM outbox JOIN outbox_history USING (id)")
        if both:
            raise Violation("live and in history", str(both))
        lost = self._world.rows(
            "SELECT DISTINCT (l.now ->> 'id')::bigint AS id, l.now ->> 'key' AS key"
            " FROM interleavings_ledger l WHERE l.op = 'INSERT'"
            " AND NOT EXISTS (SELECT FROM outbox o WHERE o.id = (l.now ->> 'id')::bigint)"
            " AND NOT EXISTS (SELECT FROM outbox_history h WHERE h.id = (l.now ->> 'id')::bigint)"
            # A requeue holds a symbol's place with a row that it deletes in its own transaction.
            " AND NOT EXISTS (SELECT FROM interleavings_ledger d WHERE d.op = 'DELETE'"
            "                 AND d.xid = l.xid AND d.was -> 'id' = l.now -> 'id')"
        )
        if lost:
            raise Violation("lost event", str(lost))

    def drained(self) -> None:
        """Nothing is left over by the clean worker."""
        left = self._world.rows("SELECT id, topic, key, status, last_error FROM outbox")
        if left:
            raise Violation("not drained", str(left[0]))

    def outcomes(self, cancelled: Collection[str]) -> None:
        """One outcome for each symbol of a prediction's last version, as the stored bars say.

        cancelled: predictions whose event a person ended.
        """
        rows: dict[tuple[int, str], dict[str, Any]] = {}
        for row in self._world.rows("SELECT * FROM prediction_outcomes"):
            pair = (row["prediction_id"], row["symbol"])
            if pair in rows:
                raise Violation("two outcomes", str(pair))
            rows[pair] = row
        closes: dict[str, dict[dt.date, float]] = {}
        for bar in self._world.rows("SELECT symbol, date, close FROM market_prices"):
            closes.setdefault(bar["symbol"], {})[bar["date"]] = bar["close"]
        spans = {
            row["symbol"]: (row["first"], row["last"])
            for row in self._world.rows(
                'SELECT symbol, min("from") AS first, max("to") AS last FROM price_coverage GROUP BY 1'
            )
        }
        nothing = (dt.date.max, dt.date.min)
        for prediction in self._world.rows("SELECT * FROM predictions ORDER BY id"):
            if str(prediction["id"]) in cancelled:
                rows = {pair: row for pair, row in rows.items() if pair[0] != prediction["id"]}
                continue
            for symbol in dict.fromkeys(_json(prediction["assets"])):
                found = rows.pop((prediction["id"], symbol), None)
                if found is None:
                    raise Violation("no outcome", f"prediction {prediction['id']}, {symbol}")
                oracle = Oracle(
                    self._sessions,
                    prediction["post_timestamp"],
                    (_json(prediction["market_impact"]) or {}).get(symbol),
                    prediction["confidence"],
                )
                wanted = oracle.look(
                    self._world.now, closes.get(symbol, {}), spans.get(symbol, nothing)
                )
                _compare(found, wanted)
        deleted = {pair for pair in rows if pair[0] in self._deleted()}
        if extra := sorted(set(rows) - deleted):
            raise Violation("nobody's outcome", str(extra))

    def _deleted(self) -> set[int]:
        return {
            int(row["key"])
            for row in self._world.rows(
                "SELECT key FROM outbox_history WHERE topic = 'prediction'"
                " AND NOT EXISTS (SELECT FROM predictions p WHERE p.id::text = key)"
            )
        }

    def sweep_finds_nothing(self) -> None:
        """Where every trigger ran, the sweep has nothing to do."""
        [found] = self._world.rows(_SWEEP)
        if any(found.values()):
            raise Violation("swept", str(found))


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _compare(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for column, value in wanted.items():
        right = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
        if row[column] != right:
            name = f"prediction {row['prediction_id']}, {row['symbol']}"
            raise Violation("outcome", f"{name}: {column} is {row[column]}, bars say {value}")
