"""Daily sync: the newest sessions of every ticker, once after each session's close.

Providers that give many symbols in one request are asked first. The symbols that are left become a
job of ticker events (`job_wants` in sql/functions/62_jobs.sql). The session up to which a calendar
was synchronised is a row, so that only one worker synchronises it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from market.prices import bulk, cross_check
from market.providers import Provider
from market.providers.base import batching
from market.snapshots import Benchmark
from sql.database import Database, one

# How long a claim of a calendar is valid; it is renewed before each wait.
_CLAIM_SECONDS = 600


@dataclass(frozen=True)
class Synced:
    """One calendar's sync. topped_up: symbols stored at once; enqueued: symbols with an event."""

    calendar: str
    topped_up: int
    enqueued: int


def has_shortcut(providers: Sequence[Provider], sample: int) -> bool:
    """Tell whether a sync asks providers itself; otherwise it is one statement."""
    return sample > 0 or any(batching(provider) for provider in providers)


def top_up(
    database: Database,
    providers: Sequence[Provider],
    symbols: Sequence[str] | None,
    wait: Callable[[float], None],
    benchmark: Benchmark | None = None,
) -> int:
    """Fetch the newest session of many symbols from providers that have it in few requests.

    symbols None: all active tickers. Returns how many were stored; 0 where no provider has
    batches. benchmark: of their snapshots, see `bulk.top_up`. Raises psycopg.Error.
    """
    if not any(batching(provider) for provider in providers):
        return 0
    with database.transaction() as conn:
        row = one(
            conn,
            "SELECT * FROM sync_lacking(%s::text[])",
            [None if symbols is None else list(symbols)],
        )
    if not row["symbols"]:
        return 0
    done = bulk.top_up(database, providers, row["session"], row["symbols"], wait, benchmark)
    return len(done.stored)


def after_close(
    database: Database,
    providers: Sequence[Provider],
    sample: int,
    wait: Callable[[float], None],
    benchmark: Benchmark | None = None,
) -> list[Synced]:
    """Synchronise the calendars with a finished session, except those another worker claimed.

    sample: symbols to compare with a second provider afterwards. Raises psycopg.Error and
    every error of `wait`; then the claim expires, and another sync fetches what is missing.
    """
    with database.transaction() as conn:
        due = conn.execute("SELECT * FROM sync_claim(%s)", [_CLAIM_SECONDS]).fetchall()

    def renew_and_wait(seconds: float) -> None:
        with database.transaction() as conn:
            conn.execute("SELECT sync_renew(%s, %s)", [calendars, seconds + _CLAIM_SECONDS])
        wait(seconds)

    calendars = [row["calendar"] for row in due]
    done = []
    for row in due:
        stored = 0
        if row["calendar"] == bulk.CALENDAR:
            stored = top_up(database, providers, None, renew_and_wait, benchmark)
        with database.transaction(seconds=300) as conn:
            started = one(conn, "SELECT sync_start(%s, %s) AS n", [row["calendar"], row["session"]])
        done.append(Synced(row["calendar"], stored, started["n"]))
    if due and sample:
        cross_check.run(database, providers, sample, renew_and_wait)
    return done


def by_events(database: Database) -> int:
    """Write events for all due calendars, claimed or not; returns how many symbols they name."""
    with database.transaction(seconds=300) as conn:
        row = one(
            conn,
            "SELECT coalesce(sum(sync_start(calendar, session)), 0)::integer AS n FROM sync_due(true)",
        )
    return int(row["n"])
