"""`market backfill`, `data-sync` and the like: prices of many symbols at once.

The commands write a job and follow it; workers fetch. `data-sync` first tops up from providers that
give many symbols in one request, because an event has one symbol.
"""

import contextlib
import datetime as dt
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from market.cli.completion import complete_symbol
from market.cli.console import (
    LARGEST_ID,
    DryRunOption,
    JsonOption,
    application,
    command_database,
    waiting,
)
from market.cli.display import emit
from market.cli.following import JobAudit, follow
from market.cli.views import jobs as views
from market.prices import cross_check, jobs, sync
from market.providers import build
from market.settings import MarketSettings
from market.snapshots import Benchmark
from market.universe import symbol_lists
from sql.database import Database, one, trying
from sql.errors import InvalidInput, ReckonerError
from sql.logs import logger
from sql.settings import load

app = application("Prices of many symbols.")

_DATE = ["%Y-%m-%d"]
StartOption = Annotated[
    dt.datetime | None, typer.Option("--start", formats=_DATE, help="First day of the range.")
]
EndOption = Annotated[
    dt.datetime | None,
    typer.Option(
        "--end", formats=_DATE, help="Last day of the range, as far as it is over; else today."
    ),
]
AuditOption = Annotated[
    Path | None,
    typer.Option("--audit", help="Append each run as a line of JSON to this file.", dir_okay=False),
]
NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Write the job and end; the workers do it all the same.")
]


