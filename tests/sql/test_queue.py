"""Claiming and ending: who gets which event, what each verdict costs it, what it leaves."""

import psycopg
import pytest

from tests.support.clock import move_clock, stop_clock
from tests.support.db import Conn, connect, value
from tests.support.queue import (
    Row,
    add,
    claim,
    claim_crashed,
    claim_one,
    delay,
    enqueue,
    expire,
    fail,
    find,
    finish,
    finished,
    live,
    lock,
    release,
)


@pytest.fixture(autouse=True)
def still(conn: Conn) -> None:
    """What takes seconds in these tests takes them by `move_clock` alone."""
    stop_clock(conn)


def ids(rows: list[Row]) -> list[int]:
    return [row["id"] for row in rows]


def test_the_highest_priority_comes_first_and_then_the_oldest(conn: Conn) -> None:
    numbers = [
        add(conn, key=str(n), priority=priority, available_at=f"2024-01-01 00:00:{second:02}Z")
        for n, (priority, second) in enumerate([(0, 9), (-10, 1), (5, 3), (0, 2), (5, 2), (-10, 0)])
    ]
    order = []
    while rows := claim(conn, limit=1):
        order += ids(rows)
    assert order == [numbers[n] for n in (4, 2, 3, 0, 5, 1)]


def test_a_limit_is_kept_across_priorities_and_topics_stay_apart(conn: Conn) -> None:
    high = [add(conn, key=str(n), priority=1) for n in range(3)]
    low = [add(conn, key=str(n), priority=-1) for n in range(3, 9)]
    enqueue(conn, "AAPL")
    assert ids(claim(conn, limit=0)) == []
    assert ids(claim(conn, limit=5)) == high + low[:2]
    assert len(claim(conn, "ticker", limit=5)) == 1
    assert ids(claim(conn, limit=100)) == low[2:]


def test_what_is_not_ready_is_not_claimed_and_hides_nothing(conn: Conn) -> None:
    add(conn, key="1", priority=9, available_at="infinity")
    add(conn, key="2", status="dead")
    add(conn, key="3", status="failed", available_at="infinity")
    ready = [add(conn, key="4"), add(conn, key="5", status="failed")]
    assert ids(claim(conn)) == ready
    assert ids(claim(conn)) == []
    assert not value(conn, "SELECT isfinite(outbox_next_at('{prediction}'))")


def test_what_becomes_ready_later_is_announced_and_then_claimed(conn: Conn) -> None:
    number = add(conn, key="1", available_at="2024-01-01Z")
    first = claim_one(conn)
    delay(conn, first, "90 minutes")
    seconds = "SELECT extract(epoch FROM outbox_next_at('{prediction,ticker}') - reckoner_now())"
    assert value(conn, seconds) == 5400
    assert claim(conn) == []
    move_clock(conn, "91 minutes")
    assert ids(claim(conn)) == [number]
    assert value(conn, "SELECT outbox_next_at('{prediction,ticker}')") is None


def test_two_claimers_share_what_is_ready_and_never_wait(url: str, conn: Conn) -> None:
    numbers = [add(conn, key=str(n)) for n in range(10)]
    with connect(url) as one, connect(url) as two:
        for claimer in (one, two):
            claimer.execute("BEGIN; SET LOCAL lock_timeout = '1ms'")
        first, second = claim(one, worker="one", limit=4), claim(two, worker="two", limit=100)
        assert ids(first) == numbers[:4]
        assert ids(second) == numbers[4:]
        one.execute("ROLLBACK")
        two.execute("COMMIT")
    assert ids(claim(conn, worker="three")) == numbers[:4]
    assert {row["leased_by"] for row in conn.execute("SELECT leased_by FROM outbox")} == {
        "two",
        "three",
    }


def test_a_claim_has_a_lease_and_each_claim_a_new_token(conn: Conn) -> None:
    add(conn)
    tokens = []
    for worker in ("a", "b", "c"):
        row = claim_one(conn, worker=worker)
        assert (row["status"], row["leased_by"]) == ("processing", worker)
        tokens.append(row["lease"])
        left = value(conn, "SELECT extract(epoch FROM leased_until - reckoner_now()) FROM outbox")
        assert left == 60
        assert release(conn, worker) == [row["id"]]
    assert tokens == sorted(set(tokens))


def test_renewing_prolongs_just_this_workers_leases(conn: Conn) -> None:
    add(conn, key="1")
    add(conn, key="2")
    mine, others = claim(conn, worker="me", limit=1)[0], claim(conn, worker="you")[0]
    move_clock(conn, "50 seconds")
    assert value(conn, "SELECT outbox_renew('me', 60)") == 1
    move_clock(conn, "65 seconds")
    assert ids(expire(conn)) == [others["id"]]
    assert lock(conn, mine, others) == [mine["id"]]


def test_renewing_prolongs_just_the_leases_that_are_named(conn: Conn) -> None:
    numbers = [add(conn, key=str(n)) for n in range(3)]
    claims = claim(conn, worker="me")
    move_clock(conn, "50 seconds")
    assert value(conn, "SELECT outbox_renew('me', 60, %s)", [[claims[0]["lease"]]]) == 1
    assert value(conn, "SELECT outbox_renew('you', 60, %s)", [[claims[1]["lease"]]]) == 0
    assert value(conn, "SELECT outbox_renew('me', 60, '{}')") == 0
    move_clock(conn, "65 seconds")
    assert sorted(ids(expire(conn))) == numbers[1:]


