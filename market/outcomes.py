"""Outcomes: calls of the set-based statements in `sql/functions/5*_outcomes*.sql`.

All rules are SQL, so that the trigger, the worker and psql compute the same. Python adds only what
SQL cannot do: bounded batches, and two transactions at once.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sql.database import Connection, Database, one, trying

STATES = ("awaiting_prices", "maturing", "complete", "unresolvable")
# Transactions of `calculate` at once, and outcomes in each: rows are locked for less than a second.
_CONNECTIONS, _BATCH = 2, 50_000
# Why prediction_elements() leaves a prediction to a later batch.
_DEFERRED = ("names many", "does not fit")


@dataclass
class Processed:
    """The result of processing one prediction. reason: why there was nothing to do.

    skipped: at most 50 elements, each with its reason. skipped_counts: all of them, by reason.
    """

    symbols: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    skipped_counts: Counter[str] = field(default_factory=Counter)
    states: dict[str, int] = field(default_factory=dict)
    reason: str | None = None

    @property
    def skipped_total(self) -> int:
        """Count the elements that were not processed, listed or not."""
        return self.skipped_counts.total() or len(self.skipped)


class MissingCalendarsError(Exception):
    """Predictions need calendars that are not loaded; nothing was changed."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"calendars not loaded: {', '.join(names)}")
        self.names = names


@dataclass(frozen=True)
class Batch:
    """The results of a batch of predictions, and the symbols that need a provider.

    waiting: per symbol the predictions that wait for its prices. new: symbols that were registered.
    deferred: predictions that did not fit and were not processed. wide: those of them with more
    than 20 symbols, which all others precede. hidden: predictions that cannot be seen and may exist,
    each with the reason (source_hides() in 12_source.sql).
    """

    predictions: dict[int, Processed]
    waiting: dict[str, list[int]]
    new: set[str]
    deferred: set[int]
    wide: set[int]
    hidden: dict[int, str]

    @property
    def wanting(self) -> list[str]:
        """The symbols that need a provider, sorted."""
        return sorted(self.waiting)


def process(
    conn: Connection,
    prediction_ids: Sequence[int],
    backfill_days: int,
    *,
    check_calendars: bool = True,
    max_symbols: int = 100,
    budget: int | None = None,
    bulk: Sequence[int] | None = None,
) -> Batch:
    """Register, open and fill what these predictions name, in the caller's transaction.

    One statement for any number of predictions. Raises MissingCalendarsError, unless
    check_calendars is False: then such outcomes are unresolvable.
    max_symbols: of one prediction. budget: the most symbols of all together, unless one alone has
    more. bulk: the predictions that may name more than 20; None: all may.
    """
    ids = list(prediction_ids)
    predictions = {number: Processed() for number in ids}
    missing: list[str] = []
    waiting: dict[str, list[int]] = {}
    new: set[str] = set()
    deferred: set[int] = set()
    wide: set[int] = set()
    hidden: dict[int, str] = {}
    for row in conn.execute(
        "SELECT * FROM outcomes_process(p_prediction_ids => %s::bigint[], p_backfill_days => %s,"
        " p_check_calendars => %s, p_max_symbols => %s, p_budget => %s, p_bulk => %s::bigint[])",
        [ids, backfill_days, check_calendars, max_symbols, budget, bulk],
    ):
        if row["missing_calendar"] is not None:
            missing.append(row["missing_calendar"])
            continue
        if row["deferred"]:
            if row["reason"] not in _DEFERRED:
                hidden[row["prediction_id"]] = row["reason"]
                continue
            deferred.add(row["prediction_id"])
            if row["reason"] == "names many":
                wide.add(row["prediction_id"])
            continue
        _note(predictions[row["prediction_id"]], row)
        if row["wanting"]:
            waiting.setdefault(row["symbol"], []).append(row["prediction_id"])
        if row["is_new"]:
            new.add(row["symbol"])
    if missing:
        raise MissingCalendarsError(missing)
    return Batch(predictions, waiting, new, deferred, wide, hidden)


