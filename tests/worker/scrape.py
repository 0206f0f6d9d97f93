"""Asking a worker's port as Prometheus and a platform do."""

import socket
import urllib.error
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.support.process import Start, WorkerProcess
from tests.support.waiting import until

Labels = frozenset[tuple[str, str]]


# Sockets that keep their ports for this process; who reuses addresses may listen there.
_kept: list[socket.socket] = []


def free_port() -> int:
    """A port on which nothing listens, and that no other process is given."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", 0))
    _kept.append(sock)
    return int(sock.getsockname()[1])


class Scrape:
    """The samples of one scrape, by name and labels."""

    def __init__(self, text: str) -> None:
        self.samples: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found = self.samples.setdefault(sample.name, {})
                found[frozenset(sample.labels.items())] = sample.value

    def get(self, name: str, **labels: str) -> float:
        """The sum over the samples that have these labels; 0 without any."""
        return sum(
            value
            for found, value in self.samples.get(f"reckoner_{name}", {}).items()
            if frozenset(labels.items()) <= found
        )


@dataclass(frozen=True)
class Port:
    """Where a worker answers."""

    number: int

    def ask(self, path: str, seconds: float = 40) -> tuple[int, str]:
        """Status and body; (0, why) where nobody answers."""
        url = f"http://127.0.0.1:{self.number}{path}"
        try:
            with urllib.request.urlopen(url, timeout=seconds) as got:
                return int(got.status), got.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def scrape(self) -> Scrape:
        """What Prometheus gets."""
        status, text = self.ask("/metrics")
        assert status == 200, text
        return Scrape(text)

    def until(self, name: str, wanted: float, **labels: str) -> None:
        """Wait until a metric has just this value."""
        until(
            f"{name}{labels} is {wanted}",
            lambda: self.scrape().get(name, **labels) == wanted,
            seconds=60,
        )

    def until_status(self, path: str, status: int) -> str:
        """Wait for a status; returns the body that came with it."""

        def probe() -> tuple[int, str] | None:
            answer = self.ask(path)
            return answer if answer[0] == status else None

        return until(f"{path} is {status}", probe, seconds=60)[1]


def measured(start_worker: Start, *arguments: str, **settings: str) -> tuple[WorkerProcess, Port]:
    """A worker that answers on a port of its own, and the port."""
    port = free_port()
    return start_worker(*arguments, WORKER_METRICS_PORT=str(port), **settings), Port(port)
