"""Storing five-minute bars of many symbols at once, by whole columns.

One statement for a batch, because one for each symbol costs several times as much as COPY. A failure
is noted for its symbol, which waits before it is asked for again.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from market.prices import ingestion
from market.prices.ingestion import Run
from market.prices.intraday.plan import IntradayPlan
from market.prices.intraday.validation import answered_to
from market.prices.results import Deferred, Fetched, Result, UnknownSymbol
from market.providers import Provider
from market.providers.base import IntradayBar
from sql.columns import Floats, Integers
from sql.database import Connection, one

# An unknown symbol, or one without a bar in finished sessions, is asked for again after hours.
_SHORT, _LONG = dt.timedelta(minutes=5), dt.timedelta(hours=6)
# Answers to a poll that are no news: a bar that is not there yet, a provider that was not asked.
_USUAL = {"ok", "empty", "paused"}


@dataclass
class Stored:
    """A summary of what was stored of one symbol. result: of the fetch, in a word."""

    symbol: str
    result: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Good:
    """Bars that were fetched for a plan, as `store_bars` takes them."""

    plan: IntradayPlan
    source: str
    bars: Sequence[IntradayBar]
    asked: Sequence[dt.date]
    raw_hash: str | None = None
    answered_to: dt.datetime | None = None
    is_missed: bool = False


def store(
    conn: Connection,
    results: Sequence[tuple[IntradayPlan, Result]],
    providers: Sequence[Provider],
    run: Run,
) -> list[Stored]:
    """Store results in the caller's transaction: bars, coverage, flags, failures, the audit.

    The plans are of different symbols. Returns a summary of each, in their order. A poll whose answer
    is clean is not recorded in the audit, and its payload is not kept: a symbol has 78 of them in a
    session, and the night's fetch has all its bars again.
    """
    settle = {
        each.name: offer.settle_seconds
        for each in providers
        if (offer := each.capabilities.intraday)
    }
    good = {
        plan.symbol: _good(plan, result, settle)
        for plan, result in results
        if isinstance(result, Fetched)
    }
    counts = store_bars(conn, list(good.values())) if good else {}
    done = []
    for plan, result in results:
        if isinstance(result, Fetched):
            entry = Stored(plan.symbol, "fetched", _details(result, counts[plan.symbol]))
        else:
            entry = _failed(conn, plan, result)
        _record(conn, plan, result, entry, run)
        done.append(entry)
    compare(conn, [each for each in good.values() if not each.plan.is_poll])
    return done


def _good(plan: IntradayPlan, fetched: Fetched, settle: Mapping[str, int]) -> Good:
    request = plan.request
    if request is None:
        raise ValueError(f"{plan.symbol}: a result without a request")
    until, is_missed = answered_to(request, fetched.intraday, settle.get(fetched.source, 0))
    bars = fetched.intraday
    # The provider may not go back as far as it was asked; the first bar shows how far.
    first = bars[0].ts if bars else request.now
    end = fetched.request.end
    asked = [each.date for each in request.sessions if each.closes_at > first and each.date <= end]
    raw_hash = fetched.payload.sha256 if fetched.payload else None
    return Good(
        plan, fetched.source, bars, asked, raw_hash, until, is_missed=is_missed and plan.is_poll
    )


def store_bars(conn: Connection, batches: Sequence[Good]) -> dict[str, dict[str, Any]]:
    """Store bars of different symbols; returns for each its counts and notes of changed closes."""
    bars = [bar for each in batches for bar in each.bars]
    columns = list(zip(*bars, strict=True)) or [()] * len(IntradayBar._fields)
    starts = [int(ts.timestamp()) for ts in columns[0]]
    covered = [_covered(each) for each in batches]
    rows = conn.execute(
        "SELECT * FROM intraday_store(p_symbols => %s, p_sources => %s, p_hashes => %s::text[],"
        " p_from => %s::date[], p_to => %s::date[], p_answered => %s::timestamptz[],"
        " p_missed => %s::boolean[], p_counts => %s, p_firsts => %s, p_lasts => %s,"
        " p_numbers => %s, p_starts => %s, p_opens => %s, p_highs => %s, p_lows => %s,"
        " p_closes => %s, p_volumes => %s)",
        [
            [each.plan.symbol for each in batches],
            [each.source for each in batches],
            [each.raw_hash for each in batches],
            [days[0] if days else None for days in covered],
            [days[-1] if days else None for days in covered],
            [each.answered_to for each in batches],
            [each.is_missed for each in batches],
            Integers([len(each.bars) for each in batches]),
            Integers([int(each.bars[0].ts.timestamp()) if each.bars else None for each in batches]),
            Integers(
                [int(each.bars[-1].ts.timestamp()) if each.bars else None for each in batches]
            ),
            Integers([n for n, each in enumerate(batches, 1) for _ in each.bars]),
            Integers(starts),
            *map(Floats, columns[1:5]),
            Integers(columns[5]),
        ],
    ).fetchall()
    return {row["symbol"]: row for row in rows}


def _covered(good: Good) -> list[dt.date]:
    """Return the sessions that become coverage: those that have settled, and not of a poll."""
    settled = good.plan.settled
    if settled is None or good.plan.is_poll:
        return []
    return [day for day in good.asked if day <= settled]


def compare(conn: Connection, batches: Sequence[Good]) -> int:
    """Compare the bars of finished sessions with daily bars; returns how many differ."""
    days = [day for each in batches for day in _covered(each)]
    if not days:
        return 0
    symbols = [each.plan.symbol for each in batches]
    query = "SELECT intraday_compare(%s, %s, %s) AS flagged"
    return int(one(conn, query, [symbols, min(days), max(days)])["flagged"])


def _details(fetched: Fetched, row: Mapping[str, Any]) -> dict[str, Any]:
    details = {
        "provider": fetched.source,
        "from": str(fetched.request.start),
        "to": str(fetched.request.end),
        "bars": len(fetched.intraday),
        "inserted": row["inserted"],
        "updated": row["updated"],
        "missing": fetched.missing,
        "rejected": len(fetched.rejected),
    }
    if row["revised"]:
        details |= {"revised": row["revised"], "first_revised": row["notes"][0]}
    return details


def _failed(conn: Connection, plan: IntradayPlan, result: Result) -> Stored:
    """Note why there are no bars, and until when the symbol waits."""
    until = result.until if isinstance(result, Deferred) else None
    reason = result.reason if not isinstance(result, Fetched) else ""
    longest = _LONG if isinstance(result, UnknownSymbol) or not plan.is_poll else _SHORT
    conn.execute("SELECT intraday_failed(%s, %s, %s, %s)", [plan.symbol, reason, until, longest])
    word = {Deferred: "later", UnknownSymbol: "unknown"}.get(type(result), "failed")
    return Stored(plan.symbol, word, {"reason": reason})


def _record(conn: Connection, plan: IntradayPlan, result: Result, entry: Stored, run: Run) -> None:
    """Add the attempts to the ingestion audit, with the bars that changed as a flag."""
    reports = [each.report for each in result.attempts if each.report]
    if "first_revised" in entry.details and reports:
        more = f"{entry.details['revised']} stored closes changed"
        reports[-1].flags += [more, str(entry.details["first_revised"])]
    is_clean = all(each.kind in _USUAL for each in result.attempts) and all(
        report.grade == "accepted" for report in reports
    )
    if plan.is_poll and is_clean:
        return
    ids = ingestion.keep(conn, result.attempts, run)
    ingestion.record(conn, plan.symbol, result.attempts, ids, run, entry.result, entry.details)
