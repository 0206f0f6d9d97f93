"""Where a price comes from: payloads, revisions, the audit, and how `explain` walks them."""

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from market import provenance
from market.providers import Answer, Bar, Kind, Payload, Provider, Request
from market.providers.csv_files import CsvFiles
from market.settings import MarketSettings
from sql.database import Database
from tests.market.desk import Desk, Told
from tests.market.helpers import FakeProvider, clock, day, outcome, utc
from tests.support import Conn, command, connect, flat_bars, sessions, value, write_csv
from worker import sweep
from worker.settings import WorkerSettings

MOMENT = "2024-03-05 15:00+00"
NOW = utc("2024-05-16 22:00")
LATER = utc("2024-05-17 22:00")
T1 = "2024-03-06"


@pytest.fixture
def folder(conn: Conn, tmp_path: Path) -> Path:
    write_csv(tmp_path / "bars", "ACME", flat_bars(sessions(conn, "2023-01-03", "2024-05-16")))
    return tmp_path / "bars"


def turn(url: str, *providers: Provider, now: dt.datetime = NOW, refetch: bool = False) -> Told:
    """What a worker does at `now` once ACME is due."""
    with clock(url, now), connect(url) as conn:
        conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME') ON CONFLICT DO NOTHING")
        conn.execute(
            "SELECT outbox_requeue_ticker('ACME')"
            if refetch
            else "SELECT ticker_enqueue(ARRAY['ACME'], 0, false)"
        )
    (told,) = Desk(url, *providers).turn(now)
    return told


@pytest.fixture
def prediction(url: str, folder: Path) -> int:
    """A prediction with a complete outcome, its bars from the file."""
    desk = Desk(url, CsvFiles(folder))
    number = desk.predict(NOW, "ACME", MOMENT)
    (told,) = desk.turn(NOW)
    assert told["verdict"] == "done"
    return number


def payloads(conn: Conn) -> list[dict[str, Any]]:
    return conn.execute("SELECT * FROM provider_payloads ORDER BY id").fetchall()


def audit(conn: Conn) -> list[dict[str, Any]]:
    return conn.execute("SELECT * FROM ingestion_audit ORDER BY id").fetchall()


def versions(conn: Conn) -> list[dict[str, Any]]:
    return conn.execute(
        "SELECT date, xmin::text, ctid::text FROM market_prices ORDER BY 1"
    ).fetchall()


def raw(kind: Kind, text: str, url: str = "https://remote/ACME") -> Answer:
    """An answer of a class, with these bytes."""
    return Answer(kind, message=text, payload=Payload(url, 200, text.encode()))


# Payloads.


@pytest.mark.usefixtures("prediction")
def test_every_bar_knows_the_bytes_that_it_was_read_from(
    url: str, conn: Conn, folder: Path
) -> None:
    (kept,) = payloads(conn)
    body = (folder / "ACME.csv").read_bytes()
    assert value(conn, "SELECT array_agg(DISTINCT payload_id) FROM market_prices") == [kept["id"]]
    assert kept["sha256"] == hashlib.sha256(body).hexdigest()
    assert (kept["provider"], kept["url"], kept["class"]) == ("csv", "ACME.csv", "ok")
    assert (kept["status"], kept["size"]) == (None, len(body))
    assert len(kept["body"]) < len(body) / 2
    printed = command(url, "market", "payload", str(kept["id"]))
    assert (printed.returncode, printed.stdout) == (0, body.decode().replace("\r\n", "\n"))


@pytest.mark.usefixtures("prediction")
def test_the_same_bytes_are_kept_once_and_unchanged_bars_are_not_touched(
    url: str, conn: Conn, folder: Path
) -> None:
    before, bars = payloads(conn), versions(conn)
    told = turn(url, CsvFiles(folder), now=LATER, refetch=True)
    assert (told["inserted"], told["updated"]) == (0, 0)
    (kept,) = payloads(conn)
    assert kept["id"] == before[0]["id"]
    assert versions(conn) == bars
    assert [row["payload_id"] for row in audit(conn)] == [kept["id"]] * 2


