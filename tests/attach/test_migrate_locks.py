"""How long `worker migrate` holds up an owner who goes on writing, and how long it waits for one."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.attach.databases import (
    Generation,
    blocked,
    catalog,
    check,
    columns,
    contents,
    migrate,
    without_duplicates,
)
from tests.attach.scenes import NOW, insert_prediction
from tests.attach.stalls import Stalls
from tests.support.cli import command
from tests.support.db import Conn, connect, value
from tests.support.waiting import until

INSERT_POST = (
    'INSERT INTO truth_social_shitposts (shitpost_id, content, "timestamp", username, created_at,'
    " updated_at) VALUES (%s, 'text', %s, 'poster', %s, %s) RETURNING shitpost_id"
)
INSERT_PREDICTION = (
    "INSERT INTO predictions (shitpost_id, assets, market_impact, analysis_status, created_at, updated_at)"
    " VALUES (%s, '[\"AAPL\"]', '{}', 'completed', %s, %s) RETURNING id"
)
INSERT_OUTCOME = (
    "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, is_complete, created_at,"
    " updated_at) VALUES (%s, 'AAPL', %s, false, %s, %s) RETURNING id"
)
READ_OUTCOME = "SELECT count(*) FROM prediction_outcomes WHERE prediction_id = %s"


class Owner:
    """The older generation's program at its work: one row per transaction, without a pause."""

    def __init__(self, url: str) -> None:
        self.statements = 0
        self.failed: str | None = None
        self._url = url
        self._took: list[tuple[float, float, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="owner")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Insert without a pause while the body runs."""
        self._stalls = Stalls()
        self._thread.start()
        try:
            until("the owner inserts", lambda: self.statements > 10 or self.failed)
            yield
        finally:
            self._stop.set()
            self._thread.join(30)
            self._stalls.end()

    def slowest(self) -> tuple[float, str]:
        """What took longest, and how long: without the time in which nobody here ran at all."""
        return max(
            (ended - began - self._stalls.within(began, ended), what)
            for began, ended, what in self._took
        )

    def _run(self) -> None:
        try:
            with connect(self._url) as conn:
                while not self._stop.is_set():
                    self._round(conn)
        except psycopg.Error as error:
            self.failed = str(error)

    def _round(self, conn: Conn) -> None:
        post = self._timed("post", conn, INSERT_POST, [f"busy-{self.statements}", NOW, NOW, NOW])
        number = self._timed("prediction", conn, INSERT_PREDICTION, [post, NOW, NOW])
        self._timed("outcome", conn, INSERT_OUTCOME, [number, NOW, NOW, NOW])
        self._timed("reading", conn, READ_OUTCOME, [number])

    def _timed(self, what: str, conn: Conn, statement: str, parameters: list[Any]) -> Any:
        began = time.monotonic()
        found = value(conn, statement, parameters)
        self._took.append((began, time.monotonic(), what))
        self.statements += 1
        return found


@pytest.mark.parametrize("tidy", [True, False], ids=["without_duplicates", "with_duplicates"])
def test_an_owner_with_many_outcomes_is_never_held_up(
    make_generation: Generation, tidy: bool
) -> None:
    url = make_generation("older")
    with connect(url) as conn:
        if tidy:
            without_duplicates(conn)
        conn.execute(
            "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, price_at_prediction,"
            " price_t1, is_complete, created_at, updated_at)"
            " SELECT 1000000 + n / 2, CASE n % 2 WHEN 0 THEN 'AAPL' ELSE 'TSLA' END, '2024-01-01', n, n + 1,"
            " true, '2024-01-01', '2024-01-01' FROM generate_series(1, 200000) n"
        )
        # It would hold migrate up, and give way to nobody who waits as briefly as migrate does.
        conn.execute("ALTER TABLE prediction_outcomes SET (autovacuum_enabled = off)")
        conn.execute("ANALYZE prediction_outcomes")
        owner = Owner(url)
        with owner.working():
            before = owner.statements
            changes = migrate(url)
            during = owner.statements - before
        assert bool(blocked(changes)) is not tidy
        assert owner.failed is None
        assert during > 100
        assert owner.slowest()[0] < 1, owner.slowest()


@pytest.mark.parametrize(
    ("generation", "held"), [("newer", "a row of predictions"), ("older", "a look at the outcomes")]
)
def test_a_long_transaction_is_not_queued_behind(
    make_generation: Generation, generation: str, held: str
) -> None:
    url = make_generation(generation)
    with connect(url) as owner, connect(url) as conn:
        theirs = columns(conn)
        before = contents(conn, theirs), catalog(conn, ["predictions"])
        owner.execute("BEGIN")
        if held == "a row of predictions":
            insert_prediction(owner, generation, '["AAPL"]', published=NOW)
        else:
            owner.execute("SELECT count(*) FROM prediction_outcomes")
        began = time.monotonic()

        gave_up = command(url, "worker", "migrate")

        assert 3 < time.monotonic() - began < 30
        assert gave_up.returncode == 1
        assert len(gave_up.stderr.splitlines()) == 1, gave_up.stderr
        table = "predictions" if held == "a row of predictions" else "prediction_outcomes"
        assert f"(pid {owner.info.backend_pid}) holds {table} in a transaction" in gave_up.stderr
        # What needed no lock that was held may stay; the owner's rows and predictions are as before.
        assert (contents(conn, theirs), catalog(conn, ["predictions"])) == before
        assert check(url).returncode == 3
        owner.execute("COMMIT")
    assert migrate(url)
    assert check(url).returncode == 0


def test_while_migrate_waits_for_a_lock_nobody_waits_long_behind_it(
    make_generation: Generation,
) -> None:
    url = make_generation("older")
    writing = Owner(url)
    with connect(url) as dashboard:
        dashboard.execute("BEGIN")
        dashboard.execute("SELECT count(*) FROM prediction_outcomes")
        with writing.working():
            assert command(url, "worker", "migrate").returncode == 1
    assert writing.failed is None
    assert writing.slowest()[0] < 1, writing.slowest()
