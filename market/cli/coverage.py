"""`market coverage` and `restore-coverage`: how complete the bars are, and making them so."""

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from market import coverage, restore
from market.cli.completion import complete_symbol
from market.cli.console import (
    DryRunOption,
    JsonOption,
    application,
    command_database,
    waiting,
)
from market.cli.display import draws, emit, emit_json, emit_tables
from market.cli.following import follow
from market.cli.views import coverage as views
from market.settings import BenchmarkSettings, MarketSettings
from sql.database import Database
from sql.errors import ReckonerError
from sql.logs import logger
from sql.rows import Rows
from sql.settings import load

app = application("Coverage.")

_DEGRADED = 3


@app.command("coverage")
def show(
    symbol: Annotated[
        str | None,
        typer.Argument(autocompletion=complete_symbol, help="One symbol; without it all."),
    ] = None,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="Keep it as the snapshot that health and metrics read."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how complete and how fresh bars are; exit 3 when degraded.

    Age counts finished sessions of each symbol's own calendar. Symbols that are stale or without
    any bar are listed with the reason; --json has the report of the SQL function coverage().
    Examples: `python -m market coverage`, `python -m market coverage AAPL`,
    `python -m market coverage --refresh --json`.
    """
    if symbol is not None:
        _show_symbol(symbol, refresh=refresh, as_json=as_json)
        return
    with command_database() as database, waiting("counting"), database.transaction() as conn:
        report = coverage.report(conn, refresh=refresh)
        rows = coverage.stale(conn, 0 if as_json else 50)
    if as_json:
        emit_json(report)
    else:
        _emit(report, rows)
    label = report["status"]["label"]
    if label == "unknown":
        raise ReckonerError(report["status"]["summary"])
    sys.exit(_DEGRADED if label == "degraded" else 0)


def _emit(report: Mapping[str, Any], stale: Rows) -> None:
    total = report["daily"]["stale_48h"] + report["daily"]["missing"]
    tables = {"intervals": views.rows_of(report), "stale": stale}
    if draws():
        # Where nobody follows five-minute bars, they are not missing.
        kept = [
            row
            for row in tables["intervals"]
            if row["missing"] < row["symbols"] or row["interval"] == "1d"
        ]
        tables = {"intervals": kept, **({"stale": stale} if stale else {})}
    shown = {
        "intervals": views.intervals(tables["intervals"]),
        "stale": views.stale(stale, total),
    }
    # The sentence above both says it all.
    shown = {name: replace(view, summary="") for name, view in shown.items()}
    emit_tables(tables, shown, views.sentence(report))


def _show_symbol(name: str, *, refresh: bool, as_json: bool) -> None:
    with command_database() as database, database.transaction() as conn:
        row = coverage.symbol(conn, name)
        if refresh:
            coverage.report(conn, refresh=True)
    if as_json:
        emit_json(row)
    else:
        emit([row], views.symbol(row), as_json=False)
    stale = row["tracked"] and row["daily_bucket"] not in {"<=24h", "24-48h"}
    sys.exit(_DEGRADED if stale else 0)


@app.command("restore-coverage")
def restore_coverage(
    last: Annotated[
        bool, typer.Option("--last", help="Show the steps of the newest restore, and run none.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring everything up to date, step by step; workers fetch.

    Constituents, tracked symbols, stale daily bars, indicators, history, coverage. Each step's
    result is kept. Ctrl-C or a crash ends the command; the next call goes on where it stopped. A
    step that fails does not stop the next ones. Exit code 1 when a step failed, 3 when coverage is
    degraded all the same. Examples: `python -m market restore-coverage`,
    `python -m market restore-coverage --last --json`.
    """
    with command_database() as database:
        if last or dry_run:
            with database.transaction(seconds=300) as conn:
                rows = restore.planned(conn) if dry_run else restore.listing(conn)
        else:
            rows = _run(database)
    emit(rows, views.restored(rows, dry_run=dry_run), as_json=as_json)
    if last or dry_run:
        return
    failed = [row for row in rows if row["state"] == "failed"]
    if failed:
        raise ReckonerError(
            f"{len(failed)} of {len(rows)} steps failed; {failed[0]['step']}: {failed[0]['error']}"
        )
    sys.exit(_DEGRADED if rows[-1]["result"].get("label") == "degraded" else 0)


def _run(database: Database) -> Rows:
    from market.universe.constituents.sources import build  # noqa: PLC0415 - brings httpx

    settings = load(MarketSettings)
    means = restore.Means(
        sources=lambda: build(settings),
        wait=time.sleep,
        follow=lambda job: follow(database, job),
        benchmark=load(BenchmarkSettings).benchmark_symbol,
        backfill_days=settings.backfill_days,
        keep_days=settings.raw_retention_days,
    )
    try:
        return restore.run(database, means, lambda text: logger().info(text))
    except KeyboardInterrupt:
        logger().info("stopped", again="python -m market restore-coverage")
        raise