@pytest.mark.usefixtures("prediction")
def test_other_bytes_with_the_same_prices_touch_no_bar_either(
    url: str, conn: Conn, folder: Path
) -> None:
    bars = versions(conn)
    path = folder / "ACME.csv"
    path.write_text(path.read_text() + "\n")
    turn(url, CsvFiles(folder), now=LATER, refetch=True)
    assert len(payloads(conn)) == 2
    assert versions(conn) == bars


@pytest.mark.parametrize("kind", [Kind.BAD_ANSWER, Kind.THROTTLED, Kind.PLAN, Kind.DOWN])
def test_what_could_not_be_used_is_kept_for_whoever_mends_it(
    url: str, conn: Conn, kind: Kind
) -> None:
    turn(url, FakeProvider("remote", raw(kind, "<html>Sorry</html>")))
    (kept,) = payloads(conn)
    (row,) = audit(conn)
    assert (kept["class"], kept["status"]) == (kind, 200)
    assert row["outcome"] == ("failed" if kind is Kind.BAD_ANSWER else "later")
    (asked,) = row["asked"]
    assert (asked["provider"], asked["class"]) == ("remote", kind)
    assert (asked["payload_id"], asked["hash"]) == (kept["id"], kept["sha256"])
    assert row["error"]
    printed = command(url, "market", "payload", str(kept["id"]))
    assert printed.stdout == "<html>Sorry</html>"


def test_a_paused_provider_is_in_the_audit_though_nobody_asked_it(url: str, conn: Conn) -> None:
    provider = FakeProvider("remote", raw(Kind.THROTTLED, "slow down"))
    turn(url, provider)
    turn(url, provider, now=NOW + dt.timedelta(minutes=1), refetch=True)
    assert len(provider.asked) == 1
    classes = [row["asked"][0]["class"] for row in audit(conn)]
    assert classes == ["throttled", "paused"]


def test_no_key_reaches_a_row(url: str, conn: Conn) -> None:
    address = "https://remote/ACME?apikey=SECRET7&from=1"
    turn(url, FakeProvider("remote", raw(Kind.BAD_ANSWER, "token=SECRET7 is wrong", address)))
    for table in ("provider_payloads", "ingestion_audit", "data_quality_log", "ticker_registry"):
        assert "SECRET7" not in str(value(conn, f"SELECT json_agg(t) FROM {table} t"))  # noqa: S608
    assert payloads(conn)[0]["url"] == "https://remote/ACME?apikey=***&from=1"


def sweep_at(url: str, now: dt.datetime, days: int) -> None:
    with clock(url, now) as database:
        settings = WorkerSettings.model_construct(raw_retention_days=days)
        assert sweep.once(database, settings) is not None


@pytest.mark.usefixtures("prediction")
def test_payloads_go_after_their_time_and_bars_and_hashes_stay(url: str, conn: Conn) -> None:
    (kept,), bars = payloads(conn), versions(conn)
    sweep_at(url, NOW + dt.timedelta(days=89), 90)
    assert len(payloads(conn)) == 1
    sweep_at(url, NOW + dt.timedelta(days=91), 90)
    assert payloads(conn) == []
    assert versions(conn) == bars
    assert [row["hash"] for row in audit(conn)] == [kept["sha256"]]
    gone = command(url, "market", "payload", str(kept["id"]))
    assert gone.returncode == 1
    assert "RAW_RETENTION_DAYS" in gone.stderr


@pytest.mark.usefixtures("prediction")
def test_bytes_that_came_again_stay_as_long_again(url: str, conn: Conn, folder: Path) -> None:
    turn(url, CsvFiles(folder), now=NOW + dt.timedelta(days=60), refetch=True)
    sweep_at(url, NOW + dt.timedelta(days=100), 90)
    assert len(payloads(conn)) == 1
    sweep_at(url, NOW + dt.timedelta(days=151), 90)
    assert payloads(conn) == []


