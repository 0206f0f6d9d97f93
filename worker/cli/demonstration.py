"""The demonstration behind `worker demo`: the whole loop on a private database.

It starts a worker process, inserts predictions by plain SQL, and shows their outcomes as they
appear. Nothing is left behind: the next demo replaces the database's folder, the worker ends with
this process, and the server stops when both are gone.
"""

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb
from rich.console import Console
from rich.live import Live

from market.cli.console import drawing
from market.providers import Kind, Request
from market.providers.yahoo import Yahoo
from market.universe import sessions
from sql import embedded
from sql.database import Database, one
from sql.errors import ReckonerError
from sql.schema import migrate
from sql.urls import with_passfile
from worker.cli import demo_screen

FOLDER = Path(".reckoner-demo")
_LOG = "worker.log"
_YAHOO_SECONDS = 8.0
_OUTCOMES_SECONDS = 45.0

# Days before today, hour (UTC), assets, sentiments, confidence. The spellings are the point: lower
# case, blanks, duplicates, an unknown symbol, a fund, an index, a coin.
_POSTS: Sequence[tuple[int, int, Any, Any, float | None]] = (
    (90, 14, ["AAPL", "TSLA"], {"AAPL": "bullish", "TSLA": "bearish"}, 0.85),
    (75, 21, ["NVDA"], {"NVDA": "bullish"}, 0.9),
    (70, 3, ["msft", " MSFT "], {"msft": "bullish"}, 0.6),
    (64, 16, ["SPY"], {"SPY": "neutral"}, 0.5),
    (58, 12, ["BTC-USD"], {"BTC-USD": "bullish"}, 0.7),
    (52, 15, ["^GSPC", "AMZN"], {"^GSPC": "bearish", "AMZN": "bullish"}, 0.65),
    (45, 18, ["GOOGL"], {"META": "bullish"}, 0.4),
    (30, 15, ["META", "AAPL"], {"META": "bullish", "AAPL": "bearish"}, 0.75),
    (12, 10, ["TSLA"], {"TSLA": "bullish"}, 0.8),
    (6, 20, ["NVDA", "the stock market"], {"NVDA": "bearish"}, 0.55),
    (2, 15, ["SPY"], {"SPY": "bullish"}, 1.0),
    (0, 0, ["BTC-USD"], {"BTC-USD": "bearish"}, None),
)

_INSERT = (
    "INSERT INTO predictions (assets, market_impact, confidence, analysis_status, post_timestamp)"
    " VALUES (%s, %s, %s, 'completed', %s) RETURNING id"
)


def demonstrate(*, stay: bool) -> int:
    """Run the demo; stay: keep worker and database alive until Ctrl-C. Returns the exit code."""
    width = None if sys.stdout.isatty() else 100
    console = drawing(sys.stdout, width=width, highlight=False)

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    folder = _fresh_folder()
    try:
        with console.status("starting a private PostgreSQL"):
            stack = contextlib.ExitStack()
            url = stack.enter_context(embedded.use(folder))
            database = stack.enter_context(Database(url, name="reckoner demo"))
        with stack:
            shown = with_passfile(url, folder / "pgpass")  # not in a list of processes
            _show(console, database, url, shown, stay=stay)
        return 0
    except KeyboardInterrupt:
        console.print("stopped")
        return 0 if stay else 130
    finally:
        embedded.wait_until_stopped(folder)


def _fresh_folder() -> Path:
    folder = FOLDER.absolute()
    log = folder / _LOG
    if os.path.lexists(folder):
        # A folder without a demo's log may be another database.
        if folder.is_symlink() or not log.exists():
            raise ReckonerError(f"{folder} was not made by a demo: move it away")
        if not embedded.wait_until_stopped(folder, 2):
            raise ReckonerError(f"another demo runs in {folder}: stop it first")
        try:
            embedded.remove(folder)
        except OSError as error:
            raise ReckonerError(
                f"cannot clear {folder}: {error.strerror}; remove it by hand"
            ) from None
    try:
        folder.mkdir()
        log.touch()
    except OSError as error:
        raise ReckonerError(f"cannot make {folder}: {error.strerror}") from None
    return folder


