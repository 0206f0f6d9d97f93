"""A backfill from plan to store, for callers that take a ticker through all of it.

Four steps, so that nothing slow happens inside a transaction: `prepare` or `plan` (read-only),
`fetch` (providers, no transaction), `snapshot` (indicators, no transaction), `store` (in the
transaction in which the caller ends its event).
"""

from market.prices.fetch import continuation, fetch
from market.prices.plan import calendars_missing, plan, prepare
from market.prices.results import (
    Deferred,
    Failed,
    Fetched,
    NoData,
    Plan,
    Result,
    UnknownSymbol,
)
from market.prices.store import Summary, snapshot, store

__all__ = [
    "Deferred", "Failed", "Fetched", "NoData", "Plan", "Result", "Summary", "UnknownSymbol",
    "calendars_missing", "continuation", "fetch", "plan", "prepare", "snapshot", "store",
]  # fmt: skip
