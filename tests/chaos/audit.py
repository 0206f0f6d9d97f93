"""The independent check: what the raw tables must hold in the end, in plain Python.

Events are counted by two triggers of the test's own: every event that came in, and every end
that it had, also where somebody deletes rows of the outbox or of its history afterwards. What
came in is counted at its COMMIT: a re-drive holds a symbol's place with a row that it takes away
again in its own transaction, which nobody else ever sees.
"""

import csv
import datetime as dt
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.writer import Writer, content
from tests.support.db import Conn, value
from tests.support.oracle import Oracle, Session

Closes = Mapping[str, Mapping[dt.date, float]]

_COUNTING = """
CREATE TABLE chaos_came (id bigint, topic text, key text);
CREATE TABLE chaos_ended (id bigint, topic text, key text, verdict text);
CREATE FUNCTION chaos_came() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.chaos_came SELECT id, topic, key FROM public.outbox WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE FUNCTION chaos_ended() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN INSERT INTO public.chaos_ended VALUES (NEW.id, NEW.topic, NEW.key, NEW.verdict); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER chaos_came AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION chaos_came();
CREATE TRIGGER chaos_ended AFTER INSERT ON outbox_history FOR EACH ROW EXECUTE FUNCTION chaos_ended();
"""


def count_events(conn: Conn) -> None:
    """Count every event from now on that comes in, and every end of one."""
    conn.execute(_COUNTING.encode())


def read_closes(folder: Path) -> dict[str, dict[dt.date, float]]:
    """What the csv provider's files say, read here."""
    closes = {}
    for path in folder.glob("*.csv"):
        with path.open() as file:
            closes[path.stem] = {
                dt.date.fromisoformat(row["date"]): float(row["close"])
                for row in csv.DictReader(file)
            }
    return closes


def check_snapshots(conn: Conn) -> int:
    """Each symbol's snapshot is of the bars that are stored, or is due; returns how many there are."""
    wrong = conn.execute(
        "SELECT r.symbol, s.bars FROM ticker_registry r LEFT JOIN market_snapshot s USING (symbol)"
        " WHERE s.bars_digest IS DISTINCT FROM bars_digest(r.symbol)"
        " AND NOT EXISTS (SELECT FROM market_snapshot_due d WHERE d.symbol = r.symbol)"
    ).fetchall()
    assert wrong == [], "snapshots of other bars than those stored"
    return int(value(conn, "SELECT count(*) FROM market_snapshot"))


def check_events(
    conn: Conn, *, dead: int = 0, attempts: int = 0, failing: Collection[str] = ()
) -> Counter[str]:
    """Events in = done + cancelled + dead, each once; returns the counts.

    dead, attempts: how many events may be parked, and the most failures that one may have.
    failing: keys whose events may fail as often as they like.
    """
    came = Counter(row["id"] for row in conn.execute("SELECT id FROM chaos_came"))
    ended = Counter(row["id"] for row in conn.execute("SELECT id FROM chaos_ended"))
    live = conn.execute("SELECT * FROM outbox ORDER BY id").fetchall()
    assert [row for row in live if row["status"] != "dead"] == []
    assert len(live) == dead, live
    twice = {number: n for number, n in (came + ended).items() if n > 2}
    assert not twice, f"came or ended more than once: {twice}"
    assert set(ended) | {row["id"] for row in live} == set(came)
    assert len(ended) + len(live) == len(came)
    history = conn.execute("SELECT * FROM outbox_history").fetchall()
    assert {row["id"] for row in history} <= set(ended)
    failed = [row for row in history if row["attempts"] > attempts and row["key"] not in failing]
    assert not failed, f"events failed by no fault of theirs: {failed[:3]}"
    return Counter(
        {
            "in": len(came),
            "dead": len(live),
            **Counter(row["verdict"] for row in conn.execute("SELECT verdict FROM chaos_ended")),
        }
    )


def check_outcomes(conn: Conn, closes: Closes) -> int:
    """Every eligible prediction has one right row per symbol that it names now; returns how many."""
    now = value(conn, "SELECT now()")
    days = [
        Session(row["session"], row["closes_at"])
        for row in conn.execute(
            "SELECT session, closes_at FROM market_sessions WHERE calendar = 'XNYS'"
            " AND session BETWEEN '2023-12-01' AND '2025-06-30' ORDER BY session"
        )
    ]
    asked = (dt.date(2023, 12, 1), now.date())
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for row in conn.execute("SELECT * FROM prediction_outcomes"):
        pair = (row["prediction_id"], row["symbol"])
        assert pair not in found, f"{pair} has two rows"
        found[pair] = row
    checked = 0
    for prediction in conn.execute("SELECT * FROM predictions ORDER BY id"):
        for symbol in _symbols(prediction):
            row = found.pop((prediction["id"], symbol), {})
            assert row, f"prediction {prediction['id']} has no outcome for {symbol}"
            oracle = Oracle(
                days,
                prediction["post_timestamp"],
                _sentiment(prediction["market_impact"], symbol),
                prediction["confidence"],
            )
            _compare(row, oracle.look(now, closes.get(symbol, {}), asked))
            checked += 1
    assert not found, f"outcomes that nobody asked for: {sorted(found)}"
    return checked


def check_commits(conn: Conn, writer: Writer) -> int:
    """What the server said it committed is there, and nothing that was not written; how many."""
    assert not writer.errors, writer.errors
    rows = {row["id"]: row for row in conn.execute("SELECT * FROM predictions")}
    assert writer.acknowledged <= set(rows), "a committed prediction is gone"
    for number in writer.allowed.keys() & rows.keys():
        row = rows[number]
        says = content(row["assets"], row["market_impact"], row["analysis_status"])
        assert says in writer.allowed[number], (number, says, writer.allowed[number])
    assert writer.acknowledged
    return len(writer.acknowledged)


def _symbols(prediction: Mapping[str, Any]) -> set[str]:
    if prediction["analysis_status"] != "completed":
        return set()
    spelled = {element.strip().upper() for element in prediction["assets"]}
    return {symbol for symbol in spelled if re.fullmatch(r"[-A-Z0-9.^=:/]{1,20}", symbol)}


def _sentiment(impact: Mapping[str, str] | None, symbol: str) -> str | None:
    words = {name.upper(): word for name, word in (impact or {}).items()}
    word = words.get(symbol)
    return word if word in {"bullish", "bearish", "neutral"} else None


def _compare(row: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for column, wanted in expected.items():
        if isinstance(wanted, float):
            assert row[column] == pytest.approx(wanted, rel=1e-12, abs=1e-11), (column, row)
        else:
            assert row[column] == wanted, (column, wanted, row)
