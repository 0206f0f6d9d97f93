"""APScheduler 3 with its jobs in PostgreSQL, by SQLAlchemy, as its documentation recommends for jobs to keep.

Called with a URL, `at_once` or `late`, and a number: prints `ready`, then its figures in seconds.
"""

import datetime as dt
import logging
import queue
import sys
from typing import Any

from apscheduler.events import EVENT_JOB_SUBMITTED
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from psycopg import conninfo
from sqlalchemy import URL

_AHEAD = dt.timedelta(seconds=5)


def nothing() -> None:
    """Do nothing; a job's function must be importable."""


def _scheduler(url: str) -> BackgroundScheduler:
    parts = conninfo.conninfo_to_dict(url)
    store = SQLAlchemyJobStore(
        url=URL.create(
            "postgresql+psycopg",
            username=str(parts["user"]),
            database=str(parts["dbname"]),
            query={key: str(parts[key]) for key in ("host", "port") if key in parts},
        ),
        tablename="apscheduler_jobs",
    )
    return BackgroundScheduler(jobstores={"default": store}, timezone="UTC")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def main(url: str, what: str, number: int) -> None:
    """Print the seconds until all jobs of one second were started, or how late each was."""
    found: queue.SimpleQueue[float] = queue.SimpleQueue()

    def submitted(event: Any) -> None:
        found.put((_now() - event.scheduled_run_times[0]).total_seconds())

    scheduler = _scheduler(url)
    scheduler.start()
    scheduler.remove_all_jobs()
    scheduler.pause()
    due = (_now() + _AHEAD).replace(microsecond=0) + dt.timedelta(seconds=5)
    jobs = number if what == "at_once" else 1
    options = {"days": 1} if what == "at_once" else {"seconds": 1}
    for _ in range(jobs):
        scheduler.add_job(
            f"{__spec__.name}:nothing",
            "interval",
            next_run_time=due,
            misfire_grace_time=60,
            **options,
        )
    scheduler.add_listener(submitted, EVENT_JOB_SUBMITTED)
    scheduler.resume()
    sys.stdout.write("ready\n")
    figures = [found.get() for _ in range(number)]
    for figure in [max(figures)] if what == "at_once" else figures:
        sys.stdout.write(f"{figure}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # its logs would cost it time
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
