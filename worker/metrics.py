"""Metrics for Prometheus. A label is never a symbol or an id, whose number has no bound.

The counters belong to this process. Metrics of the whole queue (events by status, the oldest,
pauses) are read from the database at a scrape, in one statement, and only by the longest-lived
worker, so that ten workers cost the database no more than one.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from market.providers import Answer, Provider, Request
from market.providers.base import Batching, Intradaily, IntradayRequest
from sql.database import Database, error_line, is_external
from sql.visible import visible

_MILLISECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600, 3600)

log = structlog.get_logger()


class Metrics:
    """The counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.ended = Counter(
            "reckoner_claims_ended",
            "Claims by topic and how they ended: done, cancelled, delayed, failed, dead, lost.",
            ["topic", "verdict"],
            registry=registry,
        )
        self.insert_to_claim = Histogram(
            "reckoner_insert_to_claim_seconds",
            "From the event's insert to its first claim, by topic.",
            ["topic"],
            buckets=_MILLISECONDS,
            registry=registry,
        )
        self.insert_to_outcome = Histogram(
            "reckoner_insert_to_outcome_seconds",
            "From the event's insert to the commit of its prediction's outcome rows, priced or awaiting.",
            buckets=_MILLISECONDS,
            registry=registry,
        )
        self.wake_to_claim = Histogram(
            "reckoner_wake_to_claim_seconds",
            "From the end of a sleep to the first claim after it, by what ended it: ring, poll, call.",
            ["wake"],
            buckets=_MILLISECONDS,
            registry=registry,
        )
        self.lease_losses = Counter(
            "reckoner_lease_losses",
            "Claims whose lease had passed to another worker.",
            registry=registry,
        )
        self.crashes = Counter(
            "reckoner_crashes", "Leases that ended without a verdict.", registry=registry
        )
        self.listener_up = Gauge(
            "reckoner_listener_up",
            "1 while echoes of the worker's heartbeats arrive.",
            registry=registry,
        )
        self.last_tick = Gauge(
            "reckoner_last_tick_timestamp_seconds",
            "When the main loop last turned, by the worker's clock.",
            registry=registry,
        )
        self.provider_requests = Counter(
            "reckoner_provider_requests",
            "Requests to price providers by class of answer.",
            ["provider", "kind"],
            registry=registry,
        )
        self.bars_written = Counter(
            "reckoner_bars_written", "Bars inserted or changed.", registry=registry
        )
        self.runs_ended = Counter(
            "reckoner_runs_ended",
            "Attempts of runs that ended in this worker, by task and the run's status after it.",
            ["task", "status"],
            registry=registry,
        )
        self.tick_lateness = Histogram(
            "reckoner_tick_lateness_seconds",
            "From the moment at which a schedule was due to its tick; of ticks that were queued.",
            buckets=_MILLISECONDS,
            registry=registry,
        )
        self.swept = Counter(
            "reckoner_swept",
            "Findings of this worker's sweeps, by part.",
            ["part"],
            registry=registry,
        )

    def count_end(self, topic: str, verdict: str, number: int = 1) -> None:
        """Count ended claims; a lost one is also a lease loss."""
        self.ended.labels(topic, verdict).inc(number)
        if verdict == "lost":
            self.lease_losses.inc(number)


