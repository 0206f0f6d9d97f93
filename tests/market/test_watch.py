"""`watch` in a real terminal of 80 columns and 24 lines, and what it asks of the database."""

import fcntl
import io
import os
import pty
import signal
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyte
import pytest
from rich.console import Console, ConsoleDimensions

from market.cli.watch_page import draw, late_words
from tests.support import forked
from tests.support.cli import command, document, table
from tests.support.db import Conn, connect, value
from tests.support.market import MOMENT, bars, completed, insert_prediction
from tests.support.process import BELL_ONLY, WorkerProcess, environment
from tests.support.queue import add
from tests.support.waiting import until

Start = Callable[..., WorkerProcess]


class Terminal:
    """A command in a terminal of its own, and what can be read there."""

    def __init__(self, url: str, *arguments: str, columns: int = 80, lines: int = 24) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.raw = b""
        # A test runner's idea of the size is not this terminal's.
        env = {k: v for k, v in environment(url).items() if k not in {"COLUMNS", "LINES"}}
        self.process = forked.spawn(
            arguments,
            {**env, "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        # EIO: nobody has the other end any more.
        with suppress(OSError):
            while data := os.read(self._ours, 65536):
                with self._lock:
                    self.raw += data
                    self._stream.feed(data)

    @property
    def text(self) -> str:
        """What a person reads now."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display)

    def shows(self, words: str) -> str:
        """Wait until these words are there; returns the page."""

        def probe() -> str:
            text = self.text
            return text if words in text else ""

        try:
            return until(f"the terminal shows {words!r}", probe, 60)
        except AssertionError as error:
            raise AssertionError(f"{error}; it showed {self.raw[-2000:]!r}") from None

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Interrupt it; returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._thread.join(10)
        return code

    def close(self) -> None:
        """Whatever happened, leave nothing."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._thread.join(10)
        os.close(self._ours)


@pytest.fixture
def terminal(url: str) -> Iterator[Callable[..., Terminal]]:
    """Open terminals on the test's database."""
    opened: list[Terminal] = []

    def start(*arguments: str, **size: int) -> Terminal:
        opened.append(Terminal(url, *arguments, **size))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.mark.parametrize("room", ["market", "worker"])
def test_a_page_of_80_by_24_while_a_worker_works(
    conn: Conn,
    start_worker: Start,
    tmp_path: Path,
    terminal: Callable[..., Terminal],
    room: str,
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    start_worker(**BELL_ONLY).ready()
    page = terminal(room, "watch")
    page.shows("notify")

    insert_prediction(conn, ["GOOD", "NOBODY"], {"GOOD": "bullish"}, moment=MOMENT)

    text = page.shows("unresolvable")
    page.shows("fetched")
    lines = text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80

    def complete() -> str:
        shown = page.text.splitlines()
        return next((line for line in shown if " GOOD " in line and "complete" in line), "")

    # Waited for, because a page is read in pieces. Nothing that one needs is cut away.
    good = until("the outcome is shown", complete, 60)
    assert good.count("✓") == 4
    assert "bull" in good
    assert "…" not in good
    assert page.end() == 130
    # It leaves the screen as it was, and the cursor visible.
    assert page.raw.rstrip().endswith(b"\x1b[?25h") or b"\x1b[?1049l" in page.raw[-200:]


def test_sigterm_restores_the_terminal_too(terminal: Callable[..., Terminal]) -> None:
    page = terminal("market", "watch")
    page.shows("none: python -m worker")
    assert page.end(signal.SIGTERM) == 130
    assert b"\x1b[?1049l" in page.raw[-200:]


def test_a_database_that_goes_away_is_told_of_and_waited_for(
    conn: Conn, server_url: str, terminal: Callable[..., Terminal]
) -> None:
    page = terminal("market", "watch")
    page.shows("queue")
    name = value(conn, "SELECT current_database()")
    conn.close()
    with connect(server_url) as server:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        text = page.shows("no answer since")
        assert "queue" in text  # what was last known stays readable
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
    until("it goes on", lambda: "no answer" not in page.text, 60)
    assert page.end() == 130


def test_watching_wakes_nobody_and_makes_no_writer_ring(
    conn: Conn, terminal: Callable[..., Terminal]
) -> None:
    page = terminal("market", "watch")
    page.shows("queue")
    conn.execute("LISTEN reckoner")
    insert_prediction(conn, ["GOOD"])
    assert list(conn.notifies(timeout=0.5)) == []
    locks = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert value(conn, locks) == 0
    assert page.end() == 130


def test_an_idle_page_asks_little(conn: Conn, terminal: Callable[..., Terminal]) -> None:
    page = terminal("market", "watch")
    page.shows("queue")
    calls = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reckoner command'"
        " AND backend_type = 'client backend' AND datname = current_database()"
    )
    # Its own, for LISTEN and the page, and the one with which it looked at the schema.
    assert value(conn, calls) <= 2
    drawn = page.raw.count(b"Reckoner")
    rung = [conn.execute("SELECT pg_notify('reckoner', '')") for _ in range(200)]
    assert len(rung) == 200
    until("it draws again", lambda: page.raw.count(b"Reckoner") > drawn)
    assert page.raw.count(b"Reckoner") - drawn < 20
    assert page.end() == 130


def test_what_rows_say_is_text_for_the_terminal(
    conn: Conn, terminal: Callable[..., Terminal]
) -> None:
    conn.execute(
        "UPDATE reckoner_providers SET paused_until = now() + interval '1 hour',"
        " pause_reason = E'[red]429\\x1b]0;owned\\x07[/red]' WHERE name = 'yahoo'"
    )
    evil = "[red]no\x1b]0;owned\x07[/red]"
    add(conn, key="3", status="dead", last_error=evil)
    page = terminal("market", "watch")
    text = page.shows("yahoo is paused")
    assert "[red]429 ]0;owned [/red]" in text
    # The late block comes before the queue.
    assert "prediction 3" in text.partition("[red]no ]0;owned [/red]")[0].partition("queue")[0]
    assert b"\x1b]0;owned" not in page.raw
    assert page.end() == 130


def test_a_small_terminal(conn: Conn, terminal: Callable[..., Terminal]) -> None:
    assert conn
    page = terminal("market", "watch", columns=40, lines=10)
    page.shows("queue")
    assert page.end() == 130


def test_where_there_is_no_terminal_it_prints_once(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"}, moment=MOMENT)
    assert start_worker("run", "--drain").process.wait(60) == 0
    assert completed(conn) == 1
    done: dict[str, Any] = document(command(url, "market", "watch", "--json"))
    assert [event["topic"] for event in done["events"]] == ["ticker", "prediction"]
    assert [row["symbol"] for row in done["outcomes"]] == ["GOOD"]
    plain = command(url, "worker", "watch")
    assert plain.returncode == 0
    assert "\x1b" not in plain.stdout
    assert table(plain)[0]["queue"] == "prediction"


@pytest.mark.parametrize(("lines", "shown"), [(10, 1), (24, 4), (50, 13)])
def test_late_events_are_a_block_on_top(lines: int, shown: int) -> None:
    late = [
        {
            "topic": "ticker",
            "key": f"T{n}",
            "age": 7200,
            "next": 60 if n == 1 else None,
            "why": "held " * 30,
        }
        for n in range(30)
    ]
    lists: dict[str, Any] = {name: [] for name in ("workers", "paused", "events", "outcomes")}
    dead = {
        "topic": "ticker",
        "status": "dead",
        "count": 2,
        "oldest": 9000,
        "eta": None,
        "done_last_hour": 0,
    }
    page = {"now": "2026-01-31 12:00:00", "queue": [dead], "late": late, **lists}

    console = Console(width=80, height=lines, no_color=True, file=io.StringIO())
    console.print(draw(page, None, ConsoleDimensions(80, lines)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    block = text.partition("\n\n")[0].splitlines()[2:]
    assert block[0].split() == ["late", "age", "next", "why"]
    assert len(block) == shown + 1
    assert block[1].startswith("ticker T0 ")
    assert "2 h" in block[1]
    if shown > 1:
        assert "in 60 s" in block[2]
        assert block[-1].strip() == f"and {31 - shown}+ more"
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= max(lines, 18)
    nothing = Console(width=80, file=io.StringIO())
    nothing.print(draw(page | {"late": []}, None, ConsoleDimensions(80, lines)))
    assert " why" not in nothing.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_late_is_said_on_top() -> None:
    queue = [
        {"topic": "ticker", "status": "dead", "count": 2, "oldest": 9000},
        {"topic": "prediction", "status": "pending", "count": 3, "oldest": 600},
    ]
    page = {"queue": queue, "workers": [{"alive": False}]}
    assert late_words(page) == "LATE: 2 dead, no worker for 3 events, one waits for 10 min"
    assert late_words({"queue": [], "workers": []}) == ""
    fresh = [{"topic": "prediction", "status": "pending", "count": 3, "oldest": 2}]
    assert late_words({"queue": fresh, "workers": [{"alive": True}]}) == ""
