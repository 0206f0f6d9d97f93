"""What all workers share about a provider: pauses, the circuit, the pace. Rows, not memory."""

import datetime as dt
from typing import Any

import pytest

from market.providers import Answer, Kind, Request
from market.providers.limits import Paused, attempt
from sql.database import Database
from tests.support.clock import standing_still, utc
from tests.support.db import Conn, value
from tests.support.market import provider_row
from tests.support.providers import FakeProvider, plain_bars
from tests.support.waiting import never

NOW = utc("2024-05-16 15:00")
DAYS = [dt.date(2024, 3, 5), dt.date(2024, 3, 6)]
REQUEST = Request("ACME", DAYS[0], DAYS[-1], DAYS)
OK = Answer(Kind.OK, plain_bars(DAYS))
DOWN = Answer(Kind.DOWN, message="refused")

# Pauses and places in the queue are told to the second.
database, conn = standing_still(NOW)


def ask_once(database: Database, answer: Answer) -> Answer | Paused:
    return attempt(database, FakeProvider("remote", answer), REQUEST, never)


def seconds_paused(conn: Conn) -> float | None:
    row = conn.execute(
        "SELECT extract(epoch FROM paused_until - reckoner_now())::float8 AS s"
        " FROM reckoner_providers WHERE name = 'remote'"
    ).fetchone()
    assert row is not None
    found: float | None = row["s"]
    return found


def over(conn: Conn) -> None:
    """The pause ends."""
    conn.execute(
        "UPDATE reckoner_providers SET paused_until = reckoner_now() - interval '1 second'"
    )


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answer(Kind.THROTTLED, message="HTTP 429"), 300),
        (Answer(Kind.THROTTLED, message="HTTP 429", retry_after=42.0), 42),
        (Answer(Kind.PLAN, message="HTTP 403"), 3600),
    ],
)
def test_a_refusal_pauses_the_provider_for_everyone(
    database: Database, url: str, conn: Conn, answer: Answer, seconds: float
) -> None:
    verdict = ask_once(database, answer)
    assert isinstance(verdict, Paused)
    assert seconds_paused(conn) == seconds
    assert answer.message in provider_row(conn, "remote")["pause_reason"]

    # Another process: it does not even ask.
    with Database(url, name="another worker") as other:
        provider = FakeProvider("remote", OK)
        paused = attempt(other, provider, REQUEST, never)
    assert isinstance(paused, Paused)
    assert paused.until == verdict.until
    assert answer.message in paused.reason
    assert provider.asked == []


def test_other_providers_are_not_paused(database: Database) -> None:
    ask_once(database, Answer(Kind.THROTTLED))
    assert attempt(database, FakeProvider("another", OK), REQUEST, never) == OK


def test_after_the_pause_it_is_asked_again(database: Database, conn: Conn) -> None:
    ask_once(database, Answer(Kind.THROTTLED))
    over(conn)
    assert ask_once(database, OK) == OK


def test_a_shorter_pause_never_shortens_a_longer_one(database: Database, conn: Conn) -> None:
    ask_once(database, Answer(Kind.PLAN))
    conn.execute("SELECT provider_pause('remote', 10, 'a late 429')")
    assert seconds_paused(conn) == 3600


def test_three_failures_in_a_row_open_the_circuit(database: Database, conn: Conn) -> None:
    for _ in range(2):
        assert isinstance(ask_once(database, DOWN), Paused)
        assert seconds_paused(conn) is None
    ask_once(database, DOWN)
    assert seconds_paused(conn) == 30
    row = provider_row(conn, "remote")
    assert row["failures"] == 3
    assert "refused" in row["pause_reason"]

    lengths = []
    for _ in range(7):
        over(conn)
        ask_once(database, DOWN)
        lengths.append(seconds_paused(conn))
    assert lengths == [60, 120, 240, 480, 900, 900, 900]


def test_an_answer_closes_the_circuit(database: Database, conn: Conn) -> None:
    for _ in range(3):
        ask_once(database, DOWN)
    over(conn)
    ask_once(database, OK)
    row = provider_row(conn, "remote")
    assert (row["failures"], row["paused_until"], row["pause_reason"]) == (0, None, None)


@pytest.mark.parametrize("kind", [Kind.OK, Kind.EMPTY, Kind.UNKNOWN])
def test_failures_with_an_answer_between_them_are_not_in_a_row(
    database: Database, conn: Conn, kind: Kind
) -> None:
    for answer in (DOWN, DOWN, Answer(kind, plain_bars(DAYS)), DOWN):
        ask_once(database, answer)
    assert seconds_paused(conn) is None


def test_unknown_is_no_proof_that_a_provider_knows_anything(database: Database, conn: Conn) -> None:
    ask_once(database, Answer(Kind.UNKNOWN))
    ask_once(database, Answer(Kind.EMPTY))
    assert provider_row(conn, "remote")["last_ok_at"] is None


def test_a_failed_request_is_tried_again_soon(database: Database) -> None:
    verdict = ask_once(database, DOWN)
    assert isinstance(verdict, Paused)
    assert verdict.until == NOW + dt.timedelta(seconds=10)


def spaced(conn: Conn, seconds: float) -> None:
    conn.execute(
        "INSERT INTO reckoner_providers (name, spacing) VALUES ('remote', make_interval(secs => %s))",
        [seconds],
    )


def test_the_pace_is_kept_by_all_together(database: Database, url: str, conn: Conn) -> None:
    spaced(conn, 2.5)
    waits: list[float] = []
    with Database(url, name="another worker") as other:
        for way in (database, other, database, other):
            answer = attempt(way, FakeProvider("remote", OK), REQUEST, waits.append)
            assert answer == OK
    # The first goes at once; each of the others gets the next place.
    assert waits == [2.5, 5.0, 7.5]


def test_a_place_too_far_away_is_not_waited_for(database: Database, conn: Conn) -> None:
    spaced(conn, 30)
    assert attempt(database, FakeProvider("remote", OK), REQUEST, never) == OK
    provider = FakeProvider("remote", OK)
    verdict = attempt(database, provider, REQUEST, never)
    assert isinstance(verdict, Paused)
    assert "busy" in verdict.reason
    assert provider.asked == []


def test_a_429_met_while_waiting_is_heeded(database: Database, conn: Conn) -> None:
    spaced(conn, 5)
    attempt(database, FakeProvider("remote", OK), REQUEST, never)
    provider = FakeProvider("remote", OK)

    def wait(_seconds: float) -> None:
        conn.execute("SELECT provider_pause('remote', 300, 'HTTP 429')")

    assert isinstance(attempt(database, provider, REQUEST, wait), Paused)
    assert provider.asked == []


def test_an_interrupted_wait_asks_nobody(database: Database, conn: Conn) -> None:
    spaced(conn, 5)
    attempt(database, FakeProvider("remote", OK), REQUEST, never)
    provider = FakeProvider("remote", OK)

    def stopping(_seconds: float) -> Any:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        attempt(database, provider, REQUEST, stopping)
    assert provider.asked == []


def test_no_transaction_is_open_while_a_provider_is_asked(database: Database, conn: Conn) -> None:
    def answers(_request: Request) -> Answer:
        open_ones = value(
            conn,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'",
        )
        assert open_ones == 0
        return OK

    assert attempt(database, FakeProvider("remote", answers), REQUEST, never) == OK
