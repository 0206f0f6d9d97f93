"""Job events: run a task, and end its run and its event together.

A run may take an hour, and so holds no transaction: the event's lease is renewed like any other.
"""

import time
from collections.abc import Sequence
from typing import Any

import structlog
from psycopg.types.json import Jsonb

from sql.away import may_be_away
from sql.database import error_line, one
from worker.context import LOCK_SECONDS, Context
from worker.jobs import tasks
from worker.jobs.work import RunEnded, Work
from worker.queue import outbox
from worker.queue.outbox import Claim, End
from worker.shutdown import ShutdownRequested

log = structlog.get_logger()


def handle(context: Context, claims: Sequence[Claim]) -> None:
    """Run the task of one job event; a batch of this topic has one event."""
    [claim] = claims
    run = int(claim.key) if claim.key.isdigit() else 0
    begun = context.retry("beginning a run", lambda: _begin(context, claim, run))
    if begun is None:
        return
    started = time.monotonic()
    work = Work(context, begun["worker"], run, begun["attempt"], begun["params"])
    status, error = _run(begun["task"], work)
    ended = context.retry(
        "ending a run", lambda: _end(context, claim, begun["task"], work, status, error)
    )
    tell = log.warning if error else log.info
    tell(
        "run ended",
        run=run,
        task=begun["task"],
        status=ended or "lost to another worker",
        attempt=begun["attempt"],
        error=error,
        seconds=round(time.monotonic() - started, 3),
        **work.counters,
    )


def _run(task: str, work: Work) -> tuple[str, str | None]:
    """Run a task's code; returns the status of its run, and the error.

    `queued`: the database was away, which is not the task's fault; it begins again.
    """
    try:
        tasks.TASKS[task](work)
    except (ShutdownRequested, KeyboardInterrupt, SystemExit):
        raise
    except RunEnded as reason:
        return "cancelled" if str(reason).startswith("cancelled") else "error", str(reason)
    except Exception as error:
        if may_be_away(error):
            # A restarted server must not fail each run that was in the middle of something.
            log.warning("a run was interrupted", task=task, error=error_line(error))
            return "queued", error_line(error)
        log.exception("a task failed", task=task, error=error_line(error))
        return "error", error_line(error)
    return "ok", None


def _begin(context: Context, claim: Claim, run: int) -> dict[str, Any] | None:
    """Begin the run of a claim; where there is nothing to run, end the event and return None."""
    with context.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
        if not outbox.lock(conn, [claim]):
            return None
        row = conn.execute(
            "SELECT b.*, o.leased_by AS worker FROM outbox o, run_begin(%s, o.leased_by) b"
            " WHERE o.id = %s",
            [run, claim.id],
        ).fetchone()
        if row is None:
            reason = {"reason": f"run {claim.key} is over"}
            outbox.finish(conn, [End(claim, "cancelled", reason)])
        elif row["task"] not in tasks.TASKS:
            # A task of a newer release: its worker may be the next to claim it.
            outbox.fail(conn, claim, f"no task {row['task']} in this release", context.max_attempts)
            return None
        return row


def _end(
    context: Context, claim: Claim, task: str, work: Work, status: str, error: str | None
) -> str | None:
    """End a run and its event; returns the run's status, None where another worker has it."""
    with context.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
        if not outbox.lock(conn, [claim]):
            return None
        row = one(
            conn,
            "SELECT * FROM run_end(%s, %s, %s, %s, %s)",
            [work.run, work.attempt, status, Jsonb(work.counters), error],
        )
        if row["retry_at"] is not None:
            outbox.delay(conn, claim, row["retry_at"], error or "")
        else:
            outbox.finish(conn, [End(claim, "done", {"run": work.run, "status": row["status"]})])
    context.metrics.count_end("job", "done" if row["retry_at"] is None else "delayed")
    if row["status"] is None:
        return None
    context.metrics.runs_ended.labels(task, row["status"]).inc()
    return str(row["status"])