def _show(console: Console, database: Database, url: str, shown: str, *, stay: bool) -> None:
    with console.status("applying the schema and loading the trading calendars"):
        migrate.migrate(database)
        sessions.ensure(database)
    console.print("1. A private PostgreSQL, with Reckoner's tables, functions and triggers in it.")
    with console.status("asking Yahoo for a price"):
        provider = _provider(database)
    console.print(
        "2. Prices: Yahoo answers, so they are real."
        if provider == "yahoo"
        else "2. Prices: Yahoo does not answer from here, so they are INVENTED ('sample')."
    )
    with _worker(url, provider) as process:
        console.print(f"3. A worker, process {process.pid}; separate from the inserts.")
        _insert(database, _POSTS)
        console.print(
            f"4. {len(_POSTS)} predictions inserted by plain SQL, and their outcomes as they come:"
        )
        _watch(console, database, process)
        demo_screen.summary(console, database)
        _known(console, database)
        demo_screen.next_steps(console, shown, stay=stay)
        if stay:
            while process.poll() is None:
                time.sleep(0.2)
            raise ReckonerError(
                "the worker ended by itself; its log is in .reckoner-demo/worker.log"
            )


def _provider(database: Database) -> str:
    """Return `yahoo` when it gives a price within seconds, else `sample`."""
    with database.transaction() as conn:
        rows = conn.execute(
            "SELECT session FROM market_sessions WHERE calendar = 'XNYS'"
            " AND closes_at < reckoner_now() ORDER BY session DESC LIMIT 5"
        ).fetchall()
    days = sorted(row["session"] for row in rows)
    answers: list[Kind] = []

    def ask() -> None:
        answers.append(Yahoo().fetch(Request("SPY", days[0], days[-1], days)).kind)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_YAHOO_SECONDS)
    return "yahoo" if answers == [Kind.OK] else "sample"


@contextlib.contextmanager
def _worker(url: str, provider: str) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "MARKET_PROVIDERS": provider,
        "LOG_FORMAT": "json",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    environment.pop("LISTEN_DATABASE_URL", None)
    with (FOLDER / _LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches this process alone, which stops the worker in order
            preexec_fn=_end_with_us,  # noqa: PLW1509 - no threads that matter run yet
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_us() -> None:
    embedded.die_with_parent(signal.SIGTERM)


def _insert(database: Database, posts: Sequence[tuple[int, int, Any, Any, float | None]]) -> None:
    today = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
    for days, hour, assets, impact, confidence in posts:
        moment = (today - dt.timedelta(days=days)).replace(hour=hour) if days else today
        with database.transaction() as conn:
            conn.execute(_INSERT, [Jsonb(assets), Jsonb(impact), confidence, moment])


def _watch(console: Console, database: Database, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _OUTCOMES_SECONDS
    rows: Sequence[Mapping[str, Any]] = ()
    # In a pipe there is nothing to redraw: the table is printed once, at the end.
    with (
        Live(console=console, auto_refresh=False)
        if console.is_terminal
        else contextlib.nullcontext() as live
    ):
        while True:
            with database.transaction() as conn:
                rows = conn.execute(demo_screen.SHOW).fetchall()
                busy = one(
                    conn,
                    "SELECT count(*) AS n FROM outbox WHERE status <> 'dead' AND attempts = 0",
                )
            if live is not None:
                live.update(demo_screen.table(rows), refresh=True)
            if rows and not busy["n"]:
                break
            if process.poll() is not None:
                raise ReckonerError(
                    "the worker ended by itself; .reckoner-demo/worker.log says why"
                )
            if time.monotonic() > deadline:
                console.print("Some prices take longer than this demo; the worker goes on.")
                break
            time.sleep(0.1)
    if not console.is_terminal:
        console.print(demo_screen.table(rows))


def _known(console: Console, database: Database) -> None:
    """Insert one more prediction, whose tickers have prices already, and time its outcomes."""
    moment = dt.datetime.now(dt.UTC) - dt.timedelta(days=80)
    with database.transaction() as conn:
        row = one(
            conn,
            _INSERT,
            [Jsonb(["AAPL", "SPY"]), Jsonb({"AAPL": "bullish", "SPY": "bullish"}), 0.8, moment],
        )
    started = time.monotonic()
    while time.monotonic() - started < 10:
        with database.transaction() as conn:
            done = conn.execute(
                "SELECT count(*) AS n FROM prediction_outcomes WHERE prediction_id = %s AND is_complete",
                [row["id"]],
            ).fetchone()
        if done is not None and done["n"] == 2:
            took = (time.monotonic() - started) * 1000
            console.print(
                f"6. One more, on tickers known by now: both outcomes {took:.0f} ms after its COMMIT."
            )
            return
        time.sleep(0.001)