def _note(done: Processed, row: dict[str, Any]) -> None:
    """Add the result of one element of a prediction's assets."""
    if row["nothing"]:
        done.reason = row["nothing"]
    elif row["symbol"] is None:
        if row["element"] is None:  # the count of a long list, of which some elements are shown
            done.skipped_counts[row["reason"]] = row["skipped"]
        else:
            done.skipped.append({"element": row["element"], "reason": row["reason"]})
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
    """Fill a symbol's outcomes that time, or newer bars, can have changed."""
    return int(one(conn, "SELECT outcomes_fill_due(%s) AS changed", [symbol])["changed"])


@dataclass
class Calculated:
    """The result of `calculate`: changed outcomes per symbol, and counts per state."""

    changed: dict[str, int]
    before: Counter[str]
    after: Counter[str]


def calculate(database: Database, *, force: bool, dry_run: bool) -> Calculated:
    """Fill all open outcomes from the stored prices, or with `force` all of ours.

    Each batch of symbols is its own transaction, so that rows are locked for a short time. Two
    batches run at once where the pool has two connections; they have no row in common. dry_run
    rolls each back; the counts are true all the same.
    """
    with database.transaction() as conn:
        rows = conn.execute(
            "SELECT symbol, count(*) AS n FROM prediction_outcomes"
            " WHERE outcome_state IN ('awaiting_prices', 'maturing') OR (%s AND engine_version IS NOT NULL)"
            " GROUP BY symbol ORDER BY symbol",
            [force],
        ).fetchall()
        before = _counts(conn)

    def fill(symbols: list[str]) -> tuple[dict[str, int], Counter[str]]:
        changed, moved = dict.fromkeys(symbols, 0), Counter[str]()
        with database.transaction(seconds=300) as conn, trying(conn, dry_run=dry_run):
            if dry_run:
                moved.subtract(_counts(conn, symbols))
            for row in conn.execute(
                "SELECT * FROM outcomes_fill_symbols(%s, %s)", [symbols, force]
            ):
                changed[row["symbol"]] = row["changed"]
            if dry_run:  # counted now, because the rollback undoes it
                moved.update(_counts(conn, symbols))
        return changed, moved

    done = Calculated({}, before, before.copy())
    with ThreadPoolExecutor(min(_CONNECTIONS, database.size)) as threads:
        # When one fails, `map` cancels those that have not begun.
        for changed, moved in threads.map(fill, _batches(rows)):
            done.changed |= changed
            done.after.update(moved)
    if not dry_run:
        with database.transaction() as conn:
            done.after = _counts(conn)
    return done


def _batches(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Group the symbols, in order, into batches of about _BATCH outcomes, or of one symbol."""
    batches: list[list[str]] = []
    room = 0
    for row in rows:
        if row["n"] > room:
            batches.append([])
            room = _BATCH
        batches[-1].append(row["symbol"])
        room -= row["n"]
    return batches


def count_ours(database: Database) -> int:
    """Count the outcomes of ours, which `calculate` may rewrite with force."""
    with database.transaction() as conn:
        query = "SELECT count(*) AS n FROM our_outcomes"
        return int(one(conn, query)["n"])


def _counts(conn: Connection, symbols: list[str] | None = None) -> Counter[str]:
    """Count outcomes per state: of all, or of the ones of some symbols that may change.

    Rows of other programs without a state are left out.
    """
    query = "SELECT outcome_state AS state, count(*) AS n FROM prediction_outcomes WHERE outcome_state IS NOT NULL"
    rows = (
        conn.execute(f"{query} GROUP BY 1")
        if symbols is None
        # The same predicate as the partial index has; otherwise it is not used.
        else conn.execute(
            f"{query} AND entry_session IS NOT NULL AND symbol = ANY (%s) GROUP BY 1", [symbols]
        )
    )
    return Counter({row["state"]: row["n"] for row in rows})
