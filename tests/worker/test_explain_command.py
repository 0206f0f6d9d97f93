"""`explain` of an event that people and workers pushed about, and the command around it all."""

import datetime as dt
import json

import pytest

from sql.database import Database
from tests.support.cli import command
from tests.support.db import Conn
from tests.support.market import insert_prediction
from tests.support.queue import add, claim, claim_one, delay, enqueue, fail, finish, live
from tests.worker.inline import Inline
from tests.worker.stories import PRICES, in_order, lines, story


def test_an_operators_update_is_in_the_story(conn: Conn) -> None:
    number = add(conn, key="7")
    fail(conn, claim_one(conn), "it broke", most=1)
    conn.execute("UPDATE outbox SET status = 'pending' WHERE status = 'dead'")
    in_order(
        lines(story(conn, "event", number)),
        "written for prediction 7",
        "claimed by w",
        "failed: after 1 attempts: it broke",
        "requeued: after 1 attempts: it broke",
        "no worker alive",
    )
    conn.execute("SELECT outbox_park(%s, 'ask the vendor')", [number])
    in_order(
        lines(story(conn, "event", number)), "requeued", "parked: ask the vendor", "parked after"
    )


def test_a_trail_keeps_the_first_ten_and_the_last_forty(conn: Conn) -> None:
    number = add(conn)
    for n in range(60):
        delay(conn, claim_one(conn), by="0", reason=f"time {n}")
        assert len(live(conn, number)["trail"]) == min(n + 1, 50)
    kept = [entry["error"] for entry in live(conn, number)["trail"]]
    assert kept == [f"time {n}" for n in (*range(10), *range(20, 60))]
    told = lines(story(conn, "event", number))
    assert sum(text.startswith("claimed by w") for text in told) == 50
    finish(conn, *claim(conn))
    assert lines(story(conn, "event", number))[-1].startswith("done")


def test_a_merged_event_tells_its_claim_once(conn: Conn) -> None:
    enqueue(conn, "GOOD")
    claimed = claim_one(conn, "ticker")
    enqueue(conn, "GOOD")
    assert delay(conn, claimed) == "merged"
    told = lines(story(conn, "event", claimed["id"]))
    assert [text.split(":")[0] for text in told] == [
        "written for ticker GOOD",
        "claimed by w",
        "delayed",
        "cancelled",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["4711"],
        ["--event", "4711"],
        ["no symbol at all"],
        ["99999999999999999"],
        ["NOBODY"],
    ],
)
def test_what_is_not_there_is_1_and_one_line(url: str, arguments: list[str]) -> None:
    done = command(url, "worker", "explain", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert arguments[-1].split()[0] in done.stderr


@pytest.mark.parametrize("arguments", [[], ["17", "--event", "1"]])
def test_one_thing_is_asked_for(url: str, arguments: list[str]) -> None:
    assert command(url, "worker", "explain", *arguments).returncode == 2


def test_the_command_says_what_the_sql_says(url: str, conn: Conn, database: Database) -> None:
    number = insert_prediction(conn, ["GOOD"])
    Inline(database, PRICES).drain()
    for argument in (str(number), "good"):
        rows = story(conn, "prediction" if argument.isdigit() else "ticker", argument)
        told = [(row["subject"], row["story"]) for row in rows]
        as_json = json.loads(command(url, "worker", "explain", argument, "--json").stdout)
        assert [(row["subject"], row["story"]) for row in as_json] == told
        times = [row["at"] and dt.datetime.fromisoformat(row["at"]) for row in as_json]
        assert times == [row["at"] for row in rows]
        done = command(url, "worker", "explain", argument, COLUMNS="20")
        assert (done.returncode, done.stderr) == (0, "")
        table = [line.split("\t") for line in done.stdout.splitlines()]
        assert table[0] == ["at", "subject", "story"]
        assert [(row[1], row[2]) for row in table[1:]] == told
