"""`python -m worker …`: the commands of the queue and its worker."""

import datetime as dt
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from market.cli import console, watch
from market.cli.completion import complete_symbol
from market.cli.console import (
    LARGEST_ID,
    DryRunOption,
    JsonOption,
    application,
    command_database,
    waiting,
)
from market.settings import MarketSettings
from sql import embedded
from sql.access import open_database
from sql.errors import Conflict, InvalidInput, Unavailable
from sql.logs import configure
from sql.schema import migrate
from sql.settings import DatabaseSettings, LogSettings, load
from sql.urls import with_passfile, without_password
from worker import sweep as sweeping
from worker.cli import enqueue as enqueuing
from worker.cli import explain as explaining
from worker.cli import migrating, report
from worker.cli import requeue as requeuing
from worker.settings import WorkerSettings

app = application(
    "Reckoner's worker: turns predictions into outcomes. Without a command it runs.",
    invoke_without_command=True,
)


@app.callback()
def _main(context: typer.Context) -> None:
    configure(load(LogSettings))
    if context.invoked_subcommand is None:
        run()


@app.command()
def run(
    drain: Annotated[
        bool, typer.Option("--drain", help="Exit 0 when nothing is ready or in flight.")
    ] = False,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after this many seconds.")
    ] = None,
) -> None:
    """Listen, claim, process and sweep until SIGTERM or SIGINT (the default command).

    Examples: `python -m worker`, `python -m worker run --drain --max-seconds 300` for cron.
    """
    from market.providers import build  # noqa: PLC0415 - the other commands need no provider
    from worker.process import Worker  # noqa: PLC0415
    from worker.shutdown import Shutdown, ShutdownRequested  # noqa: PLC0415
    from worker.startup import expect_schema  # noqa: PLC0415

    shutdown = Shutdown(
        deadline=math.inf if max_seconds is None else time.monotonic() + max_seconds
    )
    urls, market, settings = load(DatabaseSettings), load(MarketSettings), load(WorkerSettings)
    # Lanes (the main thread is one of them), the heartbeat and the sweep each use a connection.
    size = settings.worker_prediction_concurrency + settings.worker_ticker_concurrency + 2
    with open_database(urls, name="reckoner worker", size=size) as database:
        try:
            expect_schema(database, shutdown)
        except ShutdownRequested:
            raise Unavailable("time is up, and the database did not answer") from None
        listen_url = None if drain else urls.listen_database_url or database.url
        code = Worker(database, settings, market, build(market), listen_url, shutdown).run()
    sys.exit(code)