def test_an_old_lease_changes_nothing_and_says_so(conn: Conn) -> None:
    add(conn)
    old = claim_one(conn, worker="paused")
    move_clock(conn, "2 minutes")
    assert len(expire(conn)) == 1
    for state in ("waiting", "claimed by another"):
        if state != "waiting":
            assert claim_crashed(conn, "other")[0]["lease"] > old["lease"]
        before = live(conn, old["id"])
        assert lock(conn, old) == []
        assert finish(conn, old) == []
        assert fail(conn, old) is None
        assert delay(conn, old) is None
        assert release(conn, "paused") == []
        assert value(conn, "SELECT outbox_renew('paused', 60)") == 0
        assert live(conn, old["id"]) == before
    assert value(conn, "SELECT count(*) FROM outbox_history") == 0


def test_a_batch_finishes_what_it_still_holds_and_names_it(conn: Conn) -> None:
    numbers = [add(conn, key=str(n)) for n in range(3)]
    claims = claim(conn)
    conn.execute("UPDATE outbox SET status = 'pending' WHERE id = %s", [numbers[1]])
    assert lock(conn, *claims) == [numbers[0], numbers[2]]
    assert sorted(finish(conn, *claims)) == [numbers[0], numbers[2]]
    assert live(conn, numbers[1])["status"] == "pending"


def test_holding_keeps_others_from_ending_the_lease(url: str, conn: Conn) -> None:
    add(conn)
    held = claim_one(conn)
    with connect(url) as worker, worker.transaction():
        assert lock(worker, held) == [held["id"]]
        move_clock(conn, "1 hour")
        assert expire(conn) == []
        assert finish(worker, held) == [held["id"]]
    assert expire(conn) == []
    assert finished(conn, held["id"])["verdict"] == "done"


def test_history_is_written_in_the_transaction_of_the_end(url: str, conn: Conn) -> None:
    number = add(conn, payload='{"a": 1}')
    row = claim_one(conn, worker="me")
    for end in ("ROLLBACK", "COMMIT"):
        with connect(url) as worker:
            worker.execute("BEGIN")
            assert finish(worker, row) == [number]
            assert live(conn, number)["lease"] == row["lease"]
            assert value(conn, "SELECT count(*) FROM outbox_history") == 0
            worker.execute(end.encode())
    assert find(conn, number) is None
    done = finished(conn, number)
    assert (done["topic"], done["key"], done["verdict"]) == ("prediction", "1", "done")
    assert (done["worker"], done["result"], done["payload"]) == ("me", {"n": 1}, {"a": 1})
    assert (done["attempts"], done["crashes"]) == (0, 0)
    assert done["created_at"] == row["created_at"] <= done["finished_at"]
    assert finish(conn, row) == []


def test_an_unknown_verdict_is_refused_and_ends_nothing(conn: Conn) -> None:
    add(conn)
    row = claim_one(conn)
    with pytest.raises(psycopg.errors.CheckViolation):
        finish(conn, row, verdict="perhaps")
    assert lock(conn, row) == [row["id"]]


def test_an_event_waits_while_one_of_its_key_is_processed(conn: Conn) -> None:
    first = add(conn, key="7")
    row = claim_one(conn)
    second = add(conn, key="7")
    other = add(conn, key="70")
    assert ids(claim(conn)) == [other]
    finish(conn, row)
    assert ids(claim(conn)) == [second]
    assert first != second


def test_a_suspect_waits_too_while_one_of_its_key_is_processed(conn: Conn) -> None:
    add(conn, key="7")
    row = claim_one(conn)
    suspect = add(conn, key="7", crashes=1)
    assert claim_crashed(conn) == []
    finish(conn, row)
    assert ids(claim_crashed(conn)) == [suspect]


def test_suspects_are_claimed_one_at_a_time_and_apart(conn: Conn) -> None:
    suspects = [add(conn, key="1", crashes=1), add(conn, "ticker", "AAPL", crashes=2)]
    clean = add(conn, key="3")
    later = add(conn, key="4", crashes=1, available_at="2999-01-01Z")
    assert ids(claim(conn)) == [clean]
    assert claim(conn, "ticker") == []
    assert ids(claim_crashed(conn)) == suspects[:1]
    assert ids(claim_crashed(conn)) == suspects[1:]
    assert claim_crashed(conn) == []
    assert live(conn, later)["status"] == "pending"


def test_releasing_costs_nothing_and_is_ready_at_once(conn: Conn) -> None:
    numbers = [add(conn, key=str(n)) for n in range(3)]
    claim(conn, worker="leaving", limit=2)
    claim(conn, worker="staying")
    assert sorted(release(conn, "leaving")) == numbers[:2]
    again = claim(conn, worker="next")
    assert ids(again) == numbers[:2]
    assert {(row["attempts"], row["crashes"]) for row in again} == {(0, 0)}
    assert live(conn, numbers[2])["leased_by"] == "staying"
