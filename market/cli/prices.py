"""`market fetch-prices`, `price-stats`, `payload`, `providers`, `cross-check`: prices now.

Prices of many symbols, which workers fetch, are in `jobs.py`.
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
    emit_bytes,
    waiting,
)
from market.cli.display import emit
from market.cli.views import prices as views
from market.prices import backfill, bars_table, cross_check, ingestion
from market.prices.ingestion import AuditFile, Run
from market.providers import Provider, build
from market.providers.status import overview
from market.settings import MarketSettings
from market.snapshots import Benchmark
from market.universe import registry, sessions
from sql.database import Connection, Database, one, trying
from sql.errors import InvalidInput, NotFound, ReckonerError
from sql.settings import load

app = application("Prices now.")

AuditOption = Annotated[
    Path | None,
    typer.Option("--audit", help="Append each run as a line of JSON to this file.", dir_okay=False),
]


@app.command("fetch-prices")
def fetch_prices(
    symbol: Annotated[
        list[str],
        typer.Option(
            "-s", "--symbol", autocompletion=complete_symbol, help="A symbol; may be repeated."
        ),
    ],
    days: Annotated[
        int, typer.Option("-d", "--days", min=1, help="Calendar days back from today.")
    ] = 30,
    audit: AuditOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch and store daily bars now, and fill the outcomes that follow.

    Examples: `python -m market fetch-prices -s AAPL -d 30`,
    `python -m market fetch-prices -s AAPL -s BTC-USD -d 365 --json --audit runs.jsonl`.
    """
    settings = load(MarketSettings)
    providers = build(settings)
    run = Run("fetch-prices", settings.raw_retention_days)
    with _audit_file(None if dry_run else audit) as file, command_database() as database:
        with waiting("loading sessions"):
            sessions.ensure(database)
        with database.transaction() as conn, trying(conn, dry_run=dry_run):
            registered = registry.register(conn, symbol)
            if registered["rejected"]:
                rejected = ", ".join(map(repr, registered["rejected"]))
                raise NotFound(f"not a symbol: {rejected}; nothing was fetched")
            names = registered["registered"] + registered["known"]
            calendars = backfill.calendars_missing(conn, names)
        for calendar in calendars:
            with waiting(f"loading sessions of {calendar}"):
                sessions.load(database, calendar)
        with database.transaction() as conn:
            today = one(conn, "SELECT (reckoner_now() AT TIME ZONE 'UTC')::date AS date")["date"]
            since = today - dt.timedelta(days=days)
            new = set(registered["registered"]) if dry_run else set()
            planned = [_planned_new(conn, name, since) for name in names if name in new]
            plans = [_plan(conn, name, days, since) for name in names if name not in new]
        rows = planned + [
            _planned(plan) if dry_run else _fetch(database, providers, plan, settings, run, file)
            for plan in plans
        ]
    emit(rows, views.fetched(rows, dry_run=dry_run), as_json=as_json)
    bad = [row for row in rows if row["result"] not in {"fetched", "up to date", "would fetch"}]
    if bad:
        why = bad[0].get("reason") or bad[0]["result"]
        raise ReckonerError(
            f"{len(bad)} of {len(rows)} symbols were not fetched; {bad[0]['symbol']}: {why}"
        )


def _planned_new(conn: Connection, symbol: str, since: dt.date) -> dict[str, Any]:
    """Return what a dry run plans for a symbol that is not registered."""
    plan = one(conn, "SELECT * FROM ticker_plan_new(%s, %s)", [symbol, since])
    return {
        "symbol": symbol,
        "result": "would fetch",
        "from": plan["request_from"] and str(plan["request_from"]),
        "to": plan["request_to"] and str(plan["request_to"]),
        "sessions": plan["sessions"],
    }


def _plan(conn: Connection, symbol: str, days: int, since: dt.date) -> backfill.Plan:
    plan = backfill.plan(conn, symbol, days, since=since)
    if plan is None:
        raise ReckonerError(f"{symbol} left the registry meanwhile")
    return plan


def _planned(plan: backfill.Plan) -> dict[str, Any]:
    if plan.request is None:
        return {"symbol": plan.symbol, "result": "up to date"}
    return {
        "symbol": plan.symbol,
        "result": "would fetch",
        "from": str(plan.request.start),
        "to": str(plan.request.end),
        "sessions": len(plan.request.sessions),
    }


