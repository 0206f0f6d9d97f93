"""`market auto-pipeline` and `health-check`: all steps for recent predictions, and their health."""

import sys
import time
from typing import Annotated, Any

import typer

from market import health
from market.cli.console import DryRunOption, JsonOption, application, command_database, waiting
from market.cli.display import emit, emit_json
from market.cli.views import data
from market.cli.views import database as database_views
from market.providers import build
from market.settings import MarketSettings
from sql.database import Connection, one, trying
from sql.errors import ReckonerError
from sql.settings import load

app = application("Everything at once.")

_TURN_SECONDS = 0.5


@app.command("auto-pipeline")
def auto_pipeline(
    days_back: Annotated[
        int, typer.Option("--days-back", min=1, help="Predictions of the last so many days.")
    ] = 7,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only so many, the newest.")
    ] = None,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait", help="Write the events and end; workers process them all the same."
        ),
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take the predictions of the last days all the way: tickers, prices, outcomes.

    Workers do it; this writes their events, waits for them and counts. Exit code 1 when an event
    was parked. Examples: `python -m market auto-pipeline`,
    `python -m market auto-pipeline --days-back 30 --limit 100 --json`.
    """
    with command_database() as database:
        with database.transaction(seconds=600) as conn, trying(conn, dry_run=dry_run):
            ids = one(
                conn,
                "SELECT pipeline_start(reckoner_now() - make_interval(days => %s), %s) AS ids",
                [days_back, limit],
            )["ids"]
            row = _state(conn, ids)
            if dry_run:  # its events are counted, and not written
                lacks = one(conn, "SELECT pipeline_lacks(%s::integer[]) AS n", [ids])["n"]
                row["left"] += lacks
        with waiting(f"{len(ids)} predictions"):
            while row["left"] and not (no_wait or dry_run):
                time.sleep(_TURN_SECONDS)  # progress is in tables only, without a notification
                with database.transaction() as conn:
                    row = _state(conn, ids)
    row["dry_run"] = dry_run
    emit([row], data.pipeline(row), as_json=as_json)
    if row["parked"] and not dry_run:
        raise ReckonerError(f"{row['parked']} events are parked; the view outbox_stuck says why")


def _state(conn: Connection, ids: list[int]) -> dict[str, Any]:
    return one(conn, "SELECT * FROM pipeline_state(%s::integer[])", [ids])


@app.command("health-check")
def health_check(
    no_providers: Annotated[
        bool, typer.Option("--no-providers", help="Do not check whether providers can be asked.")
    ] = False,
    no_freshness: Annotated[
        bool, typer.Option("--no-freshness", help="Do not check whether prices are fresh.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check providers and the freshness of prices, without a request; exit 0 or 3.

    `worker health` checks the queue and the workers. Examples: `python -m market health-check`,
    `python -m market health-check --no-providers --json`.
    """
    rows = []
    with command_database() as database:
        if not no_providers:
            rows += health.providers(database, build(load(MarketSettings)))
        if not no_freshness:
            rows.append(health.freshness(database))
    healthy = all(row["state"] != "fail" for row in rows)
    if as_json:
        emit_json({"healthy": healthy, "checks": rows})
    else:
        emit(rows, database_views.checks(rows), as_json=False)
    sys.exit(0 if healthy else 3)
