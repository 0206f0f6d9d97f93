"""Spans: one per batch and per ticker, linked to the writers' traces; nothing where nobody asks."""

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from market.providers import Answer, Request
from sql.database import Database
from sql.settings import SettingsError
from tests.support.cli import command
from tests.support.db import Conn, value
from tests.support.market import insert_prediction
from tests.support.queue import event, history
from tests.worker.inline import Inline
from tests.worker.stories import BROKEN, PRICES
from worker.tracing import NoTracer, OpenTelemetry, tracer

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
GARBAGE = [
    "garbage",
    "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
    f"ff-{TRACE}-{SPAN}-01",
    "00-é-'); DROP TABLE outbox; --",
    "x" * 100_000,
    '{"traceparent": 1}',
]


class Traced(Inline):
    """An inline worker whose spans are kept."""

    def __init__(
        self, database: Database, answers: Answer | Callable[[Request], Answer] = PRICES
    ) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        super().__init__(database, answers, tracer=OpenTelemetry(provider))

    def spans(self, name: str) -> Sequence[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


def insert_traced(conn: Conn, parent: str, *symbols: str) -> int:
    """A writer that tells its trace for the time of its transaction."""
    with conn.transaction():
        quoted = parent.replace("'", "''")
        conn.execute(f"SET LOCAL reckoner.traceparent = '{quoted}'".encode())
        return insert_prediction(conn, list(symbols))


def links(span: ReadableSpan) -> list[tuple[str, str, object]]:
    """Trace, span and event of each link."""
    return [
        (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", dict(link.attributes or {}).get("event"))
        for link in span.links
    ]  # fmt: skip


def test_a_span_per_batch_and_per_ticker(conn: Conn, database: Database) -> None:
    for symbols in (["GOOD"], ["FINE"], ["GOOD", "FINE"]):
        insert_prediction(conn, symbols)
    first = value(conn, "SELECT min(id) FROM outbox")
    worker = Traced(database)
    worker.drain()
    [batch] = worker.spans("predictions")
    assert dict(batch.attributes or {}) == {"events": 3, "first_event": first}
    tickers = worker.spans("ticker")
    ids = [row["id"] for symbol in ("FINE", "GOOD") for row in history(conn, symbol)]
    assert [dict(span.attributes or {}) for span in tickers] == [
        {"events": 1, "first_event": number} for number in ids
    ]
    assert [links(span) for span in (batch, *tickers)] == [[], [], []]
    assert batch.start_time is not None
    assert batch.end_time is not None
    assert batch.start_time < batch.end_time
    assert len({span.context.trace_id for span in (batch, *tickers) if span.context}) == 3


def test_the_writers_trace_arrives_as_a_link(conn: Conn, database: Database) -> None:
    traced = insert_traced(conn, PARENT, "GOOD")
    plain = insert_prediction(conn, ["GOOD"])
    found = event(conn, traced, "prediction")
    assert found is not None
    assert found["payload"] == {"traceparent": PARENT}
    beside = event(conn, plain, "prediction")
    assert beside is not None
    assert beside["payload"] == {}  # SET LOCAL ended with its transaction
    worker = Traced(database)
    worker.drain()
    [batch] = worker.spans("predictions")
    assert links(batch) == [(TRACE, SPAN, found["id"])]
    assert history(conn, traced, "prediction")[0]["payload"] == {"traceparent": PARENT}

    conn.execute("SELECT outbox_requeue(%s)", [found["id"]])
    worker.drain()
    assert [link[:2] for link in links(worker.spans("predictions")[1])] == [(TRACE, SPAN)]


def test_an_update_carries_its_writers_trace_too(conn: Conn, database: Database) -> None:
    number = insert_prediction(conn, ["GOOD"], status="pending")
    with conn.transaction():
        conn.execute(f"SET LOCAL reckoner.traceparent = '{PARENT}'".encode())
        conn.execute("UPDATE predictions SET analysis_status = 'completed' WHERE id = %s", [number])
    worker = Traced(database)
    worker.drain()
    [(trace, span, _)] = links(worker.spans("predictions")[0])
    assert (trace, span) == (TRACE, SPAN)


@pytest.mark.parametrize("parent", GARBAGE, ids=range(len(GARBAGE)))
def test_a_garbage_traceparent_does_no_harm(conn: Conn, database: Database, parent: str) -> None:
    number = insert_traced(conn, parent, "GOOD")
    assert conn.execute("SELECT count(*) FROM outbox").fetchall() == [{"count": 1}]
    worker = Traced(database)
    worker.drain()
    assert [done["verdict"] for done in history(conn, number, "prediction")] == ["done"]
    assert links(worker.spans("predictions")[0]) == []


@pytest.mark.parametrize("payload", [{"traceparent": 7}, {"traceparent": [PARENT]}, {}])
def test_a_payload_of_any_shape_does_no_harm(
    conn: Conn, database: Database, payload: dict[str, object]
) -> None:
    conn.execute(
        "INSERT INTO outbox (topic, key, payload) VALUES ('prediction', '7', %s)",
        [json.dumps(payload)],
    )
    worker = Traced(database)
    worker.drain()
    assert links(worker.spans("predictions")[0]) == []
    assert [done["verdict"] for done in history(conn, "7", "prediction")] == ["cancelled"]


def test_a_fault_is_the_spans_fault(conn: Conn, database: Database) -> None:
    conn.execute("ALTER TABLE market_prices ADD CHECK (symbol <> 'GOOD')")
    insert_prediction(conn, ["GOOD"])
    worker = Traced(database)
    worker.drain()
    [span] = worker.spans("ticker")
    assert span.status.status_code is StatusCode.ERROR
    assert [entry.name for entry in span.events] == ["exception"]
    failed = event(conn, "GOOD")
    assert failed is not None
    assert (failed["status"], failed["attempts"]) == ("failed", 1)


def test_a_failed_fetch_is_no_error_of_ours(conn: Conn, database: Database) -> None:
    insert_prediction(conn, ["GOOD"])
    worker = Traced(database, BROKEN)
    worker.drain()
    assert worker.spans("ticker")[0].status.status_code is StatusCode.UNSET


def test_nobody_asks_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    for endpoint in (None, ""):
        if endpoint is None:
            monkeypatch.delenv(ENDPOINT, raising=False)
        else:
            monkeypatch.setenv(ENDPOINT, endpoint)
        assert isinstance(tracer(), NoTracer)


def test_without_the_exporter_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    for name in [each for each in sys.modules if each.startswith("opentelemetry.exporter.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=rf"^{ENDPOINT}: needs the extra 'tracing' \(opentel"):
        tracer()


def is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.skipif(
    is_installed("opentelemetry.exporter.otlp.proto.http"), reason="the extra is installed here"
)
def test_a_worker_without_the_exporter_ends_with_2_and_one_line(url: str) -> None:
    done = command(
        url,
        "worker",
        "run",
        "--drain",
        MARKET_PROVIDERS="sample",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318",
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert ENDPOINT in done.stderr
