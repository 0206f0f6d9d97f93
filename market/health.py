"""Health of the market: providers that can be asked, and fresh prices.

A check is a row: `check`, `state` (ok, warn, fail) and `message`, a sentence with its remedy. The
health of the queue is in `worker/queue/status.py`.
"""

from collections.abc import Sequence
from typing import Any

from market.providers import Provider
from market.providers.status import overview
from sql.database import Database, one

# A larger share of tickers without fresh prices is a fault of the whole.
_STALE_SHARE = 0.1
# After as many failures in a row a provider is not well, whatever its breaker says: a bad file of a
# local provider, or bad answers for one symbol, do not open it.
_FAILURES = 5


def providers(database: Database, in_use: Sequence[Provider]) -> list[dict[str, Any]]:
    """Check each provider in use; `fail` when none can be asked."""
    with database.transaction() as conn:
        found = [row for row in overview(conn, in_use) if row["order"] is not None]
        now = one(conn, "SELECT reckoner_now() AS now")["now"]
    # `now`, because a pause that is over stays in the row.
    away = {row["provider"] for row in found if row["paused_until"] and row["paused_until"] > now}
    used_up = {row["provider"] for row in found if 0 in (row["remaining"] or {}).values()}
    failing = {row["provider"] for row in found if row["failed_in_row"] >= _FAILURES}
    none_left = len(away | used_up | failing) == len(found)
    rows = []
    for row in found:
        name = row["provider"]
        bad = name in away or name in used_up or name in failing
        if name in away:
            message = (
                f"paused until {row['paused_until']:%Y-%m-%d %H:%M:%S %Z}: {row['pause_reason']}"
            )
        elif name in failing:
            message = (
                f"{row['failed_in_row']} failures in a row, last: {row['last_error']}; last success"
                f" {row['last_ok_at'] or 'never'}"
            )
        elif bad:
            message = "its quota is used up: SELECT * FROM provider_quota_status"
        else:
            message = f"can be asked, last success {row['last_ok_at'] or 'never'}"
        state = "ok" if not bad else "fail" if none_left else "warn"
        rows.append({"check": f"provider {name}", "state": state, "message": message})
    return rows


def freshness(database: Database) -> dict[str, Any]:
    """Check how many active tickers have fresh prices."""
    with database.transaction() as conn:
        row = one(conn, "SELECT * FROM price_freshness()")
    state, message = "ok", f"{row['tickers']} tickers are up to date"
    if row["lagging"]:
        state = "fail" if row["lagging"] > _STALE_SHARE * row["tickers"] else "warn"
        message = (
            f"{row['lagging']} of {row['tickers']} tickers are stale by more than a session, most"
            f" {row['oldest_symbol']}, whose newest bar is of {row['oldest_bar'] or 'no day'}:"
            " python -m market data-sync"
        )
        if row["silent"]:
            message += (
                f"; for {row['silent']} of them providers answered and have no newer bar:"
                f" python -m market set-ticker {row['silent_symbol']} --status inactive where it is"
                " not traded any more"
            )
    return {"check": "freshness", "state": state, "message": message}