def test_nothing_is_kept_where_nothing_shall_be(
    url: str, conn: Conn, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAW_RETENTION_DAYS", "0")
    monkeypatch.setenv("MARKET_PROVIDERS", "csv")
    monkeypatch.setenv("MARKET_CSV_DIR", str(folder))
    assert MarketSettings().raw_retention_days == WorkerSettings().raw_retention_days == 0
    done = command(
        url, "market", "fetch-prices", "-s", "ACME", "-d", "900",
        MARKET_PROVIDERS="csv", MARKET_CSV_DIR=str(folder), RAW_RETENTION_DAYS="0",
    )  # fmt: skip
    assert done.returncode in {0, 1}
    assert payloads(conn) == []
    (row,) = audit(conn)
    assert (row["payload_id"], len(row["hash"])) == (None, 64)


def test_nobody_waits_for_whoever_else_stores_the_same_bytes(database: Database) -> None:
    """Some bodies are everyone's: the page that says "too many requests"."""
    request = Request("ACME", day(T1), day(T1), [day(T1)])
    page = Payload("https://remote/ACME", 429, b"Too Many Requests")
    asked = [provenance.Asked("remote", request, "throttled", "", 0.1, page)]
    with database.transaction() as first:
        known = provenance.keep(first, asked, provenance.Run())
    with database.transaction() as one, database.transaction(lock_seconds=0.5) as other:
        assert provenance.keep(one, asked, provenance.Run()) == known
        assert provenance.keep(other, asked, provenance.Run()) == known


def test_many_payloads_are_pruned_in_bites(url: str, conn: Conn) -> None:
    conn.execute(
        "INSERT INTO provider_payloads (sha256, provider, url, class, size, body, fetched_at, last_seen_at)"
        " SELECT n::text, 'csv', 'x', 'ok', 1, '', now(), now() - interval '1 year'"
        " FROM generate_series(1, 1500) n"
    )
    assert value(conn, "SELECT sweep_payloads(90)") == 1000
    assert value(conn, "SELECT sweep_payloads(90)") == 500
    assert url


# Revisions.


def revise(folder: Path, date: str, close: float) -> None:
    """Let the file say another close of a day."""
    path = folder / "ACME.csv"
    lines = path.read_text().splitlines()
    changed = [
        f"{date},{close},{close},{close},{close},1000" if ln.startswith(date) else ln
        for ln in lines
    ]
    path.write_text("\n".join(changed) + "\n")


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
        living_then.execute("UPDATE ticker_registry SET fetched_to = '2024-05-15'")
    turn(url, CsvFiles(folder))
    (gone,) = conn.execute(
        "SELECT * FROM market_price_revisions WHERE new_close IS NULL"
    ).fetchall()
    assert gone["date"] == day("2024-03-08")
    assert value(conn, "SELECT count(*) FROM market_prices WHERE date = '2024-03-08'") == 0


# Explain.


def test_explain_walks_from_the_outcome_to_the_bytes(
    url: str, conn: Conn, folder: Path, prediction: int
) -> None:
    before = outcome(conn, prediction, "ACME")["price_t1"]
    revise(folder, T1, before + 10)
    turn(url, CsvFiles(folder), now=LATER, refetch=True)
    first, second = payloads(conn)

    done = command(url, "worker", "explain", str(prediction), "--json")
    assert done.returncode == 0, done.stderr
    told = [(row["subject"], row["story"]) for row in json.loads(done.stdout)]
    assert any("entry: " in story and f"csv, payload {first['id']}" in story for _, story in told)
    assert any(
        subject == "outcome ACME" and f"t1: {before + 10:g}, the close of {T1}" in story
        and f"payload {second['id']}" in story
        for subject, story in told
    )  # fmt: skip
    for kept in (first, second):
        (line,) = [story for subject, story in told if subject == f"payload {kept['id']}"]
        assert kept["sha256"] in line
        assert "ACME.csv" in line
    assert any(
        f"the close of {T1} was {before:g} (from csv, payload {first['id']})" in story
        for _, story in told
    )

    sweep_at(url, LATER + dt.timedelta(days=100), 90)
    told = json.loads(command(url, "worker", "explain", str(prediction), "--json").stdout)
    (line,) = [row["story"] for row in told if row["subject"] == f"payload {first['id']}"]
    assert line == f"no longer kept, sha256 {first['sha256']}"


@pytest.mark.parametrize("kind", [Kind.BAD_ANSWER, Kind.EMPTY])
def test_explain_of_a_ticker_tells_each_detour(url: str, folder: Path, kind: Kind) -> None:
    turn(url, FakeProvider("remote", raw(kind, "no chart")), CsvFiles(folder))
    with clock(url, NOW), connect(url) as conn:
        rows = conn.execute("SELECT * FROM explain_ticker('ACME')").fetchall()
        kept = value(conn, "SELECT id FROM provider_payloads WHERE provider = 'remote'")
    stories = [row["story"] for row in rows if row["subject"] == "answer"]
    assert stories == [f"remote: {kind} no chart (payload {kept})"]


def test_explain_keeps_two_answers_of_one_provider_apart(
    url: str, conn: Conn, folder: Path, prediction: int
) -> None:
    assert prediction
    days = sessions(conn, "2023-01-03", "2024-05-17")
    write_csv(folder, "ACME", flat_bars(days))
    revise(folder, "2024-05-15", 777.0)
    revise(folder, T1, 888.0)
    turn(url, CsvFiles(folder), now=LATER)
    with clock(url, LATER), connect(url) as inside:
        rows = inside.execute("SELECT * FROM explain_ticker('ACME')").fetchall()
    stories = [row["story"] for row in rows if row["subject"] == "answer"]
    assert len(stories) == 2
    assert "2024-05-15: close 777.0" in stories[0]  # the last days, and then the whole history
    assert f"{T1}: close 888.0" in stories[1]


def test_who_was_paused_is_told_of_once(url: str, conn: Conn) -> None:
    conn.execute("INSERT INTO provider_quotas (name, per_day) VALUES ('remote', 0)")
    turn(url, FakeProvider("remote", raw(Kind.OK, "")))
    with clock(url, NOW), connect(url) as inside:
        rows = inside.execute("SELECT * FROM explain_ticker('ACME')").fetchall()
    (story,) = [row["story"] for row in rows if row["subject"] == "answer"]
    assert story == "not asked: remote is paused: 0 of 0 requests of the day are used"


# The audit.


def test_one_row_for_each_symbol_and_run(url: str, conn: Conn, folder: Path) -> None:
    told = turn(url, FakeProvider("remote", raw(Kind.EMPTY, "[]")), CsvFiles(folder))
    (row,) = audit(conn)
    event = value(conn, "SELECT max(id) FROM outbox_history")
    assert row["job"] == f"event {event}"
    assert (row["symbol"], row["outcome"], row["provider"]) == ("ACME", "fetched", "csv")
    assert (row["rows"], row["inserted"], row["rejected"]) == (told["bars"], told["inserted"], 0)
    assert (str(row["range_from"]), str(row["range_to"])) == (told["from"], told["to"])
    assert (row["score"], row["error"]) == (1.0, None)
    assert row["duration"] >= 0
    assert row["hash"] == hashlib.sha256((folder / "ACME.csv").read_bytes()).hexdigest()
    assert [each["class"] for each in row["asked"]] == ["empty", "ok"]


def test_old_records_are_pruned(url: str, conn: Conn, folder: Path) -> None:
    turn(url, CsvFiles(folder))
    sweep_at(url, NOW + dt.timedelta(days=399), 90)
    assert len(audit(conn)) == value(conn, "SELECT count(*) FROM data_quality_log") == 1
    sweep_at(url, NOW + dt.timedelta(days=401), 90)
    assert len(audit(conn)) == value(conn, "SELECT count(*) FROM data_quality_log") == 0


Fetch = Callable[..., Any]


@pytest.fixture
def fetch(url: str, conn: Conn, tmp_path: Path) -> Fetch:
    """`market fetch-prices` of symbols with files up to yesterday."""
    today = value(conn, "SELECT current_date")
    days = sessions(conn, str(today - dt.timedelta(days=60)), str(today))
    for symbol in ("ACME", "BETA"):
        write_csv(tmp_path / "recent", symbol, flat_bars(days))

    def fetch(*arguments: str) -> Any:
        return command(
            url, "market", "fetch-prices", "-d", "30", *arguments,
            MARKET_PROVIDERS="csv", MARKET_CSV_DIR=str(tmp_path / "recent"),
        )  # fmt: skip

    return fetch


def test_the_audit_as_json_lines(conn: Conn, fetch: Fetch, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text('{"earlier": true}\n')
    done = fetch("-s", "ACME", "-s", "BETA", "-s", "NOPE", "--audit", str(file), "--json")
    assert done.returncode == 1  # nobody knows NOPE
    earlier, *lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert earlier == {"earlier": True}
    assert [(line["symbol"], line["outcome"], line["job"]) for line in lines] == [
        ("ACME", "fetched", "fetch-prices"),
        ("BETA", "fetched", "fetch-prices"),
        ("NOPE", "unknown", "fetch-prices"),
    ]
    stored = conn.execute("SELECT to_jsonb(a) AS row FROM ingestion_audit a ORDER BY id").fetchall()
    assert lines == [row["row"] for row in stored]


def test_an_audit_file_that_cannot_be_opened_stops_before_anything(
    conn: Conn, fetch: Fetch, tmp_path: Path
) -> None:
    done = fetch("-s", "ACME", "--audit", str(tmp_path / "nowhere" / "runs.jsonl"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "nothing was fetched" in done.stderr
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 0


def test_a_full_disk_is_one_line_and_nothing_is_half_stored(conn: Conn, fetch: Fetch) -> None:
    done = fetch("-s", "ACME", "--audit", "/dev/full")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device" in done.stderr
    for table in ("market_prices", "ingestion_audit", "provider_payloads", "data_quality_log"):
        assert value(conn, f"SELECT count(*) FROM {table}") == 0  # noqa: S608


def test_a_line_whose_transaction_fails_is_taken_back(tmp_path: Path) -> None:
    file = provenance.AuditFile(tmp_path / "runs.jsonl")
    with file.entry():
        file.append({"stored": True})

    def fail() -> None:
        with file.entry():
            file.append({"stored": False})
            raise RuntimeError("the commit failed")

    with pytest.raises(RuntimeError):
        fail()
    file.close()
    assert (tmp_path / "runs.jsonl").read_text() == '{"stored": true}\n'


def test_what_a_provider_says_may_hold_anything(url: str, conn: Conn) -> None:
    def answer(request: Request) -> Answer:
        bars = [Bar(date, 1.0, 1.0, 1.0, 1.0) for date in request.sessions]
        return Answer(Kind.OK, bars, "nul \0, \ud800 and\nlines", rejected=["\0\0"])

    turn(url, FakeProvider("remote", answer))
    assert value(conn, "SELECT notes[1] FROM data_quality_log") == ""


def test_nothing_of_it_is_there_when_the_store_fails(database: Database, conn: Conn) -> None:
    """The record is of one transaction with the bars."""
    asked = [
        provenance.Asked(
            "csv", Request("ACME", day(T1), day(T1), [day(T1)]), "ok", "", 0.1,
            Payload("ACME.csv", None, b"bytes"),
        )
    ]  # fmt: skip

    def fail() -> None:
        with database.transaction() as inside:
            ids = provenance.keep(inside, asked, provenance.Run())
            provenance.log(inside, "ACME", asked, ids, provenance.Run(), "failed", {})
            raise RuntimeError("the bars could not be stored")

    with pytest.raises(RuntimeError):
        fail()
    assert (payloads(conn), audit(conn)) == ([], [])
