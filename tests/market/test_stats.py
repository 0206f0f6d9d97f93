"""`market stats` and `market processing-stats`: how much there is, and where it stands."""

import datetime as dt
from typing import Any

from sql.database import Database
from tests.support.cli import command, document, table
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, process, put_bars, sessions, set_fetched


def stages(url: str) -> dict[str, dict[str, Any]]:
    return {
        row["stage"]: row for row in document(command(url, "market", "processing-stats", "--json"))
    }


def test_rows_per_table(url: str, conn: Conn) -> None:
    insert_prediction(conn, ["AAPL"])
    rows = {row["name"]: row for row in table(command(url, "market", "stats"))}
    assert (rows["predictions"]["rows"], rows["predictions"]["is_estimate"]) == ("1", "False")
    assert rows["outbox"]["rows"] == "1"
    assert int(rows["market_sessions"]["rows"]) > 20_000
    assert {"market_prices", "prediction_outcomes", "reckoner_backups"} < rows.keys()


def test_a_large_table_is_estimated_and_says_so(conn: Conn) -> None:
    conn.execute(
        "INSERT INTO outbox_history (id, topic, key, verdict, attempts, crashes, created_at, finished_at, result)"
        " SELECT n, 'ticker', 'X', 'done', 0, 0, now(), now(), to_jsonb(repeat('x', 500))"
        " FROM generate_series(1, 40000) n"
    )
    conn.execute("ANALYZE outbox_history")
    row = conn.execute("SELECT * FROM table_rows(ARRAY['outbox_history'])").fetchone()
    assert row is not None
    assert row["is_estimate"]
    assert abs(row["rows"] - 40_000) < 400


def test_predictions_by_stage(url: str, conn: Conn, database: Database) -> None:
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    old = insert_prediction(conn, ["OLD"], moment="2020-01-01 12:00+00")
    conn.execute("UPDATE reckoner_installation SET last_prediction_id = %s", [old])
    insert_prediction(conn, ["LOST"])
    insert_prediction(conn, ["X"], status="error")
    insert_prediction(conn, [])
    conn.execute("ALTER TABLE predictions ENABLE TRIGGER predictions_inserted")
    waiting, flying, dead = (insert_prediction(conn, ["X"]) for _ in range(3))
    for number, status in ((flying, "processing"), (dead, "dead")):
        conn.execute(
            "UPDATE outbox SET status = %s, lease = %s WHERE key = %s",
            [status, 1 if status == "processing" else None, str(number)],
        )
    days = sessions(conn, "2024-03-01", "2024-03-15")
    put_bars(conn, "ACME", {day: 100.0 + n for n, day in enumerate(days)})
    set_fetched(conn, "ACME", days[0], days[-1])
    whole = sessions(conn, "2024-03-01", "2024-06-01")
    put_bars(conn, "FULL", {day: 100.0 + n for n, day in enumerate(whole)})
    set_fetched(conn, "FULL", whole[0], whole[-1])
    conn.execute("INSERT INTO ticker_registry (symbol, status) VALUES ('GONE', 'invalid')")
    done = insert_prediction(conn, ["ACME", "FULL", "GONE", "NEW"], moment="2024-03-05 15:00+00")
    other = insert_prediction(conn, ["FULL"], moment="2024-03-04 15:00+00")
    process(database, done, other)
    conn.execute("DELETE FROM outbox WHERE key IN (%s, %s)", [str(done), str(other)])

    found = stages(url)

    counts = {name: (row["predictions"], row["outcomes"]) for name, row in found.items()}
    assert counts == {
        "not eligible": (2, None),
        "no event, from before the installation": (1, None),
        "no event": (1, None),
        "waiting": (1, None),
        "in flight": (1, None),
        "dead": (1, None),
        "awaiting entry price": (1, 1),
        "priced": (1, 1),
        "matured t1": (2, 3),
        "matured t3": (2, 3),
        "matured t7": (2, 3),
        "matured t30": (2, 2),
        "unresolvable": (1, 1),
        "another program's": (0, 0),
    }
    assert found["waiting"]["oldest_prediction"] == waiting
    assert found["no event, from before the installation"]["oldest_prediction"] == old
    assert found["matured t30"]["oldest_prediction"] == other
    oldest = dt.datetime.fromisoformat(found["matured t30"]["oldest"])
    assert oldest == dt.datetime(2024, 3, 4, tzinfo=dt.UTC)
    total = value(conn, "SELECT count(*) FROM predictions")
    exclusive = ("not eligible", "no event", "waiting", "in flight", "dead")
    named = (
        sum(counts[name][0] for name in exclusive)
        + counts["no event, from before the installation"][0]
    )
    assert named + 2 == total


def test_stages_of_an_empty_database(url: str) -> None:
    found = stages(url)
    assert {row["predictions"] for row in found.values()} == {0}
    assert {row["oldest"] for row in found.values()} == {None}
