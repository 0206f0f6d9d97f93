"""What `status` and `health` say: the read side of the queue, from its views."""

from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from sql import migrate
from sql.database import Connection, Database, error_line, one

# An event that was ready this long without being claimed is late.
_LATE_SECONDS = 300


@dataclass(frozen=True)
class Check:
    """One health check: `ok`, `warn` (look at it) or `fail` (exit 3), with a sentence."""

    check: str
    state: str
    message: str


def status(conn: Connection) -> dict[str, Any]:
    """Queue, workers, oldest event, pace and ETA, as one document."""
    queue = conn.execute("SELECT * FROM outbox_status").fetchall()
    workers = conn.execute("SELECT * FROM worker_status ORDER BY name").fetchall()
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
    totals["eta_minutes"] = round(totals["waiting"] / pace, 1) if pace else None
    return {"totals": totals, "queue": queue, "workers": workers}


def live_events(database: Database) -> int:
    """Number of events in the outbox, parked ones included."""
    with database.transaction(seconds=10) as conn:
        return int(one(conn, "SELECT count(*) AS n FROM outbox")["n"])


def health(database: Database) -> list[Check]:
    """Every check, also when the first already fails."""
    try:
        database.connect().close()  # at once, where the pool would be patient
        with database.transaction(seconds=10) as conn:
            changes = migrate.pending(conn)
    except migrate.MigrationError as error:
        return [Check("database", "ok", "answers"), Check("schema", "fail", str(error))]
    except psycopg.Error as error:
        return [Check("database", "fail", error_line(error))]
    checks = [Check("database", "ok", "answers")]
    if changes:
        missing = ", ".join(change.name for change in changes[:3])
        return [
            *checks,
            Check("schema", "fail", f"{missing} pending: run python -m worker migrate"),
        ]
    checks.append(Check("schema", "ok", "is what this version expects"))
    with database.transaction(seconds=10) as conn:
        row = one(
            conn,
            "SELECT (SELECT count(*) FROM worker_status WHERE alive) AS alive,"
            " (SELECT count(*) FROM worker_status"
            "  WHERE alive AND mode = 'polling' AND asleep_until IS NULL) AS polling,"
            " (SELECT count(*) FROM outbox WHERE status = 'dead') AS dead,"
            " (SELECT extract(epoch FROM reckoner_now() - min(available_at)) FROM outbox"
            "  WHERE status IN ('pending', 'failed') AND available_at <= reckoner_now())::float8 AS oldest,"
            " (SELECT string_agg(name || ' until ' || paused_until || ': ' || pause_reason, '; ')"
            "  FROM reckoner_providers WHERE paused_until > reckoner_now()) AS paused",
        )
    if row["alive"]:
        checks.append(Check("workers", "ok", f"{row['alive']} alive"))
    else:
        checks.append(Check("workers", "fail", "no worker alive: start one with python -m worker"))
    if row["polling"]:
        checks.append(
            Check(
                "listening",
                "warn",
                f"{row['polling']} workers hear no notifications and poll; is LISTEN_DATABASE_URL direct?",
            )
        )
    else:
        checks.append(Check("listening", "ok", "every worker hears itself"))
    late = row["oldest"] is not None and row["oldest"] > _LATE_SECONDS
    checks.append(
        Check(
            "backlog",
            "fail" if late else "ok",
            f"oldest ready event waits for {row['oldest'] or 0:.0f} s",
        )
    )
    checks.append(
        Check(
            "dead",
            "warn" if row["dead"] else "ok",
            f"{row['dead']} parked events, outbox_stuck says why",
        )
    )
    checks.append(
        Check("providers", "warn" if row["paused"] else "ok", row["paused"] or "none is paused")
    )
    return checks


def as_rows(checks: list[Check]) -> list[dict[str, Any]]:
    """Checks as rows for the console."""
    return [asdict(check) for check in checks]
