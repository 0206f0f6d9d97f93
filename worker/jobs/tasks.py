"""The tasks: thin calls of what the commands call.

`job_tasks()` in `sql/functions/66_runs.sql` has the same names and sentences, with the parameters that
are checked before a run is queued; `tests/worker/test_jobs.py` compares the two. A task is repeated when
its worker dies, so each can be run again.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from market import coverage, restore
from market.prices import cross_check as checking
from market.prices import jobs, sync
from market.prices.ingestion import Run
from market.prices.intraday import backfill as intraday
from market.snapshots import Benchmark, history, refresh
from sql.errors import ReckonerError
from sql.rows import fetch_rows
from worker import retention
from worker.jobs.work import Work

# Seconds between two looks at a job that workers fetch.
_LOOK_SECONDS = 1.0
_LAST_SESSIONS = 200


def accuracy_digest(work: Work) -> None:
    """Summarise how often predictions came true."""
    days = int(work.params.get("days", 7))
    with work.database.transaction(seconds=300) as conn:
        rows = fetch_rows(conn, "SELECT * FROM accuracy_digest(%s)", [days])
    for row in rows:
        work.progress(**{f"{row['horizon']}_{name}": row[name] for name in ("judged", "right")})


def backfill_5m(work: Work) -> None:
    """Fetch five-minute bars of tracked symbols."""
    symbols = work.params.get("symbols") or intraday.tracked(work.database)
    work.progress(done=0, total=len(symbols))
    how = intraday.How(
        work.worker,
        work.market.intraday_retention_days,
        work.market.chooses,
        intraday.LEAVES,
        Run(f"run {work.run}", work.market.raw_retention_days),
    )
    stored = intraday.run(
        work.database,
        work.providers,
        symbols,
        work.wait,
        how,
        n_days=int(work.params.get("n_days", intraday.NIGHT_SESSIONS)),
        batch_size=int(work.params.get("batch_size", intraday.BATCH_SIZE)),
    )
    number, reasons = 0, []
    for number, each in enumerate(stored, 1):
        work.count(each.result)
        work.progress(done=number)
        if each.result in {"later", "failed"}:
            reasons.append(f"{each.symbol}: {each.details['reason']}")
    # Some symbols have none; of all of them that is a provider that is away.
    if reasons and len(reasons) == number:
        raise ReckonerError(f"no symbol of {number} has an answer; {reasons[0]}")


def backfill_last_200(work: Work) -> None:
    """Fetch the last 200 sessions of tracked symbols."""
    symbols = work.params.get("symbols") or _column(work, "SELECT symbol FROM tracked_symbols")
    _job(work, "backfill", symbols, _LAST_SESSIONS * 365 // 252 + 10)


def backfill_new_tracked(work: Work) -> None:
    """Fetch prices of tracked symbols that have none."""
    symbols = _column(work, "SELECT symbol FROM tracked_new")
    _job(work, "missing", symbols, work.market.backfill_days)


def backfill_stale_daily(work: Work) -> None:
    """Fetch prices of tracked symbols that are behind."""
    _job(work, "stale", None, work.market.backfill_days)


def cross_check(work: Work) -> None:
    """Compare stored closes with a second provider."""
    sample = int(work.params.get("sample", work.market.market_cross_check_sample or 20))
    rows = checking.run(work.database, work.providers, sample, work.wait)
    work.progress(
        symbols=len(rows),
        compared=sum(row["compared"] or 0 for row in rows),
        differ=sum(row["differ"] or 0 for row in rows),
    )


def daily_sync(work: Work) -> None:
    """Fetch the newest session of all tickers."""
    for done in sync.after_close(
        work.database, work.providers, work.market.market_cross_check_sample, work.wait
    ):
        work.progress(**{done.calendar: done.topped_up + done.enqueued})


def enforce_retention(work: Work) -> None:
    """Remove records and five-minute bars that are old enough."""
    work.progress(**retention.enforce(work.database, work.market))


def monitor_coverage(work: Work) -> None:
    """Record how complete and how fresh the bars are."""
    with work.database.transaction(seconds=60) as conn:
        report = coverage.report(conn, refresh=True)
    work.progress(label=report["status"]["label"], symbols=report["symbols"])


def recompute_indicators(work: Work) -> None:
    """Compute the snapshot of each tracked symbol."""
    symbols = work.params.get("symbols")
    with work.database.transaction(seconds=300) as conn:
        total = refresh.mark(conn, symbols, f"run {work.run}")
    work.progress(done=0, total=total)
    done = refresh.due(
        work.database,
        Benchmark(work.market.benchmark_symbol),
        show=lambda so_far: work.progress(done=so_far.stored),
    )
    work.progress(done=done.stored, failed=len(done.failed))
    if done.failed:
        name, reason = min(done.failed.items())
        raise ReckonerError(f"{len(done.failed)} symbols failed; {name}: {reason}")


def record_history(work: Work) -> None:
    """Record the snapshots of the day."""
    text = work.params.get("as_of")
    with work.database.transaction(seconds=300) as conn:
        rows = history.record(conn, dt.date.fromisoformat(text) if text else None)
    work.progress(days=len(rows), recorded=sum(row["recorded"] for row in rows))


def refresh_index_constituents(work: Work) -> None:
    """Fetch the members of the followed indexes."""
    index = work.params.get("index")
    work.progress(**restore.refresh_constituents(work.database, _means(work), index))


def restore_coverage(work: Work) -> None:
    """Bring constituents, bars, indicators and history up to date."""
    rows = restore.run(work.database, _means(work), lambda _: work.progress())
    for row in rows:
        work.progress(**{row["step"]: row["state"]})
    failed = [row for row in rows if row["state"] == "failed"]
    if failed:
        raise ReckonerError(f"{failed[0]['step']}: {failed[0]['error']}")


def update_tracked(work: Work) -> None:
    """Register symbols that an index has or that are held."""
    symbols = _column(work, "SELECT symbol FROM tracked_register() AS symbol")
    work.progress(registered=len(symbols))


TASKS: Mapping[str, Callable[[Work], None]] = {
    task.__name__: task
    for task in (
        accuracy_digest, backfill_5m, backfill_last_200, backfill_new_tracked, backfill_stale_daily,
        cross_check, daily_sync, enforce_retention, monitor_coverage, recompute_indicators,
        record_history, refresh_index_constituents, restore_coverage, update_tracked,
    )
}  # fmt: skip


def _column(work: Work, query: str) -> list[str]:
    with work.database.transaction(seconds=300) as conn:
        return [str(row["symbol"]) for row in fetch_rows(conn, query)]


def _job(work: Work, kind: jobs.Kind, symbols: Sequence[str] | None, days: int) -> None:
    """Write a job of prices, and follow it while workers fetch; it goes on where the run ends."""
    with work.database.transaction(seconds=300) as conn:
        rows = fetch_rows(conn, "SELECT (reckoner_now() AT TIME ZONE 'UTC')::date AS today")
        today = rows[0]["today"]
        job = jobs.start(conn, kind, symbols, today - dt.timedelta(days=days), today)
    row = _follow(work, job)
    if row["failed"]:
        raise ReckonerError(f"job {job}: {row['failed']} of {row['symbols']} symbols failed")


def _follow(work: Work, job: int) -> dict[str, Any]:
    while True:
        with work.database.transaction() as conn:
            row = jobs.progress(conn, job)
        work.progress(
            job=job,
            done=row["symbols"] - row["left"],
            total=row["symbols"],
            failed=row["failed"],
            bars=int(row["rows"]),
        )
        if not row["left"]:
            return row
        work.wait(_LOOK_SECONDS)


def _means(work: Work) -> restore.Means:
    from market.universe.constituents.sources import build  # noqa: PLC0415 - brings httpx

    return restore.Means(
        sources=lambda: build(work.market),
        wait=work.wait,
        follow=lambda job: _follow(work, job),
        benchmark=work.market.benchmark_symbol,
        backfill_days=work.market.backfill_days,
        keep_days=work.market.raw_retention_days,
    )
