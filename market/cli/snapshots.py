"""`market snapshot`, `refresh-indicators`, `record-history`: indicators, now and as they were."""

import contextlib
import datetime as dt
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from market.cli.completion import complete_symbol
from market.cli.console import DryRunOption, JsonOption, application, command_database, spinner
from market.cli.display import emit
from market.cli.views import snapshots as views
from market.settings import BenchmarkSettings
from market.snapshots import Benchmark, history, refresh
from market.universe import symbol_lists
from sql.database import trying
from sql.errors import InvalidInput, NotFound, ReckonerError
from sql.logs import logger
from sql.settings import load

app = application("Indicators.")

_LOG_SECONDS = 30.0


@app.command("snapshot")
def snapshot(
    symbol: Annotated[str, typer.Argument(autocompletion=complete_symbol, help="A symbol.")],
    as_json: JsonOption = False,
) -> None:
    """Show a symbol's indicators: trend, momentum, range, volatility, DeMark, stage.

    They are computed from its stored bars. Examples: `python -m market snapshot AAPL`,
    `python -m market snapshot AAPL --columns symbol,rsi,stage_label`.
    """
    with command_database() as database, database.transaction() as conn:
        row = history.current(conn, symbol)
    if row is None:
        raise NotFound(
            f"{symbol} has no snapshot: it has no bars, or it waits for"
            f" python -m market refresh-indicators --symbols {symbol}"
        )
    emit([row], views.snapshot(row), as_json=as_json)


@app.command("refresh-indicators")
def refresh_indicators(
    symbols: Annotated[
        str, typer.Option(help="all (with bars), A,B, or @FILE with symbols and # comments.")
    ] = "all",
    due: Annotated[
        bool,
        typer.Option("--due", help="Only what is due; goes on after a refresh that was stopped."),
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute the indicators of all symbols anew, or of some.

    Workers compute them by themselves with each new bar. What is left when the command is stopped
    stays due: the next sweep of a worker, or --due, computes it. Exit code 1 when a symbol failed.
    Examples: `python -m market refresh-indicators`,
    `python -m market refresh-indicators --symbols AAPL,MSFT --json`.
    """
    words = symbol_lists.read(symbols)
    if due and words is not None:
        raise InvalidInput("--due takes the symbols that are due: leave --symbols out")
    benchmark = Benchmark(load(BenchmarkSettings).benchmark_symbol)
    with command_database() as database:
        with database.transaction(300) as conn, trying(conn, dry_run=dry_run):
            names = words and symbol_lists.checked(conn, words, registered=True)
            before = refresh.count_due(conn)
            marked = 0 if due else refresh.mark(conn, names or None, "refresh-indicators")
        wanted = before if due else len(names) if names else marked
        done = refresh.Refreshed()
        if not dry_run:
            with _progress(wanted) as show:
                if names:
                    done = refresh.these(database, benchmark, names, show)
                else:
                    done = refresh.due(database, benchmark, show=show)
        with database.transaction() as conn:
            after = refresh.count_due(conn)
    failed = [f"{name}: {reason}" for name, reason in sorted(done.failed.items())]
    row = {
        "symbols": wanted,
        "stored": done.stored,
        "failed": len(failed),
        "first_failed": failed[0] if failed else None,
        "due_before": before,
        "due_after": after,
        "dry_run": dry_run,
    }
    emit([row], views.refreshed(row), as_json=as_json)
    if failed:
        raise ReckonerError(f"{len(failed)} of {wanted} snapshots failed; {failed[0]}")


@app.command("record-history")
def record_history(
    as_of: Annotated[
        dt.datetime | None,
        typer.Option("--as-of", formats=["%Y-%m-%d"], help="Only snapshots of this day."),
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Record the current snapshots in the history, each under the day of its newest bar.

    A day that was recorded keeps its row. A past day whose snapshot was never computed is refused:
    bars have changed since, and what was known then is not computed afterwards. Examples:
    `python -m market record-history`, `python -m market record-history --as-of 2026-05-29`.
    """
    day = as_of and as_of.date()
    with (
        command_database() as database,
        database.transaction(300) as conn,
        trying(conn, dry_run=dry_run),
    ):
        rows = history.record(conn, day)
    if day and not any(row["recorded"] or row["already"] or row["due"] for row in rows):
        raise NotFound(
            f"no snapshot of {day} was computed on its day, and what was known then is not computed"
            f" afterwards ({rows[0]['never']} symbols have a bar of it)"
        )
    emit(rows, views.recorded(rows, dry_run=dry_run), as_json=as_json)


@contextlib.contextmanager
def _progress(wanted: int) -> Iterator[Callable[[refresh.Refreshed], None]]:
    """Show how far a refresh is: a line that changes on a terminal, elsewhere a log line at times."""

    def line(done: refresh.Refreshed) -> str:
        failed = f", {len(done.failed):,} failed" if done.failed else ""
        return f"{done.stored:,} of {wanted:,} snapshots computed{failed}"

    if sys.stderr.isatty():
        with spinner(f"computing {wanted:,} snapshots") as status:
            yield lambda done: status.update(line(done))
        return
    logged_at = time.monotonic()

    def log(done: refresh.Refreshed) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= _LOG_SECONDS:
            logged_at = time.monotonic()
            logger().info("refreshing indicators", progress=line(done))

    yield log
