"""Outcomes: thin doors to the set-based statements in `sql/functions/50_outcomes.sql`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sql.database import Connection, Database, one

STATES = ("awaiting_prices", "maturing", "complete", "unresolvable")


@dataclass
class Processed:
    """What processing one prediction did. `reason` is set when there was nothing to do."""

    symbols: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    reason: str | None = None


class MissingCalendarsError(Exception):
    """Predictions need calendars that are not loaded; nothing was decided about them."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"calendars not loaded: {', '.join(names)}")
        self.names = names


@dataclass(frozen=True)
class Batch:
    """Per prediction what was done, and which symbols need a provider for it."""

    predictions: dict[int, Processed]
    wanting: list[str]


def process(
    conn: Connection,
    prediction_ids: Sequence[int],
    backfill_days: int,
    *,
    check_calendars: bool = True,
) -> Batch:
    """Register, open and fill everything that these predictions name, in the caller's transaction.

    Cost: one statement, however many predictions. Raises MissingCalendarsError,
    unless check_calendars is False: then such outcomes are unresolvable.
    """
    ids = list(prediction_ids)
    predictions = {number: Processed() for number in ids}
    missing: list[str] = []
    wanting: dict[str, None] = {}
    for row in conn.execute(
        "SELECT * FROM outcomes_process(%s::integer[], %s, %s)",
        [ids, backfill_days, check_calendars],
    ):
        if row["missing_calendar"]:
            missing.append(row["missing_calendar"])
            continue
        _note(predictions[row["prediction_id"]], row)
        if row["wanting"]:
            wanting[row["symbol"]] = None
    if missing:
        raise MissingCalendarsError(missing)
    return Batch(predictions, sorted(wanting))


def _note(done: Processed, row: dict[str, Any]) -> None:
    """Take over what became of one element of a prediction's assets."""
    if row["nothing"]:
        done.reason = row["nothing"]
    elif row["symbol"] is None:
        done.skipped.append({"element": row["element"][:50], "reason": "not a symbol"})
    elif row["symbol"] not in done.symbols:
        done.symbols.append(row["symbol"])
        done.states[row["outcome_state"]] = done.states.get(row["outcome_state"], 0) + 1


def fill_symbol(conn: Connection, symbol: str, *, everything: bool = False) -> int:
    """Fill a symbol's open outcomes after its prices changed, or every one of ours.

    everything: the basis of the prices changed, or the ticker turned out to exist.
    """
    row = one(conn, "SELECT outcomes_fill_symbol(%s, %s) AS changed", [symbol, everything])
    return int(row["changed"])


def fill_due(conn: Connection, symbol: str) -> int:
    """Fill those of a symbol's outcomes that time, or bars behind its last one, can have changed."""
    return int(one(conn, "SELECT outcomes_fill_due(%s) AS changed", [symbol])["changed"])


@dataclass
class Calculated:
    """What computing outcomes changed: per symbol, and outcomes per state before and after."""

    changed: dict[str, int]
    before: Counter[str]
    after: Counter[str]


def calculate(database: Database, *, force: bool, dry_run: bool) -> Calculated:
    """Fill all open outcomes from the stored prices, or with `force` all of ours.

    A symbol at a time, each its own transaction, so that nobody waits long for a row.
    dry_run rolls each back; the counts are true all the same.
    """
    with database.transaction() as conn:
        rows = conn.execute(
            "SELECT DISTINCT symbol FROM prediction_outcomes"
            " WHERE outcome_state IN ('awaiting_prices', 'maturing') OR (%s AND engine_version IS NOT NULL)"
            " ORDER BY symbol",
            [force],
        ).fetchall()
        before = _counts(conn, None)
    done = Calculated({}, before, before.copy())
    for symbol in [row["symbol"] for row in rows]:
        with (
            database.transaction(seconds=300) as conn,
            conn.transaction(force_rollback=dry_run),
        ):
            done.after.subtract(_counts(conn, symbol))
            done.changed[symbol] = fill_symbol(conn, symbol, everything=force)
            done.after.update(_counts(conn, symbol))
    return done


def count_ours(database: Database) -> int:
    """Number of outcomes that are not another program's: what `calculate` may rewrite with force."""
    with database.transaction() as conn:
        query = "SELECT count(*) AS n FROM prediction_outcomes WHERE engine_version IS NOT NULL"
        return int(one(conn, query)["n"])


def _counts(conn: Connection, symbol: str | None) -> Counter[str]:
    """Number of outcomes per state; rows of other programs without a state are left out."""
    rows = conn.execute(
        "SELECT outcome_state AS state, count(*) AS n FROM prediction_outcomes"
        " WHERE outcome_state IS NOT NULL AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s) GROUP BY 1",
        {"symbol": symbol},
    )
    return Counter({row["state"]: row["n"] for row in rows})
