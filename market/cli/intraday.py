"""`market backfill-5m`: five-minute bars now."""

import os
import secrets
import socket
import time
from typing import Annotated, Any

import typer

from market.cli.completion import complete_symbol
from market.cli.console import DryRunOption, JsonOption, application, command_database, waiting
from market.cli.display import emit
from market.cli.views import intraday as views
from market.prices.ingestion import Run
from market.prices.intraday import backfill
from market.prices.intraday.plan import plan
from market.providers import build
from market.settings import MarketSettings
from market.universe import registry, sessions
from sql.database import Database, trying
from sql.errors import NotFound, ReckonerError
from sql.settings import load

app = application("Five-minute bars.")


@app.command("backfill-5m")
def backfill_5m(
    n_days: Annotated[
        int,
        typer.Option("--n-days", min=1, max=1000, help="The newest sessions of each symbol."),
    ] = 5,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=500, help="Symbols that are stored at once.")
    ] = 50,
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            "-s",
            "--symbol",
            autocompletion=complete_symbol,
            help="A symbol, may be repeated; without it all that are tracked.",
        ),
    ] = None,
    refetch: Annotated[
        bool, typer.Option("--refetch", help="Also sessions that a provider answered for.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch and store five-minute bars of the newest sessions.

    A session under way counts as one; of it the final bars are stored. Bars that retention would
    drop are not fetched. Exit code 1 when a symbol failed. Examples:
    `python -m market backfill-5m`, `python -m market backfill-5m --n-days 20 -s SPY --json`.
    """
    settings = load(MarketSettings)
    how = backfill.How(
        worker=f"backfill-5m {socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}",
        keep_days=settings.intraday_retention_days,
        by_merit=settings.chooses,
        run=Run("backfill-5m", settings.raw_retention_days),
    )
    with command_database() as database:
        with waiting("loading sessions"):
            sessions.ensure(database)
        symbols = _symbols(database, symbol, dry_run=dry_run)
        if dry_run:
            rows = _planned(database, symbols, n_days, how.keep_days, refetch=refetch)
        else:
            rows = []
            found = backfill.run(
                database,
                build(settings),
                symbols,
                time.sleep,
                how,
                n_days=n_days,
                batch_size=batch_size,
                refetch=refetch,
            )
            with waiting(f"fetching five-minute bars of {len(symbols)} symbols"):
                for each in found:
                    rows.append({"symbol": each.symbol, "result": each.result, **each.details})
    emit(rows, views.filled(rows, dry_run=dry_run), as_json=as_json)
    bad = [row for row in rows if row["result"] not in views.WELL]
    if bad:
        raise ReckonerError(
            f"{len(bad)} of {len(rows)} symbols were not fetched; {bad[0]['symbol']}: {bad[0]['reason']}"
        )


def _symbols(database: Database, given: list[str] | None, *, dry_run: bool) -> list[str]:
    """Return the symbols to fetch; those that are named are registered."""
    if not given:
        return backfill.tracked(database)
    with database.transaction() as conn, trying(conn, dry_run=dry_run):
        registered = registry.register(conn, given)
    if registered["rejected"]:
        rejected = ", ".join(map(repr, registered["rejected"]))
        raise NotFound(f"not a symbol: {rejected}; nothing was fetched")
    return sorted(registered["registered"] + registered["known"])


def _planned(
    database: Database, symbols: list[str], n_days: int, keep_days: int, *, refetch: bool
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for symbol in symbols:
        with database.transaction() as conn:
            made = plan(conn, symbol, n_days, keep_days=keep_days, refetch=refetch)
        request = made.request if made else None
        if made is None:
            rows.append({"symbol": symbol, "result": "would fetch"})
        elif request is None:
            rows.append({"symbol": symbol, "result": "up to date"})
        else:
            span = {"from": str(request.start), "to": str(request.end)}
            rows.append(
                {
                    "symbol": symbol,
                    "result": "would fetch",
                    "sessions": len(request.sessions),
                    **span,
                }
            )
    return rows
