"""A known vulnerability fails the lint; a database that is away is said and fails nothing."""

import datetime
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.supply import settings, vulnerabilities

ADVISORY = {
    "id": "PYSEC-2026-7",
    "aliases": ["CVE-2026-0007"],
    "summary": "bad",
    "details": "bad",
    "published": "2026-01-01T00:00:00Z",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "leaky", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
            "versions": ["1.0"],
        }
    ],
}
FOUND = "vulnerability: leaky 1.0: PYSEC-2026-7 CVE-2026-0007, fixed in 1.1"
FUTURE = datetime.date(2999, 1, 1)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "run.lock"
    digest = "0" * 64
    path.write_text(f"# header\nleaky==1.0 \\\n    --hash=sha256:{digest}\n")
    return path


@contextmanager
def database(answer: bytes, status: int = 200) -> Iterator[list[str]]:
    """Serve one answer on the loopback; yields pip-audit's options for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ["-s", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}/v1/query"]
        finally:
            server.shutdown()
            thread.join()


def test_found(lock: Path) -> None:
    with database(json.dumps({"vulns": [ADVISORY]}).encode()) as service:
        assert vulnerabilities.audit(lock, [], [service]) == ([], [FOUND])


def test_none_found(lock: Path) -> None:
    with database(b"{}") as service:
        assert vulnerabilities.audit(lock, [], [service]) == ([], [])


@pytest.mark.parametrize("name", ["PYSEC-2026-7", "CVE-2026-0007"])
def test_ignored_for_a_reason_until_a_date(lock: Path, name: str) -> None:
    entry = {"id": name, "until": FUTURE, "reason": "never called"}
    with database(json.dumps({"vulns": [ADVISORY]}).encode()) as service:
        notes, problems = vulnerabilities.audit(lock, [entry], [service])
    assert notes == [f"{FOUND}; ignored until 2999-01-01: never called"]
    assert problems == []


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "PYSEC-2026-7", "until": datetime.date(2026, 1, 1), "reason": "never called"},
        {"id": "PYSEC-2026-7", "until": FUTURE, "reason": ""},
        {"id": "PYSEC-2026-8", "until": FUTURE, "reason": "never called"},
    ],
    ids=["over", "no reason", "another"],
)
def test_not_ignored(entry: dict[str, Any]) -> None:
    package = {"name": "leaky", "version": "1.0", "vulns": [{"id": "PYSEC-2026-7"}]}
    today = datetime.date(2026, 6, 1)
    _, problems = vulnerabilities.judge([package], [entry], today)
    assert problems == ["vulnerability: leaky 1.0: PYSEC-2026-7, no fixed version"]


def test_nobody_answers(lock: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    # Closed again: connections are refused.
    service = ["-s", "osv", "--osv-url", f"http://127.0.0.1:{port}/v1/query"]
    with database(b"no such thing", 503) as broken, database(b"<html>log in</html>") as captive:
        notes, problems = vulnerabilities.audit(lock, [], [service, broken, captive])
    assert problems == []
    [note] = notes
    assert note.startswith("vulnerabilities: not checked, no database was reached (")


def test_a_service_that_takes_the_connection_and_is_silent(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vulnerabilities, "SOCKET_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        service = ["-s", "osv", "--osv-url", f"http://127.0.0.1:{server.getsockname()[1]}/"]
        notes, problems = vulnerabilities.audit(lock, [], [service])
    assert problems == []
    assert "no database was reached" in notes[0]


def test_an_error_that_is_not_the_networks_is_raised(lock: Path) -> None:
    lock.write_text("leaky==1.0\n")  # no hash
    with pytest.raises(RuntimeError, match="pip-audit ended"):
        vulnerabilities.ask(lock, ["-s", "osv"])


def test_the_list_in_pyproject_has_reasons_and_dates() -> None:
    for entry in settings().get("vulnerabilities", []):
        assert entry.keys() == {"id", "until", "reason"}
        assert entry["reason"]
        assert isinstance(entry["until"], datetime.date)
