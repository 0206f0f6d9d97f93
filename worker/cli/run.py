"""`worker run`: the process that claims and processes events, from options to exit code."""

import math
import sys
import time
from typing import Annotated

import typer

from market.settings import MarketSettings
from sql.access import open_database
from sql.database import error_line
from sql.errors import Unavailable
from sql.settings import DatabaseSettings, load
from worker.settings import WorkerSettings


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
    from worker.topics import lanes  # noqa: PLC0415

    shutdown = Shutdown(
        deadline=math.inf if max_seconds is None else time.monotonic() + max_seconds
    )
    urls, market, settings = load(DatabaseSettings), load(MarketSettings), load(WorkerSettings)
    # Each batch of a lane, the heartbeat and the sweep use a connection.
    size = sum(lane.concurrency for lane in lanes(settings)) + 2
    with open_database(urls, name="reckoner worker", size=size, may_make=True) as database:
        try:
            expect_schema(database, shutdown)
        except ShutdownRequested as ended:
            reason = error_line(ended.__cause__) if ended.__cause__ else database.place
            raise Unavailable(f"time is up, and the database did not answer: {reason}") from None
        listen_url = None if drain else urls.listen_database_url or database.url
        code = Worker(database, settings, market, build(market), listen_url, shutdown).run()
    sys.exit(code)