class Counted:
    """A provider whose responses are counted."""

    def __init__(self, provider: Provider, metrics: Metrics) -> None:
        self._provider = provider
        self._metrics = metrics
        self.name = provider.name
        self.canary = provider.canary
        self.capabilities = provider.capabilities

    def fetch(self, request: Request) -> Answer:
        """Fetch, and count the class of the answer."""
        answer = self._provider.fetch(request)
        self._count(answer)
        return answer

    def fetch_intraday(self, request: IntradayRequest) -> Answer:
        """Fetch five-minute bars, and count the class of the answer."""
        answer = cast("Intradaily", self._provider).fetch_intraday(request)
        self._count(answer)
        return answer

    def credits_for(self, requests: Sequence[Request]) -> int:
        """Return the provider's own count; only for one that takes several symbols at once."""
        return cast("Batching", self._provider).credits_for(requests)

    def fetch_many(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Fetch a batch, and count the class of its first answer."""
        answers = cast("Batching", self._provider).fetch_many(requests)
        self._count(answers[0])
        return answers

    def _count(self, answer: Answer) -> None:
        self._metrics.provider_requests.labels(self.name, answer.kind.value).inc()


class QueueCollector(Collector):
    """Metrics of the whole queue at a scrape. may_query: False during an idle suspend."""

    def __init__(self, database: Database, worker: str, may_query: Callable[[], bool]) -> None:
        self._database = database
        self._worker = worker
        self._may_query = may_query

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without a query."""
        yield from self._families().values()

    def collect(self) -> Iterator[Metric]:
        """Query the database once; without an answer these metrics are left out."""
        families = self._families()
        for row in self._rows() if self._may_query() else []:
            # Topics and providers are strangers' text: a control character would break the scrape.
            given = (row["label"], row["other"])
            labels = [visible(label) for label in given if label is not None]
            families[row["name"]].add_metric(labels, row["value"])
        yield from (family for family in families.values() if family.samples)

    def _rows(self) -> list[dict[str, Any]]:
        try:
            with self._database.transaction(seconds=5, connect_seconds=2) as conn:
                return conn.execute(
                    "SELECT name, label, other, value FROM reckoner_metrics(%s)", [self._worker]
                ).fetchall()
        except Exception as error:
            if not is_external(error):
                raise
            log.warning("queue metrics left out", error=error_line(error))
            return []

    @staticmethod
    def _families() -> dict[str, GaugeMetricFamily]:
        return {
            "events": GaugeMetricFamily(
                "reckoner_events", "Live events.", labels=["topic", "status"]
            ),
            "oldest": GaugeMetricFamily(
                "reckoner_oldest_ready_seconds",
                "How long the oldest ready event has been ready.",
                labels=["topic"],
            ),
            "paused": GaugeMetricFamily(
                "reckoner_provider_paused", "1 while the provider is paused.", labels=["provider"]
            ),
            "alerts": GaugeMetricFamily(
                "reckoner_alerts_open",
                "Open alerts that nobody silenced.",
                labels=["rule"],
            ),
            "refreshes": GaugeMetricFamily(
                "reckoner_index_refresh_failed",
                "1 while the members of an index cannot be refreshed.",
                labels=["index"],
            ),
            "workers": GaugeMetricFamily(
                "reckoner_workers_alive", "Workers seen within a minute.", labels=["mode"]
            ),
            "coverage": GaugeMetricFamily(
                "reckoner_coverage_symbols",
                "Tracked symbols by interval and age of the newest bar in sessions, by the newest snapshot.",
                labels=["interval", "bucket"],
            ),
            "coverage_state": GaugeMetricFamily(
                "reckoner_coverage_state",
                "1 for the state of the newest snapshot of coverage; all 0 before the first.",
                labels=["state"],
            ),
            "coverage_age": GaugeMetricFamily(
                "reckoner_coverage_age_seconds",
                "Age of the newest snapshot of coverage.",
                labels=[],
            ),
            "runs": GaugeMetricFamily(
                "reckoner_runs", "Runs that are not over.", labels=["task", "status"]
            ),
            "success": GaugeMetricFamily(
                "reckoner_task_last_success_timestamp_seconds",
                "When a run of the task last ended ok.",
                labels=["task"],
            ),
            "overdue": GaugeMetricFamily(
                "reckoner_ticks_overdue_seconds", "How long the oldest due tick waits.", labels=[]
            ),
            "schedules": GaugeMetricFamily(
                "reckoner_schedules", "Schedules by state.", labels=["state"]
            ),
        }


class Stopwatch:
    """Time from the last wake-up to the first claim after it."""

    def __init__(self) -> None:
        self._kind: str | None = None
        self._since = 0.0

    def woke(self, kind: str) -> None:
        """Start at the end of a sleep."""
        self._kind, self._since = kind, time.monotonic()

    def claimed(self, metrics: Metrics) -> None:
        """Stop at a claim; only the first one after a sleep counts."""
        if self._kind is not None:
            elapsed = time.monotonic() - self._since
            metrics.wake_to_claim.labels(self._kind).observe(elapsed)
            self._kind = None
