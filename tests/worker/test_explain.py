"""`explain` of a prediction and its tickers: the whole story, in order, and what it waits for."""

import datetime as dt
import json
from pathlib import Path

from market.providers import Answer, Kind
from market.universe import sessions as calendars
from sql.database import Database
from sql.schema.migrate import migrate
from tests.attach import databases
from tests.attach.scenes import insert_prediction as insert_older
from tests.support.cli import command
from tests.support.db import Conn, connect, value
from tests.support.hanging import HangingTicker
from tests.support.market import bars, insert_prediction, sessions, until_complete
from tests.support.process import LASTING, SHORT, Start
from tests.support.queue import event, until_done, until_processing
from tests.support.waiting import until
from tests.worker.inline import Inline
from tests.worker.stories import BROKEN, PRICES, in_order, lines, story


def session_days(conn: Conn, count: int) -> list[dt.date]:
    """The last sessions that are over and settled, ascending."""
    last = value(conn, "SELECT (session_last_settled('XNYS')).session")
    return sessions(conn, str(last - dt.timedelta(days=3 * count + 10)), str(last))[-count:]


def test_a_prediction_done_at_once(conn: Conn, database: Database) -> None:
    worker = Inline(database, PRICES)
    number = insert_prediction(conn, ["GOOD", "no good"], {"GOOD": "bullish"})
    worker.drain()

    rows = story(conn, "prediction", number)

    in_order(
        lines(rows),
        "the text that it is about was published",
        'inserted: ["GOOD", "no good"], completed',
        f"written for prediction {number}",
        "claimed by inline",
        "written for ticker GOOD",
        'done: 1 awaiting_prices; skipped "no good" (not a symbol)',
        "claimed by inline",
        "done: csv gave ",
        "complete",
    )
    assert rows[0]["at"] == dt.datetime(2024, 3, 5, 15, tzinfo=dt.UTC)
    assert "0 rejected; 1 outcomes followed" in " ".join(lines(rows))
    assert any(text.startswith("active, sessions of XNYS, answered for") for text in lines(rows))
    ticker = story(conn, "ticker", " good ")
    in_order(
        lines(ticker), "written for ticker", "claimed by inline", "done: csv", "1 are complete"
    )


def test_matured_horizons_have_their_close_and_the_next_its_moment(
    conn: Conn, database: Database
) -> None:
    days = session_days(conn, 5)
    number = insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"}, moment=f"{days[0]} 15:00+00")
    Inline(database, PRICES).drain()
    row = conn.execute("SELECT * FROM prediction_outcomes").fetchall()[0]

    rows = story(conn, "prediction", number)

    told = lines(rows, "outcome GOOD")
    for name, column, day in [("entry", "at_prediction", 0), ("t1", "t1", 1), ("t3", "t3", 3)]:
        expected = f"{name}: {row[f'price_{column}']:g}, the close of {days[day]}"
        assert [text for text in told if text.startswith(expected)], told
    assert [text for text in told if f"return {row['return_t1']:.2f} %" in text]
    assert [text for text in told if "(from csv)" in text]
    waiting = rows[-2]  # the last with a time; what follows is the ticker's standing
    assert waiting["story"].startswith("maturing: next: t7 on ")
    assert waiting["story"].endswith(" then")
    assert waiting["at"] == row["due_at"] > dt.datetime.now(dt.UTC)


def test_horizons_that_came_together_are_told_in_their_order(
    conn: Conn, database: Database
) -> None:
    number = insert_prediction(conn, ["GOOD", "FINE"], {"GOOD": "bullish"})
    Inline(database, PRICES).drain()
    for symbol in ("GOOD", "FINE"):
        told = lines(story(conn, "prediction", number), f"outcome {symbol}")
        names = [text.split(":")[0] for text in told]
        assert names == ["entry", "t1", "t3", "t7", "t30", "complete"]


def test_what_cannot_be_correct_is_not_called_incorrect(conn: Conn, database: Database) -> None:
    number = insert_prediction(conn, ["GOOD", "FINE"], {"GOOD": "bullish"})
    Inline(database, PRICES).drain()
    rows = story(conn, "prediction", number)
    entries = [text for text in lines(rows, "outcome") if text.startswith("entry")]
    unasked = lines(rows, "outcome FINE")  # no sentiment
    assert [text for text in entries + unasked if "correct" in text] == []


def test_a_paused_provider_is_named_with_its_end(conn: Conn, database: Database) -> None:
    number = insert_prediction(conn, ["GOOD"])
    Inline(database, Answer(Kind.THROTTLED, message="429", retry_after=600)).drain()
    until_when = value(conn, "SELECT paused_until FROM reckoner_providers WHERE name = 'csv'")

    rows = story(conn, "prediction", number)

    paused = next(row for row in rows if row["subject"] == "provider csv")
    assert paused["at"] == until_when
    assert paused["story"].startswith("paused until then: throttled: 429; it goes on by itself")
    assert paused["story"].endswith("SELECT provider_resume('csv')")
    in_order(
        lines(rows, "event"), "claimed by", "delayed: csv is paused", f"waiting for its time at {until_when:%Y-%m-%d}"
    )  # fmt: skip
    in_order(lines(rows, "outcome"), "awaiting_prices: no bar yet for the entry session 2024-03-05")


