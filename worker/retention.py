"""Retention: how long records of what was done are kept, and the statements that remove older ones.

The sweep runs them a little at a time; the task `enforce_retention` runs them when somebody asks.
Each is bounded, so a long backlog takes several calls.
"""

from typing import Any

from market.settings import RetentionSettings
from sql.database import Database, one

# Events in outbox_history.
_HISTORY_DAYS = 30
# More than a year, so that a year can be compared with the one before.
_RECORD_DAYS = 400
# Ticks of schedules: their runs stay as long as other records.
_TICK_DAYS = 90
# Hourly snapshots of coverage.
_COVERAGE_DAYS = 90


_RECORDS = (
    "sweep_payloads(%s) + sweep_records(%s) + sweep_jobs(%s) + sweep_restores(%s)"
    " + snapshot_history_prune(%s) + sweep_runs_ended(%s) + sweep_ticks(%s)"
)


def parts(settings: RetentionSettings) -> dict[str, tuple[Any, ...]]:
    """Return each part's SQL, which counts what it removed, and its arguments."""
    return {
        "pruned": ("sweep_prune(%s)", _HISTORY_DAYS),
        # Payloads, and records of what was done.
        "records": (
            _RECORDS,
            settings.raw_retention_days,
            _RECORD_DAYS,
            _RECORD_DAYS,
            _RECORD_DAYS,
            settings.snapshot_history_days,
            _RECORD_DAYS,
            _TICK_DAYS,
        ),
        # It takes the hour's snapshot first, which health and metrics read; the count is of old ones.
        "coverage": ("sweep_coverage(%s)", _COVERAGE_DAYS),
        # Months of five-minute bars: the next ones are made, one that is old enough is dropped.
        "partitions": ("sweep_intraday(%s)", settings.intraday_retention_days),
    }


def enforce(database: Database, settings: RetentionSettings) -> dict[str, int]:
    """Remove what is old enough; returns each part's count."""
    removed = {}
    for part, (call, *arguments) in parts(settings).items():
        with database.transaction(seconds=300) as conn:
            removed[part] = int(one(conn, f"SELECT {call} AS n", arguments)["n"])
    return removed
