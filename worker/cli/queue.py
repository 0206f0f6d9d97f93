"""`worker sweep`, `requeue`, `enqueue`: an operator's commands for events."""

import contextlib
import datetime as dt
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from market.cli.completion import complete_symbol
from market.cli.console import (
    LARGEST_ID,
    DryRunOption,
    JsonOption,
    command_database,
    drawing,
    waiting,
)
from market.cli.display import View, draws, emit
from market.cli.display.options import asked
from market.settings import BenchmarkSettings, MarketSettings
from market.snapshots import Benchmark
from sql.errors import Conflict, InvalidInput
from sql.settings import load
from worker import sweep as sweeping
from worker.cli import screens
from worker.queue import enqueue as enqueuing
from worker.queue import requeue as requeuing
from worker.queue import status
from worker.settings import AlertSettings, WorkerSettings


def sweep(dry_run: DryRunOption = False, as_json: JsonOption = False) -> None:
    """Sweep once now: end leases, find forgotten predictions and changes, enqueue due prices.

    Examples: `python -m worker sweep`, `python -m worker sweep --dry-run --json`.
    """
    with command_database() as database:
        before = status.live_events(database)
        with waiting("sweeping"):
            settings = load(WorkerSettings)
            benchmark = Benchmark(load(BenchmarkSettings).benchmark_symbol)
            crashed = sweeping.end_leases(database, settings, dry_run=dry_run)
            channels = load(AlertSettings).channels
            found = sweeping.once(
                database, settings, dry_run=dry_run, benchmark=benchmark, channels=channels
            )
        after = status.live_events(database)
        if found is None:
            raise Conflict(f"another worker is sweeping just now{sweeping.holder(database)}")
        counts = {"dry_run": dry_run, "events_before": before, "events_after": after}
        row = {"crashed": crashed, **found, **counts}
        _answer(row, screens.swept(row), as_json=as_json)


def requeue(
    event: Annotated[
        int | None,
        typer.Option(min=-LARGEST_ID, max=LARGEST_ID, help="One event, live or finished."),
    ] = None,
    prediction: Annotated[
        int | None,
        typer.Option(min=-LARGEST_ID, max=LARGEST_ID, help="A prediction, whatever its history."),
    ] = None,
    ticker: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_symbol, help="A symbol: its prices are fetched again."
        ),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All dead events.")] = False,
    topic: Annotated[str | None, typer.Option(help="With --dead: only this topic.")] = None,
    error_like: Annotated[
        str | None, typer.Option(help="With --dead: only where the error is LIKE this.")
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Requeue an event, a prediction, a ticker, or all dead events.

    Examples: `python -m worker requeue --ticker AAPL`,
    `python -m worker requeue --dead --error-like '%timeout%' --dry-run`.
    """
    given = [event is not None, prediction is not None, ticker is not None, dead]
    if sum(given) != 1:
        raise InvalidInput("give exactly one of --event, --prediction, --ticker, --dead")
    if (topic or error_like) and not dead:
        raise InvalidInput("--topic and --error-like go with --dead")
    from worker.topics import lanes  # noqa: PLC0415 - it loads what fetches prices

    known = [lane.topic for lane in lanes(load(WorkerSettings))]
    if topic is not None and topic not in known:
        raise InvalidInput(f"--topic is {' or '.join(known)}, not {topic}")
    with command_database() as database:
        row = requeuing.requeue(
            database,
            event=event,
            prediction=prediction,
            ticker=ticker,
            topic=topic,
            error_like=error_like,
            dry_run=dry_run,
        )
        what = (
            f"event {event}"
            if event is not None
            else f"prediction {prediction}"
            if prediction is not None
            else ticker or ""
        )
        _answer(row, screens.requeued(row, what), as_json=as_json)


def enqueue(
    everything: Annotated[bool, typer.Option("--all", help="All predictions.")] = False,
    since: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Posts of this UTC date and later."),
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write events of low priority for predictions that are older than the trigger.

    Predictions with an outcome or an event are passed over. The number of tickers and provider
    requests is printed to stderr first. Ctrl-C stops the command at any time; start it again to go
    on. Examples: `python -m worker enqueue --all --dry-run`,
    `python -m worker enqueue --since 2025-01-01`.
    """
    if everything == (since is not None):
        raise InvalidInput("give exactly one of --all and --since")
    moment = None if since is None else since.replace(tzinfo=dt.UTC)
    market = load(MarketSettings)
    with command_database() as database:
        most = load(WorkerSettings).worker_max_symbols
        with _progress("counting") as advance:
            cost = enqueuing.estimate(database, market, moment, most, advance)
        sys.stderr.write(f"{cost}\n")
        with _progress("enqueueing") as advance:
            counts = enqueuing.enqueue(database, moment, advance, dry_run=dry_run)
        row = {"dry_run": dry_run, **asdict(cost), **counts}
        _answer(row, screens.enqueued(row), as_json=as_json)


def _answer(row: dict[str, Any], view: View, *, as_json: bool) -> None:
    """Print one row: a person reads its sentence, and the rest with -o wide."""
    output = asked()
    plain = not as_json and draws() and not (output.wide or output.columns)
    emit([] if plain else [row], view, as_json=as_json)


@contextlib.contextmanager
def _progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress on stderr where that is a terminal; yields `advance(seen, total)`."""
    if not sys.stderr.isatty():
        yield lambda _seen, _total: None
        return
    from rich.progress import Progress  # noqa: PLC0415 - only a terminal needs it

    with Progress(
        console=drawing(sys.stderr),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda seen, total: progress.update(task, completed=seen, total=total)