@app.command("migrate")
def migrate_command(
    check: Annotated[
        bool, typer.Option("--check", help="Only print what is missing; exit 3 if anything is.")
    ] = False,
    removing: Annotated[
        bool, typer.Option("--remove", help="Print the SQL that removes our objects, not the data.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="With --remove: run that SQL.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Apply sql/ to the database; safe to repeat and to run twice at once.

    --remove leaves predictions, tickers, prices and outcomes; live events are lost. Examples:
    `python -m worker migrate --check`, `python -m worker migrate --remove > remove.sql`.
    """
    if apply and not removing:
        raise InvalidInput("--apply goes with --remove")
    if check and removing:
        raise InvalidInput("give one of --check and --remove")
    with command_database(any_schema=True) as database:
        if removing:
            migrating.remove_ours(database, apply=apply, as_json=as_json)
            return
        if check:
            with database.transaction(seconds=300) as conn:
                changes = missing = migrate.pending(conn)
                if advice := migrate.advise(conn):
                    changes = [*changes, advice]
        else:
            with waiting("applying sql/"):
                changes, missing = migrate.migrate(database), []
    migrating.tell(changes, as_json=as_json)
    if missing:
        sys.exit(3)


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Show the queue, the workers, the oldest event, the pace and when the queue will be empty.

    Examples: `python -m worker status`, `python -m worker status --json | jq .totals`.
    """
    with command_database() as database, database.transaction() as conn:
        document = report.status(conn)
    if as_json:
        console.emit_json(document)
        return
    console.emit([document["totals"]], as_json=False)
    console.emit(document["queue"], as_json=False, empty="the queue is empty")
    console.emit(document["workers"], as_json=False, empty="no worker")


@app.command()
def sweep(dry_run: DryRunOption = False, as_json: JsonOption = False) -> None:
    """Sweep once now: end leases, find forgotten predictions and changes, ask for due prices.

    Examples: `python -m worker sweep`, `python -m worker sweep --dry-run --json`.
    """
    with command_database() as database:
        before = report.live_events(database)
        with waiting("sweeping"):
            settings = load(WorkerSettings)
            crashed = sweeping.end_leases(database, settings, dry_run=dry_run)
            found = sweeping.once(database, settings, dry_run=dry_run)
        after = report.live_events(database)
        if found is None:
            raise Conflict(f"another worker is sweeping just now{sweeping.holder(database)}")
    counts = {"dry_run": dry_run, "events_before": before, "events_after": after}
    console.emit([{"crashed": crashed, **found, **counts}], as_json=as_json)


@app.command()
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
    dead: Annotated[bool, typer.Option("--dead", help="All parked events.")] = False,
    topic: Annotated[str | None, typer.Option(help="With --dead: only this topic.")] = None,
    error_like: Annotated[
        str | None, typer.Option(help="With --dead: only where the error is LIKE this.")
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Do something once more: an event, a prediction, a ticker, or all that is parked.

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
    console.emit([row], as_json=as_json)


@app.command()
def enqueue(
    everything: Annotated[bool, typer.Option("--all", help="All predictions.")] = False,
    since: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Posts of this UTC date and later."),
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write events, of low priority, for predictions that were there before the trigger.

    Only for those that have neither outcomes nor an event. First it says, on stderr, how many
    tickers and provider requests they cost; Ctrl-C stops it at any time, and it can be started
    again. Examples: `python -m worker enqueue --all --dry-run`,
    `python -m worker enqueue --since 2025-01-01`.
    """
    if everything == (since is not None):
        raise InvalidInput("give exactly one of --all and --since")
    moment = None if since is None else since.replace(tzinfo=dt.UTC)
    market = load(MarketSettings)
    with command_database() as database:
        most = load(WorkerSettings).worker_max_symbols
        cost = enqueuing.estimate(database, market, moment, most)
        sys.stderr.write(f"{cost}\n")
        counts = enqueuing.enqueue(database, moment, dry_run=dry_run)
        row = {"dry_run": dry_run, **asdict(cost), **counts}
    console.emit([row], as_json=as_json)


@app.command()
def explain(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[PREDICTION_ID | SYMBOL]",
            autocompletion=complete_symbol,
            help="Whose story.",
        ),
    ] = None,
    event: Annotated[
        int | None, typer.Option(min=-LARGEST_ID, max=LARGEST_ID, help="One event's story instead.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell why a prediction is late: everything that happened to it, and what it waits for.

    The same in SQL: explain_prediction(id), explain_ticker(symbol), explain_event(id).
    Examples: `python -m worker explain 17`, `python -m worker explain AAPL --json`.
    """
    if (what is None) == (event is None):
        raise InvalidInput("give a prediction's id, a symbol, or --event ID")
    with command_database() as database:
        rows = explaining.explain(database, what=what, event=event)
    console.emit(rows, as_json=as_json)


@app.command()
def health(as_json: JsonOption = False) -> None:
    """Check database, schema, workers, listening, backlog, providers; exit 0 or 3.

    Examples: `python -m worker health`, `python -m worker health --json`.
    """
    with open_database(load(DatabaseSettings), name="reckoner command", size=2) as database:
        checks = report.health(database)
    healthy = all(check.state != "fail" for check in checks)
    rows = report.as_rows(checks)
    if as_json:
        console.emit_json({"healthy": healthy, "checks": rows})
    else:
        console.emit(rows, as_json=False)
    sys.exit(0 if healthy else 3)


@app.command()
def url(
    passfile: Annotated[
        Path | None,
        typer.Option(help="Write the password into this file, for libpq, and name it in the URL."),
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Print the password too; a command line shows it.")
    ] = False,
) -> None:
    """Print the libpq URL of the database in use, without its password.

    An embedded server stays up while it is used. Examples:
    `psql "$(python -m worker url --passfile ~/.reckoner.pgpass)"`, `python -m worker url`.
    """
    settings = load(DatabaseSettings)
    with open_database(settings) as database:
        try:
            shown = with_passfile(database.url, passfile) if passfile else database.url
            shown = shown if password else without_password(shown)
        except (OSError, ValueError) as error:
            raise InvalidInput(str(error)) from None
        if settings.embedded_path is not None:
            # Whoever was given the URL needs a moment to connect.
            embedded.linger(settings.embedded_path, 30)
        console.say(shown)


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End by itself, also on a terminal.")
    ] = False,
) -> None:
    """Show the whole loop on a private database; nothing to set up, nothing left behind.

    Examples: `python -m worker demo`, `python -m worker demo --once`.
    """
    from worker.cli.demo import demonstrate  # noqa: PLC0415

    configure(LogSettings(log_level="WARNING"))
    sys.exit(demonstrate(stay=sys.stdout.isatty() and not once))


app.command("watch")(watch.command)

if __name__ == "__main__":
    console.run(app)