@app.command("backfill")
def backfill(
    start: StartOption = None,
    end: EndOption = None,
    symbols: Annotated[
        str | None,
        typer.Option(help="all (active tickers), A,B, or @FILE with symbols and # comments."),
    ] = None,
    resume: Annotated[
        int | None,
        typer.Option(
            "--resume",
            metavar="JOB",
            min=-LARGEST_ID,
            max=LARGEST_ID,
            help="Follow a job again; retry its failed symbols.",
        ),
    ] = None,
    audit: AuditOption = None,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a job for years of prices, and follow it while workers fetch.

    Ctrl-C ends the command and not the job. A symbol whose range is covered already is done at
    once. A fetch goes on from --start to the newest session, so that stored prices have no hole and
    one basis. Exit code 1 when a symbol failed. Examples:
    `python -m market backfill --start 2021-01-19 --end 2026-01-19 --symbols all`,
    `python -m market backfill --start 2021-01-19 --symbols @sp500.txt --audit runs.jsonl`,
    `python -m market backfill --resume 7`.
    """
    if resume is not None:
        if (start, end, symbols) != (None, None, None):
            raise InvalidInput("--resume takes the job's own range and symbols: leave them out")
    elif start is None or symbols is None:
        raise InvalidInput("say --start and --symbols, or --resume JOB")
    words = None if symbols is None else symbol_lists.read(symbols)
    with _audited(audit, wait=not (no_wait or dry_run)) as file, command_database() as database:
        if resume is not None:
            row = _resume(database, resume, dry_run=dry_run)
        else:
            first, last = _range(database, start, end)
            row = _start(database, "backfill", words, first, last, dry_run=dry_run)
        row = _follow(database, row, file, wait=not (no_wait or dry_run))
    _report(row, as_json=as_json)


@app.command("data-sync")
def data_sync(
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            "-s",
            "--symbol",
            autocompletion=complete_symbol,
            help="A symbol; may be repeated. Without it all active tickers.",
        ),
    ] = None,
    start: StartOption = None,
    end: EndOption = None,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch the missing sessions of a range, by default of the last week.

    Of all active tickers, or of the given symbols. Complete symbols are not fetched. Workers do
    this by themselves after each session's close. With MARKET_CROSS_CHECK_SAMPLE a sample is
    compared with a second provider. Examples: `python -m market data-sync`,
    `python -m market data-sync -s AAPL --start 2026-01-05 --json`.
    """
    words = None if symbol is None else [(each, "--symbol") for each in symbol]
    settings = load(MarketSettings)
    providers = build(settings)
    with command_database() as database:
        first, last = _range(database, start, end, days=7)
        names = _names(database, words, registered=True)
        if not dry_run:
            with waiting("fetching many symbols at once"):
                sync.top_up(
                    database, providers, names, time.sleep, Benchmark(settings.benchmark_symbol)
                )
        row = _start(database, "sync", words, first, last, dry_run=dry_run)
        row = _follow(database, row, None, wait=not (no_wait or dry_run))
        if not (no_wait or dry_run) and settings.market_cross_check_sample:
            with waiting("comparing with a second provider"):
                cross_check.run(database, providers, settings.market_cross_check_sample, time.sleep)
    _report(row, as_json=as_json)


@app.command("backfill-all-missing")
def backfill_all_missing(
    audit: AuditOption = None,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a job for BACKFILL_DAYS of prices of every active ticker without any.

    Examples: `python -m market backfill-all-missing --dry-run`,
    `python -m market backfill-all-missing --audit runs.jsonl`.
    """
    days = load(MarketSettings).backfill_days
    with _audited(audit, wait=not (no_wait or dry_run)) as file, command_database() as database:
        first, last = _range(database, None, None, days=days)
        row = _start(database, "missing", None, first, last, dry_run=dry_run)
        row = _follow(database, row, file, wait=not (no_wait or dry_run))
    _report(row, as_json=as_json)


@app.command("backfill-stale-daily")
def backfill_stale_daily(
    audit: AuditOption = None,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a job for the bars that stale tickers and those without any lack.

    Stale is more than one finished session behind; `coverage` names them. A ticker without a bar
    gets BACKFILL_DAYS. Examples: `python -m market backfill-stale-daily --dry-run`,
    `python -m market backfill-stale-daily --no-wait --json`.
    """
    days = load(MarketSettings).backfill_days
    with _audited(audit, wait=not (no_wait or dry_run)) as file, command_database() as database:
        first, last = _range(database, None, None, days=days)
        row = _start(database, "stale", None, first, last, dry_run=dry_run)
        row = _follow(database, row, file, wait=not (no_wait or dry_run))
    _report(row, as_json=as_json)


@app.command("update-all-prices")
def update_all_prices(
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a job for the newest finished session of every active ticker that lacks it.

    Examples: `python -m market update-all-prices`,
    `python -m market update-all-prices --dry-run --json`.
    """
    with command_database() as database:
        first, last = _range(database, None, None, days=7)
        row = _start(database, "update", None, first, last, dry_run=dry_run)
        row = _follow(database, row, None, wait=not (no_wait or dry_run))
    _report(row, as_json=as_json)


Words = Sequence[tuple[str, str]]


def _range(
    database: Database, start: dt.datetime | None, end: dt.datetime | None, days: int = 0
) -> tuple[dt.date, dt.date]:
    """Return the range as dates; by default the `days` until today."""
    with database.transaction() as conn:
        today = one(conn, "SELECT (reckoner_now() AT TIME ZONE 'UTC')::date AS date")["date"]
    last = end.date() if end else today
    first = start.date() if start else last - dt.timedelta(days=days)
    if first > last:
        raise InvalidInput(f"--start {first} is after --end {last}: the first day goes first")
    if first > today:
        raise InvalidInput(f"--start {first} is still to come; today is {today}")
    return first, last


def _names(
    database: Database, words: Words | None, *, registered: bool = False
) -> list[str] | None:
    """Return the symbols; registered: raises NotFound where one is not."""
    if words is None:
        return None
    with database.transaction() as conn:
        return symbol_lists.checked(conn, words, registered=registered)


def _start(
    database: Database,
    kind: jobs.Kind,
    words: Words | None,
    first: dt.date,
    last: dt.date,
    *,
    dry_run: bool,
) -> dict[str, Any]:
    """Write the job; returns its progress. A dry run writes nothing and returns no number."""
    names = _names(database, words)
    with database.transaction(seconds=300) as conn:
        if dry_run:
            return jobs.preview(conn, kind, names, first, last)
        return jobs.progress(conn, jobs.start(conn, kind, names, first, last))


def _resume(database: Database, job: int, *, dry_run: bool) -> dict[str, Any]:
    with database.transaction(seconds=300) as conn, trying(conn, dry_run=dry_run):
        left = jobs.resume(conn, job)
        row = jobs.progress(conn, job)
    if not dry_run:
        return row
    # Their events are not written, without which a symbol would count as failed.
    return {**row, "job": None, "left": left, "failed": row["symbols"] - row["done"] - left}


@contextlib.contextmanager
def _audited(path: Path | None, *, wait: bool) -> Iterator[JobAudit | None]:
    """Open the audit file before anything is written."""
    if path is None or not wait:
        yield None
        return
    with contextlib.closing(JobAudit(path)) as file:
        yield file


def _follow(
    database: Database, row: dict[str, Any], file: JobAudit | None, *, wait: bool
) -> dict[str, Any]:
    """Follow the job until it ends, if `wait`; returns its progress."""
    job = row["job"]
    if job is None:
        return row
    try:
        logger().info("job written", job=job, symbols=row["symbols"], to_fetch=row["left"])
        return follow(database, job, file) if wait else row
    except KeyboardInterrupt:
        logger().info(
            "the job goes on without this command",
            again=f"python -m market backfill --resume {job}",
        )
        raise


def _report(row: dict[str, Any], *, as_json: bool) -> None:
    emit([row], views.job(row), as_json=as_json)
    if row["failed"] and row["left"] == 0 and row["job"] is not None:
        raise ReckonerError(
            f"{row['failed']} of {row['symbols']} symbols failed: python -m market backfill-status"
            f" {row['job']} --symbols says why, backfill --resume {row['job']} tries them again"
        )
