"""The state of every provider, in use or not: a row each, for commands and pages.

The order and the plan come from the settings, everything else from the database.
"""

from collections.abc import Sequence
from typing import Any

from market.providers.base import Provider
from sql.database import Connection


def overview(conn: Connection, providers: Sequence[Provider]) -> list[dict[str, Any]]:
    """List the providers in their order, then others that the database knows (`order` is None).

    used and left: requests of the quota by window (minute, day, month), where it has limits.
    score: 0 to 1, from `answers` decayed answers. errors: by class, in the last day.
    """
    places = {provider.name: place for place, provider in enumerate(providers, 1)}
    plans = {provider.name: provider.capabilities.plan for provider in providers}
    rows = conn.execute(
        "SELECT * FROM provider_overview(%s::text[])", [[provider.name for provider in providers]]
    ).fetchall()
    return [
        {
            "provider": row["name"],
            "order": places.get(row["name"]),
            "plan": plans.get(row["name"], "not in use"),
            **{name: row[name] for name in row if name != "name"},
        }
        for row in rows
    ]
