"""A bar that is replaced or taken away: what it said is kept."""

from pathlib import Path

from market.providers.csv_files import CsvFiles
from tests.market.provenance.scenes import LATER, T1, payloads, revise, turn
from tests.support.clock import day
from tests.support.db import Conn, connect, value
from tests.support.market import outcome, uncover_after


def test_a_revised_bar_keeps_what_it_said_and_its_outcome_tells(
    url: str, conn: Conn, folder: Path, prediction: int
) -> None:
    before = outcome(conn, prediction, "ACME")
    revise(folder, T1, before["price_t1"] + 10)
    turn(url, CsvFiles(folder), now=LATER, refetch=True)

    first, second = payloads(conn)
    (row,) = conn.execute("SELECT * FROM market_price_revisions").fetchall()
    assert (row["symbol"], row["date"]) == ("ACME", day(T1))
    assert (row["old_close"], row["new_close"]) == (before["price_t1"], before["price_t1"] + 10)
    assert (row["old_open"], row["old_volume"]) == (before["price_t1"], 1000)
    assert (row["old_source"], row["new_source"]) == ("csv", "csv")
    assert (row["old_payload_id"], row["new_payload_id"]) == (first["id"], second["id"])
    assert row["old_fetched_at"] < row["replaced_at"]
    changed = conn.execute("SELECT date FROM market_prices WHERE payload_id = %s", [second["id"]])
    assert [each["date"] for each in changed] == [day(T1)]
    after = outcome(conn, prediction, "ACME")
    assert after["price_t1"] == before["price_t1"] + 10
    assert after["return_t1"] == (after["price_t1"] / after["price_at_prediction"] - 1) * 100
    assert f"return_t1 was {before['return_t1']:.4f}" in after["revision"]


def test_another_programs_bar_keeps_what_it_said_too(url: str, conn: Conn, folder: Path) -> None:
    conn.execute(
        "INSERT INTO market_prices (symbol, date, close, source)"
        " VALUES ('ACME', '2024-03-05', 1.5, 'theirs'), ('ACME', '2024-03-06', %s, 'theirs')",
        [value_of(folder, "2024-03-06")],
    )
    turn(url, CsvFiles(folder))
    rows = conn.execute("SELECT * FROM market_price_revisions ORDER BY date").fetchall()
    found = [(str(row["date"]), row["old_close"], row["old_source"]) for row in rows]
    assert found[0] == ("2024-03-05", 1.5, "theirs")
    assert all(row["old_fetched_at"] is None for row in rows)
    assert value(conn, "SELECT count(*) FROM market_prices WHERE payload_id IS NULL") == 0


def value_of(folder: Path, date: str) -> float:
    rows = (folder / "ACME.csv").read_text().splitlines()
    return float(next(row for row in rows if row.startswith(date)).split(",")[4])


def test_a_bar_that_a_new_history_lacks_is_kept_as_it_was(
    url: str, conn: Conn, folder: Path
) -> None:
    turn(url, CsvFiles(folder))
    lines = (folder / "ACME.csv").read_text().splitlines()
    halved = [lines[0]]
    for line in lines[1:]:
        date, *prices, volume = line.split(",")
        if date != "2024-03-08":
            halved.append(",".join([date, *(str(float(price) / 2) for price in prices), volume]))
    (folder / "ACME.csv").write_text("\n".join(halved) + "\n")
    with connect(url) as living_then:
        uncover_after(living_then, "2024-05-15")
    turn(url, CsvFiles(folder))
    (gone,) = conn.execute(
        "SELECT * FROM market_price_revisions WHERE new_close IS NULL"
    ).fetchall()
    assert gone["date"] == day("2024-03-08")
    assert value(conn, "SELECT count(*) FROM market_prices WHERE date = '2024-03-08'") == 0