def test_a_used_up_quota_is_named_with_its_end(conn: Conn, database: Database) -> None:
    conn.execute("INSERT INTO provider_quotas (name, per_day) VALUES ('csv', 0)")
    number = insert_prediction(conn, ["GOOD"])
    Inline(database, PRICES).drain()
    ends = value(conn, "SELECT resets_at FROM provider_quota_status WHERE name = 'csv'")

    rows = story(conn, "prediction", number)

    quota = next(row for row in rows if row["subject"] == "provider csv")
    assert quota["at"] == ends
    assert quota["story"].startswith("out of quota until then: 0 of 0 requests of the day are used")
    assert "UPDATE provider_quotas SET per_day = 2 * per_day WHERE name = 'csv'" in quota["story"]
    in_order(
        lines(rows, "event"),
        "claimed by",
        "delayed: csv is paused: 0 of 0 requests of the day",
        f"waiting for its time at {ends:%Y-%m-%d}",
    )


def test_a_ticker_that_failed_twice_and_succeeded(conn: Conn, database: Database) -> None:
    number = insert_prediction(conn, ["GOOD"])
    broken = Inline(database, BROKEN, name="first")
    for attempts in (1, 2):
        broken.drain()
        told = lines(story(conn, "prediction", number), "event")
        assert (
            sum(text.startswith("failed: csv: bad_answer no column") for text in told) == attempts
        )
        conn.execute("SELECT worker_heartbeat('first', 'host', 1, 'notify', 0, 60, NULL)")
        conn.execute("UPDATE outbox SET available_at = now() + interval '1 hour'")
        in_order(
            lines(story(conn, "prediction", number), "event"), f"waiting for retry {attempts + 1}"
        )
        conn.execute("UPDATE outbox SET available_at = now()")
    Inline(database, PRICES, name="second").drain()

    told = lines(story(conn, "ticker", "GOOD"), "event")

    assert [text.split(":")[0] for text in told] == [
        "written for ticker GOOD",
        "claimed by first",
        "failed",
        "claimed by first",
        "failed",
        "claimed by second",
        "done",
    ]
    assert all("; ready again at " in text for text in told if text.startswith("failed"))


def test_a_killed_worker_is_in_the_story(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    slow = HangingTicker(tmp_path / "bars")
    first = start_worker(**SHORT).ready()
    number = insert_prediction(conn, ["SLOW"])
    held = until_processing(conn, "SLOW")
    in_order(lines(story(conn, "event", held["id"])), "written", "claimed", "a worker works on it")
    first.kill()
    start_worker(**{**SHORT, **LASTING})
    until("the lease ended", lambda: (event(conn, "SLOW") or {"crashes": 0})["crashes"], 60)
    again = until_processing(conn, "SLOW")
    slow.answer(bars(conn, tmp_path, "OTHER").read_text())
    until_complete(conn, 1)
    until_done(conn, "SLOW")

    told = lines(story(conn, "prediction", number), f"event {held['id']}")

    in_order(
        told,
        f"claimed by {held['leased_by']}",
        f"crashed: worker {held['leased_by']} ended without a verdict",
        f"claimed by {again['leased_by']}",
        "done: csv gave",
    )
    assert again["leased_by"] != held["leased_by"]
    done = command(url, "worker", "explain", "--event", str(held["id"]), "--json")
    assert [row["story"] for row in json.loads(done.stdout)] == told


def test_what_is_not_processed_says_why(conn: Conn) -> None:
    bypassed = insert_prediction(conn, ["GOOD"], status="bypassed")
    told = lines(story(conn, "prediction", bypassed))
    in_order(told, "inserted", 'is not processed: analysis_status is bypassed, assets are ["GOOD"]')
    nothing = insert_prediction(conn, [])
    in_order(lines(story(conn, "prediction", nothing)), "is not processed: analysis_status is comp")


def test_a_prediction_without_an_event_says_what_gives_it_one(conn: Conn) -> None:
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    number = insert_prediction(conn, ["GOOD"])
    [told] = lines(story(conn, "prediction", number), f"prediction {number}")[2:]
    assert f"SELECT outbox_requeue_prediction({number})" in told
    conn.execute("UPDATE reckoner_installation SET last_prediction_id = %s", [number])
    [told] = lines(story(conn, "prediction", number), f"prediction {number}")[2:]
    assert told.endswith("python -m worker enqueue --all")


def test_times_without_a_zone_are_utc(empty_url: str) -> None:
    with connect(empty_url) as conn, Database(empty_url) as database:
        databases.load(conn, "older")
        migrate(database)
        calendars.ensure(database)
        posted = dt.datetime(2025, 3, 5, 15, tzinfo=dt.UTC)
        number = insert_older(conn, "older", '["NEWONE"]', published=posted)
        conn.execute(
            "UPDATE predictions SET created_at = '2025-03-05 15:10' WHERE id = %s", [number]
        )
        Inline(database, PRICES).drain()
        conn.execute("SET TimeZone = 'America/New_York'")

        rows = story(conn, "prediction", number)

        assert [row["at"] for row in rows[:2]] == [posted, posted + dt.timedelta(minutes=10)]
        entry = next(row for row in rows if row["story"].startswith("entry: "))
        assert abs(entry["at"] - value(conn, "SELECT now()")) < dt.timedelta(minutes=1)


def test_the_insert_is_told_before_the_event_that_it_wrote(conn: Conn) -> None:
    # As psql sends it: now() of the row and of its event are the same moment.
    conn.execute("INSERT INTO predictions (assets) VALUES ('[\"GOOD\"]')")
    number = value(conn, "SELECT id FROM predictions")
    in_order(lines(story(conn, "prediction", number)), "inserted", "written for prediction")
