"""OpenTelemetry spans: one for each batch of predictions, one for each ticker event.

The trigger copies the setting `reckoner.traceparent` of a writer's transaction into the event's
payload, and the span of that event links to the writer's trace. Needs the extra `tracing` and
OTEL_EXPORTER_OTLP_ENDPOINT; without the variable no span is made.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sql.settings import SettingsError
from worker.queue.outbox import Claim

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Tracer(Protocol):
    """Wraps a body in a span."""

    def span(self, name: str, claims: Sequence[Claim]) -> AbstractContextManager[None]:
        """Open a span for these claims, linked to the traces of their writers."""
        ...


class NoTracer:
    """Makes no span."""

    @contextlib.contextmanager
    def span(self, _name: str, _claims: Sequence[Claim]) -> Iterator[None]:
        """Run the body."""
        yield


class OpenTelemetry:
    """Makes spans with an OpenTelemetry tracer provider."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 - an optional extra

        self._tracer = provider.get_tracer("reckoner")
        self._propagator = tracecontext.TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def span(self, name: str, claims: Sequence[Claim]) -> Iterator[None]:
        """Run the body in a span, which records its error."""
        from opentelemetry import trace  # noqa: PLC0415

        links = []
        for claim in claims:
            parent = (claim.payload or {}).get("traceparent")
            if isinstance(parent, str):
                context = self._propagator.extract({"traceparent": parent})
                found = trace.get_current_span(context).get_span_context()
                if found.is_valid:
                    links.append(trace.Link(found, {"event": claim.id}))
        attributes = {"events": len(claims), "first_event": claims[0].id}
        with self._tracer.start_as_current_span(name, links=links, attributes=attributes):
            yield


def tracer() -> Tracer:
    """Make the tracer of the environment; raises SettingsError where the extra is missing."""
    if not os.environ.get(_ENDPOINT):
        return NoTracer()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(f"{_ENDPOINT}: needs the extra 'tracing' ({error.name})") from None
    provider = TracerProvider(resource=Resource.create({"service.name": "reckoner"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetry(provider)
