"""The tasks: thin calls of what the commands call.

`job_tasks()` in `sql/functions/66_runs.sql` has the same names, with the parameters that are checked
before a run is queued; `tests/worker/test_jobs.py` compares the two. A task is repeated when its
worker dies, so each can be run again.
"""

from collections.abc import Callable, Mapping

from market.prices import cross_check, sync
from worker.jobs.work import Work


def daily_sync(work: Work) -> None:
    """Fetch the newest session of all tickers."""
    for done in sync.after_close(
        work.database, work.providers, work.market.market_cross_check_sample, work.wait
    ):
        work.progress(**{done.calendar: done.topped_up + done.enqueued})


def compare(work: Work) -> None:
    """Compare stored closes with a second provider."""
    sample = int(work.params.get("sample", work.market.market_cross_check_sample or 20))
    cross_check.run(work.database, work.providers, sample, work.wait)
    work.progress(sample=sample)


TASKS: Mapping[str, Callable[[Work], None]] = {
    "cross_check": compare,
    "daily_sync": daily_sync,
}
