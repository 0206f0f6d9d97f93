"""Outcomes: thin doors to the set-based statements in `sql/functions/50_outcomes.sql`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from market import registry
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

    Cost: a handful of statements, however many predictions. Raises MissingCalendarsError,
    unless check_calendars is False: then such outcomes are unresolvable.
    """
    ids = list(prediction_ids)
    registry.register_named(conn, ids)
    rows = conn.execute(
        "WITH opened AS (SELECT array_agg(prediction_id) AS ids, array_agg(symbol) AS symbols,"
        " bool_or(entry_session IS NULL) AS lost FROM outcomes_open(%s::integer[]))"
        " SELECT * FROM opened WHERE ids IS NOT NULL",
        [ids],
    ).fetchone()
    if rows:
        if check_calendars and rows["lost"] and (missing := registry.missing_calendars(conn, ids)):
            raise MissingCalendarsError(missing)
        conn.execute(
            "SELECT count(*) FROM outcomes_fill(%s::integer[], %s::text[])",
            [rows["ids"], rows["symbols"]],
        )
    wanting = [
        row["symbol"]
        for row in conn.execute(
            "SELECT outcomes_wanting(%s::integer[], %s) AS symbol", [ids, backfill_days]
        )
    ]
    return Batch(_describe(conn, ids), wanting)


def _describe(conn: Connection, ids: list[int]) -> dict[int, Processed]:
    predictions = {number: Processed() for number in ids}
    rows = conn.execute(
        "SELECT k.id, p.prediction_id IS NOT NULL AS exists, coalesce(p.eligible, false) AS eligible,"
        " e.element, e.symbol, o.outcome_state"
        " FROM unnest(%(ids)s::integer[]) AS k(id)"
        " LEFT JOIN prediction_inputs p ON p.prediction_id = k.id"
        " LEFT JOIN prediction_elements(%(ids)s) e ON e.prediction_id = k.id"
        " LEFT JOIN prediction_outcomes o ON o.prediction_id = k.id AND o.symbol = e.symbol",
        {"ids": ids},
    )
    for row in rows:
        done = predictions[row["id"]]
        if not row["exists"]:
            done.reason = "the prediction no longer exists"
        elif not row["eligible"]:
            done.reason = "the prediction is not completed, or names no assets"
        elif row["symbol"] is None:
            done.skipped.append({"element": row["element"][:50], "reason": "not a symbol"})
        elif row["symbol"] not in done.symbols:
            done.symbols.append(row["symbol"])
            done.states[row["outcome_state"]] = done.states.get(row["outcome_state"], 0) + 1
    return predictions


def fill_symbol(conn: Connection, symbol: str, *, everything: bool = False) -> int:
    """Fill a symbol's open outcomes after its prices changed, or every one of ours.

    everything: the basis of the prices changed, or the ticker turned out to exist.
    """
    row = one(conn, "SELECT outcomes_fill_symbol(%s, %s) AS changed", [symbol, everything])
    return int(row["changed"])


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
