"""What the tests of where a price comes from share: ACME's turn, its file, and the records."""

import datetime as dt
from pathlib import Path
from typing import Any

from market.providers import Answer, Kind, Payload, Provider
from tests.market.desk import Desk, Told
from tests.support.clock import clock, utc
from tests.support.db import Conn, connect
from worker import sweep
from worker.settings import WorkerSettings

MOMENT = "2024-03-05 15:00+00"
NOW = utc("2024-05-16 22:00")
LATER = utc("2024-05-17 22:00")
T1 = "2024-03-06"


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


def sweep_at(url: str, now: dt.datetime, days: int) -> None:
    with clock(url, now) as database:
        settings = WorkerSettings.model_construct(raw_retention_days=days)
        assert sweep.once(database, settings) is not None


def revise(folder: Path, date: str, close: float) -> None:
    """Let the file say another close of a day."""
    path = folder / "ACME.csv"
    lines = path.read_text().splitlines()
    changed = [
        f"{date},{close},{close},{close},{close},1000" if ln.startswith(date) else ln
        for ln in lines
    ]
    path.write_text("\n".join(changed) + "\n")
