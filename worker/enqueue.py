"""`worker enqueue`: events for predictions that were there before the trigger.

In bites of a few thousand ids, each its own transaction: it may be interrupted and started
again, and what has an event or an outcome already is passed over.
"""

import datetime as dt
import sys
from typing import Any

from rich.console import Console
from rich.progress import Progress

from sql.database import Database, one

_BITE = 5_000


def enqueue(database: Database, *, since: dt.datetime | None, dry_run: bool) -> dict[str, Any]:
    """Write the missing events of low priority; since: only posts of that moment or later (UTC).

    Returns counts. Progress goes to stderr when that is a terminal.
    """
    last, seen, missing = 0, 0, 0
    with database.transaction() as conn:
        row = one(
            conn,
            "SELECT count(*) AS predictions, (SELECT count(*) FROM outbox WHERE status <> 'dead') AS waiting"
            " FROM predictions",
        )
    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("predictions", total=row["predictions"])
        while True:
            with database.transaction() as conn:
                bite = one(
                    conn,
                    "SELECT * FROM enqueue_predictions(%s, %s, %s, %s)",
                    [last, _BITE, since, dry_run],
                )
            if not bite["seen"]:
                break
            last, seen, missing = bite["last_id"], seen + bite["seen"], missing + bite["missing"]
            progress.advance(task, bite["seen"])
    return {
        "dry_run": dry_run,
        "predictions": seen,
        "enqueued": 0 if dry_run else missing,
        "would_enqueue": missing,
        "waiting_before": row["waiting"],
        "waiting_after": row["waiting"] + (0 if dry_run else missing),
    }
