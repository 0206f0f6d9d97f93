"""The state of the queue and the health of the whole, read from SQL views.

Every front end (commands, pages) reads these two functions, so that all of them show the same.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import psycopg

from sql.database import Connection, Database, error_line, one
from sql.rows import fetch_rows
from sql.schema import migrate
from sql.schema.check import read_only
from sql.unreachable import ConnectionFailed


@dataclass(frozen=True)
class Check:
    """One health check: `ok`, `warn` (look at it) or `fail` (exit 3), with a sentence.

    remedy: the command of ours that mends it or shows more; None where all is well or SQL mends it.
    """

    check: str
    state: str
    message: str
    remedy: str | None = None


# Commands of ours for the checks; the messages have the SQL.
FIVE_MINUTES = "python -m market backfill-5m"
_REMEDIES = {
    "schema": "python -m worker migrate",
    "workers": "python -m worker",
    "backlog": "python -m worker status",
    "dead": "python -m worker requeue --dead",
    "providers": "python -m market providers",
    "alerts": "python -m market alerts list",
    "constituents": "python -m market constituents show",
    "coverage": "python -m market restore-coverage",
    "intraday": FIVE_MINUTES,
    "schedules": "python -m market schedules list",
    "triggers": "python -m worker migrate",
    "source": "python -m worker migrate",
    "sweep": "python -m worker sweep",
}

# The late and the oldest first; `late` counts all that are late.
_STUCK = """
SELECT id, topic, key, status, age, next_at, why, reason, is_late, count(*) FILTER (WHERE is_late) OVER () AS late
FROM outbox_stuck ORDER BY is_late DESC, age DESC, id LIMIT 5"""


def status(conn: Connection) -> dict[str, Any]:
    """Return queue, workers, stuck events, oldest event, pace and ETA as one document."""
    queue = fetch_rows(conn, "SELECT * FROM outbox_status")
    workers = fetch_rows(conn, "SELECT * FROM worker_status ORDER BY name")
    totals = one(
        conn,
        "SELECT (SELECT count(*) FROM outbox WHERE status IN ('pending', 'failed', 'processing')) AS waiting,"
        " (SELECT count(*) FROM outbox WHERE status = 'dead') AS dead,"
        " (SELECT reckoner_now() - min(created_at) FROM outbox WHERE status <> 'dead') AS oldest_age,"
        " (SELECT count(*) FROM outbox_history WHERE finished_at > reckoner_now() - interval '10 minutes') / 10.0"
        " AS events_per_minute",
    )
    pace = float(totals["events_per_minute"])
    totals["events_per_minute"] = pace
    etas = [row["eta"].total_seconds() / 60 for row in queue if row["eta"] is not None]
    totals["eta_minutes"] = round(max(etas), 1) if etas else None
    stuck = fetch_rows(conn, _STUCK)
    totals["late"] = max((row.pop("late") for row in stuck), default=0)
    stuck.columns = tuple(name for name in stuck.columns if name != "late")
    totals["workers"] = sum(row["alive"] for row in workers)
    return {"totals": totals, "queue": queue, "workers": workers, "stuck": stuck}


def live_events(database: Database) -> int:
    """Count the events in the outbox, dead ones included."""
    with database.transaction(seconds=10) as conn:
        return int(one(conn, "SELECT count(*) AS n FROM outbox")["n"])


def health(database: Database) -> list[Check]:
    """Run every check that the database still allows; the first failure may be the last."""
    return [
        replace(check, remedy=None if check.state == "ok" else _remedy(check))
        for check in _checks(database)
    ]


def _remedy(check: Check) -> str | None:
    """The check's command; a restore fetches no five-minute bars."""
    if check.check == "coverage" and FIVE_MINUTES in check.message:
        return FIVE_MINUTES
    return _REMEDIES.get(check.check)


def _checks(database: Database) -> list[Check]:
    try:
        with database.transaction(seconds=10) as conn:
            changes = migrate.pending(conn)
    except migrate.MigrationError as error:
        return [_answers(database), Check("schema", "fail", str(error))]
    except ConnectionFailed as error:
        return [Check("database", "fail", str(error))]
    except psycopg.Error as error:
        return [Check("database", "fail", error_line(error))]
    checks = [_answers(database)]
    wanted = [change.name for change in changes if change.action in {"apply", "replace"}]
    if wanted:
        some = ", ".join(wanted[:3])
        message = f"{len(wanted)} files pending ({some}): run python -m worker migrate"
        return [*checks, Check("schema", "fail", message)]
    checks.append(Check("schema", "ok", "is what this version expects"))
    with database.transaction(seconds=10) as conn:
        rows = conn.execute("SELECT name, state, message FROM reckoner_health()").fetchall()
    return [*checks, *(Check(row["name"], row["state"], row["message"]) for row in rows)]


def _answers(database: Database) -> Check:
    """Check that the database, which answers, can be written to."""
    with database.transaction(seconds=10) as conn:
        why = read_only(conn)
    if why:
        return Check("database", "fail", f"{database.place} answers, and {why}")
    return Check("database", "ok", f"answers: {database.place}")


def as_rows(checks: list[Check]) -> list[dict[str, Any]]:
    """Return checks as rows."""
    return [asdict(check) for check in checks]