@contextlib.contextmanager
def _audit_file(path: Path | None) -> Iterator[AuditFile | None]:
    """Open the audit file before anything is fetched; raises InvalidInput where it cannot be."""
    if path is None:
        yield None
        return
    try:
        file = AuditFile(path)
    except OSError as error:
        raise InvalidInput(f"--audit {path}: {error.strerror}; nothing was fetched") from None
    try:
        yield file
    except ingestion.AuditError as error:
        raise ReckonerError(f"--audit {path}: {error}; its symbol was not stored") from None
    finally:
        file.close()


def _fetch(
    database: Database,
    providers: Sequence[Provider],
    plan: backfill.Plan,
    settings: MarketSettings,
    run: Run,
    file: AuditFile | None,
) -> dict[str, Any]:
    with waiting(f"fetching {plan.symbol}"):
        result = backfill.fetch(database, providers, plan, time.sleep, by_merit=settings.chooses)
        with database.transaction() as conn:
            benchmark = Benchmark(settings.benchmark_symbol)
            snapshot = backfill.snapshot(conn, plan, result, benchmark)
    # The line is removed when the transaction rolls back, and the other way round.
    entry = file.entry() if file else contextlib.nullcontext()
    with entry, database.transaction(seconds=300) as conn:
        before = bars_table.count(conn, plan.symbol)
        summary = backfill.store(conn, plan, result, run, snapshot)
        after = bars_table.count(conn, plan.symbol)
        if file and summary.audit:
            file.append(summary.audit)
    counts = {"bars_before": before, "bars_after": after}
    return {"symbol": plan.symbol, "result": summary.result, **summary.details, **counts}


@app.command("payload")
def payload(
    number: Annotated[
        int, typer.Argument(min=-LARGEST_ID, max=LARGEST_ID, help="An id of provider_payloads.")
    ],
) -> None:
    """Write the bytes of a provider's answer to stdout, unchanged.

    Examples: `python -m market payload 17 > answer.json`,
    `python -m market payload 17 | jq .chart.error`.
    """
    with command_database() as database, database.transaction() as conn:
        body = ingestion.body(conn, number)
    if body is None:
        raise NotFound(
            f"payload {number} is not kept, or no longer; RAW_RETENTION_DAYS is how long payloads are"
        )
    emit_bytes(body)


@app.command("price-stats")
def price_stats(
    symbol: Annotated[
        str | None,
        typer.Argument(autocompletion=complete_symbol, help="One symbol; without it all."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show stored bars with dates and sources; for one symbol also its gaps.

    Examples: `python -m market price-stats`, `python -m market price-stats AAPL --json`.
    """
    with command_database() as database, database.transaction() as conn:
        rows = bars_table.stats(conn, symbol)
        if symbol is not None:
            for row in rows:
                row.update(bars_table.completeness(conn, row["symbol"]))
    if symbol is not None and not rows:
        raise NotFound(f"{symbol} is not registered: python -m market register-tickers {symbol}")
    emit(rows, views.stats(rows), as_json=as_json)


@app.command("providers")
def providers_status(
    everything: Annotated[
        bool, typer.Option("--all", help="On a terminal also those that are not in use.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the price providers: order, plan, quota, breaker, last success, errors, score.

    Those in use come first, in the order in which they are asked. The keys and MARKET_PROVIDERS
    or MARKET_PROVIDER_POLICY decide it. A terminal shows only those in use, without --all.

    Examples: `python -m market providers`, `python -m market providers --json`.
    """
    providers = build(load(MarketSettings))
    with command_database() as database, database.transaction() as conn:
        rows = overview(conn, providers)
    emit(rows, views.providers(rows, everything=everything), as_json=as_json)


@app.command("cross-check")
def cross_check_prices(
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Symbols to compare; without it MARKET_CROSS_CHECK_SAMPLE."),
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare a sample of the closes fetched in the last day with a second provider's.

    Differences are kept in provider_disagreements with both values; no price changes.

    Examples: `python -m market cross-check --sample 5`, `python -m market cross-check --json`.
    """
    settings = load(MarketSettings)
    number = sample or settings.market_cross_check_sample
    if not number:
        raise InvalidInput("MARKET_CROSS_CHECK_SAMPLE is 0: set it, or say --sample N")
    with command_database() as database:
        if dry_run:
            rows = cross_check.sampled(database, number)
        else:
            with waiting("comparing"):
                rows = cross_check.run(database, build(settings), number, time.sleep)
    emit(rows, views.cross_checked(rows, dry_run=dry_run), as_json=as_json)
