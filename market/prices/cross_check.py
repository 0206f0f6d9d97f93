"""Cross-check: a sample of the bars fetched lately, compared with another provider's closes.

Differences are kept with both values (`provider_disagreements`) and change no price: only a person
can decide which of the two is right.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from market.prices.rows import is_price
from market.providers import Kind, Provider, Request, selection
from market.providers.limits import Paused, attempt
from sql.database import Database
from sql.rows import Rows, fetch_rows


def run(
    database: Database, providers: Sequence[Provider], sample: int, wait: Callable[[float], None]
) -> Rows:
    """Compare up to `sample` symbols with the first other provider; returns a row for each.

    Each day has another sample. `compared` counts sessions, `differ` those that disagree.
    Raises psycopg.Error.
    """
    compared = (_compare(database, providers, row, wait) for row in sampled(database, sample))
    return Rows(compared, ("symbol", "provider", "other", "compared", "differ", "reason"))


def sampled(database: Database, sample: int) -> Rows:
    """List today's sample: symbols with their names at providers, their source and days."""
    with database.transaction() as conn:
        return fetch_rows(conn, "SELECT * FROM cross_check_sample(%s)", [sample])


def _compare(
    database: Database,
    providers: Sequence[Provider],
    row: dict[str, Any],
    wait: Callable[[float], None],
) -> dict[str, Any]:
    days: list[dt.date] = row["days"]
    request = Request(row["provider_symbol"], days[0], days[-1], days)
    pair = {"symbol": row["symbol"], "provider": row["source"], "other": None}
    reason = "no other provider has it"
    for other in providers:
        if other.name == row["source"] or selection.lack(
            other, row["asset_type"], row["calendar"], request
        ):
            continue
        answer = attempt(database, other, request, wait)
        if isinstance(answer, Paused) or answer.kind is not Kind.OK:
            words = answer.reason if isinstance(answer, Paused) else answer.message
            reason = f"{other.name}: {words}"
            continue
        bars = [bar for bar in answer.bars if is_price(bar.close)]
        with database.transaction() as conn:
            found = conn.execute(
                "SELECT * FROM cross_check(%s, %s, %s::date[], %s::float8[])",
                [
                    row["symbol"],
                    other.name,
                    [bar.date for bar in bars],
                    [bar.close for bar in bars],
                ],
            ).fetchone()
        return pair | {"other": other.name} | (found or {}) | {"reason": None}
    return pair | {"compared": 0, "differ": 0, "reason": reason}
