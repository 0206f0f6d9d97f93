"""`explain` walks from an outcome to the bytes, and tells each detour."""

import datetime as dt
import json
from pathlib import Path

import pytest

from market.providers import Kind
from market.providers.csv_files import CsvFiles
from tests.market.provenance.scenes import (
    LATER,
    NOW,
    T1,
    payloads,
    raw,
    revise,
    sweep_at,
    turn,
)
from tests.support.cli import command
from tests.support.clock import clock
from tests.support.db import Conn, connect, value
from tests.support.market import flat_bars, outcome, sessions, write_csv
from tests.support.providers import FakeProvider


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
