"""Every screen of `python -m market` at four widths, with 0, 1 and 500 rows.

A header is never cut, a number, symbol, date or state never cut or folded, no cell shows a dict, and
no line is longer than the screen.
"""

import datetime as dt
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from market.cli.display import Change, View
from market.cli.display.cells import kind_of, text_of
from market.cli.display.layout import lay_out
from market.cli.display.options import Form, Output, _place
from market.cli.display.screen import screen
from market.cli.views import (
    coverage,
    data,
    database,
    executions,
    intraday,
    jobs,
    prices,
    schedules,
    snapshots,
    tickers,
    universe,
)
from market.indicators import COLUMNS
from market.outcomes import STATES
from tests.market import clock_screens
from tests.support.inline_cli import all_commands

Row = dict[str, Any]
NOW = dt.datetime.now(dt.UTC)
PLACE = "db.example.org:5432/forecasts"
WIDTHS = (60, 80, 120, 200)
LONG = "the provider answered 404: no data found, the symbol may be delisted (asked as X.Y)"


@dataclass(frozen=True)
class Screen:
    """A command's screen: how a row is made, and its view of the rows."""

    command: str
    row: Callable[[int], Row]
    view: Callable[[Sequence[Row]], View]
    numbers: tuple[int, ...] = (0, 1, 500)


def symbol(n: int) -> str:
    """Symbols of every length and spelling."""
    return ("A", "BRK-B", "BTC-USD", "^GSPC", "0700.HK", "1000SATS-USD")[n % 6] + (
        str(n) if n > 5 else ""
    )


def ticker(n: int) -> Row:
    bad = n % 3 == 0
    return {
        "symbol": symbol(n),
        "status": ("active", "active", "inactive", "invalid")[n % 4],
        "status_reason": LONG if n % 4 > 1 else None,
        "asset_type": "stock",
        "calendar": ("XNYS", "24/7")[n % 2],
        "first_seen_date": dt.date(2026, 1, 1 + n % 28),
        "source_prediction_id": 2_000_000_000 + n,
        "price_data_start": dt.date(2016, 1, 4),
        "price_data_end": dt.date(2026, 5, 1 + n % 28),
        "total_price_records": n * 2500,
        "backfill_status": "failed" if bad else "completed",
        "backfill_error": LONG if bad else None,
    }


def stats_row(n: int) -> Row:
    row = ticker(n)
    return {
        **{name: row[name] for name in ("symbol", "status", "asset_type", "calendar")},
        "bars": n * 2500,
        "first_bar": dt.date(2016, 1, 4) if n else None,
        "last_bar": dt.date(2026, 5, 1 + n % 28) if n else None,
        "sources": "alpha_vantage,yahoo",
        "splits": n % 3,
        "dividends": n % 40,
        "last_close": 1234567.89 / (n + 1) ** 3,
        "last_price_update": NOW - dt.timedelta(minutes=n * 7),
        "backfill_status": row["backfill_status"],
        "backfill_error": row["backfill_error"],
    }


def single_stats(n: int) -> Row:
    gaps = [dt.date(2025, 1, 1 + day) for day in range(20)]
    return stats_row(n + 1) | {
        "currency": "USD",
        "sessions": 2500,
        "validation_rate": 0.99932,
        "gap_count": len(gaps),
        "gaps": gaps,
    }


def fetched(n: int) -> Row:
    if n % 5 == 4:
        return {"symbol": symbol(n), "result": "later", "reason": LONG}
    return {
        "symbol": symbol(n),
        "result": "fetched",
        "provider": "alpha_vantage",
        "from": "2016-01-04",
        "to": "2026-05-29",
        "bars": 2500,
        "inserted": 2400 + n,
        "updated": 7,
        "revised": 7,
        "rejected": n % 2,
        "rebased": False,
        "outcomes": n,
        "first_rejected": LONG if n % 2 else None,
        "bars_before": 100,
        "bars_after": 2500 + n,
    }


def provider(n: int) -> Row:
    return {
        "provider": ("yahoo", "alpha_vantage", "twelve_data")[n % 3] + (str(n) if n > 2 else ""),
        "order": n + 1 if n % 2 == 0 else None,
        "plan": "free: 25 requests a day",
        "breaker": "closed" if n % 4 else "open",
        "paused_until": NOW + dt.timedelta(minutes=3) if n % 8 == 0 else None,
        "pause_reason": LONG if n % 8 == 0 else None,
        "used": {"minute": 3, "day": 20},
        "remaining": {"minute": 5, "day": n % 3},
        "last_ok_at": NOW - dt.timedelta(hours=n),
        "score": 0.98765,
        "answers": 123.456,
        "errors": {"down": 1, "refused": 2},
        "last_error": LONG,
        "failed_in_row": n % 2,
    }


def validated(n: int) -> Row:
    return {
        "symbol": symbol(n),
        "expected": 2516,
        "stored": 2516 - n,
        "missing": n,
        "nulls": 0,
        "rejected": n % 7,
        "flagged": n % 5,
        "refused": 0,
        "completeness": 1 - n / 2516,
        "score": None if n % 9 == 8 else 1 - n / 1000,
        "providers": {"yahoo": 1000, "csv": n},
    }


def filled(n: int) -> Row:
    bad = n % 3 == 0
    return {
        "symbol": symbol(n),
        "result": "failed" if bad else "fetched",
        "bars": None if bad else 1_200_000_000,
        "inserted": 0 if bad else 1_200_000_000,
        "updated": 0,
        "missing": 0 if bad else n,
        "reason": LONG if bad else None,
        "rejected": 0,
        "provider": None if bad else "twelve_data",
        "from": "2026-01-02",
        "to": "2026-01-09",
        "revised": 0 if bad else 1,
        "first_revised": None if bad else "2026-01-09 14:30: close 100.5, 100.25 was stored",
    }


def cross_checked(n: int) -> Row:
    return {
        "symbol": symbol(n),
        "provider": "yahoo",
        "other": "alpha_vantage",
        "compared": 21,
        "differ": n % 3,
        "reason": LONG if n % 4 == 0 else None,
    }


def job(n: int) -> Row:
    left = (0, 0, 7)[n % 3]
    return {
        "job": n + 1,
        "kind": ("sync", "backfill")[n % 2],
        "symbols": 12_500,
        "range_from": dt.date(2016, 1, 4),
        "range_to": dt.date(2026, 5, 29),
        "done": 12_490,
        "failed": n % 4,
        "left": left,
        "rows": 31_250_000,
        "rows_per_second": 12345.678,
        "eta": dt.timedelta(minutes=40) if left else None,
        "providers": {"yahoo": 12_000, "alpha_vantage": 490},
        "workers": n % 2,
        "waits_for": LONG if left else None,
        "created_at": NOW - dt.timedelta(hours=n),
        "settled_at": None if left else NOW - dt.timedelta(minutes=n),
    }


def job_symbol(n: int) -> Row:
    state = ("done", "failed", "waiting", "parked", "cancelled", "working")[n % 6]
    return {
        "symbol": symbol(n),
        "state": state,
        "want_from": dt.date(2016, 1, 4),
        "rows": 2500,
        "provider": "alpha_vantage",
        "reason": LONG if state != "done" else None,
        "settled_at": NOW - dt.timedelta(minutes=n),
    }


def status_set(n: int) -> Row:
    return {
        "symbol": symbol(n),
        "status_before": "active",
        "status_after": "inactive",
        "predictions": 12_000,
        "outcomes": 12_345,
        "outcomes_changed": 1234,
        "unresolvable_before": 0,
        "unresolvable_after": 1234,
        "events_cancelled": 1,
        "dry_run": bool(n),
    }


def remapped(_n: int) -> Row:
    return {
        "old": "1000SATS-USD",
        "new": "SATS-USD",
        "provider_before": "1000SATS-USD",
        "provider_after": "SATS-USD",
        "calendar_before": "24/7",
        "calendar_after": "XNYS",
        "predictions": 12,
        "naming_both": 0,
        "outcomes": 12_345,
        "entries_moved": 3,
        "outcomes_changed": 12_345,
        "complete_before": 12_000,
        "complete_after": 0,
        "bars_set_aside": 2500,
        "bars_taken": 0,
        "events_cancelled": 0,
        "dry_run": True,
    }


def calculated(n: int) -> Row:
    row: Row = {"symbols": 12, "changed": 12_345, "dry_run": bool(n)}
    row |= {f"{name}_before": 100_000 for name in STATES}
    return row | {f"{name}_after": 112_345 for name in STATES}


def pipeline(_n: int) -> Row:
    return {
        "predictions": 12_345,
        "left": 3,
        "parked": 1,
        "outcomes": 40_000,
        "dry_run": False,
        **dict.fromkeys(STATES, 10_000),
    }


def stage(n: int) -> Row:
    name = ("no event, from before the installation", "in flight", "dead", "matured t30")[n % 4]
    return {
        "stage": name,
        "predictions": n * 1000,
        "outcomes": n * 1500 if n % 4 == 3 else None,
        "oldest": NOW - dt.timedelta(days=n),
        "oldest_prediction": 2_000_000_000 + n,
    }


def table(n: int) -> Row:
    return {
        "name": f"data_quality_log_{n}",
        "rows": n * 12345,
        "is_estimate": n % 2 == 0,
        "bytes": 10 ** (n % 13),
    }


def size(n: int) -> Row:
    return {
        "table": f"market_price_revisions_{n}",
        "bytes": 10 ** (n % 13),
        "index_bytes": 10**5,
        "live_rows": n * 10**6,
        "dead_rows": n,
        "last_vacuum": NOW - dt.timedelta(hours=n),
    }


def check(n: int) -> Row:
    return {
        "check": f"provider alpha_vantage {n}",
        "state": ("fail", "warn", "ok")[n % 3],
        "message": LONG,
    }


def difference(n: int) -> Row:
    return {
        "object": f"index prediction_outcomes.prediction_outcomes_open_by_symbol_{n}",
        "difference": "missing",
        "level": ("warn", "danger")[n % 2],
        "risk": LONG,
        "repair": ("by hand", "additive")[n % 2],
    }


def repaired(_n: int) -> Row:
    return {"differences_before": 12, "applied": 11, "failed": 1, "differences_after": 1}


def applied(n: int) -> Row:
    return {"object": difference(n)["object"], "result": ("done", LONG)[n % 2]}


def backup(_n: int) -> Row:
    name = "/var/backups/reckoner/2026-05-29-before-the-upgrade.dump"
    return {"backup": "pg_dump", "name": name, "taken_at": NOW, "bytes": 1_234_567_890}


def outcome(n: int) -> Row:
    known = n % 5 < 3
    return {
        "prediction_id": 2_000_000_000 - n,
        "symbol": symbol(n),
        "horizon": "t30",
        "moment": NOW,
        "prediction_date": NOW.date(),
        "entry_session": dt.date(2026, 5, 1),
        "exit_session": dt.date(2026, 6, 12),
        "sentiment": "bullish",
        "confidence": 0.85,
        "confidence_tier": "0.8-0.9",
        "sector": None,
        "model": "a-model-of-a-long-name",
        "state": "known" if known else "pending",
        "entry_price": 123456.78,
        "exit_price": 234567.89,
        "return_pct": -123.456 if known else None,
        "total_return_pct": None,
        "correct": n % 2 == 0 if known else None,
        "bullish_correct": None,
        "pnl_usd": -1234.5,
        "benchmark_return_pct": 1.5,
        "excess_pct": -124.95,
        "total_excess_pct": None,
    }


def snapshot(n: int) -> Row:
    numbers = {name: 12345.678 for name, kind in COLUMNS.items() if kind == "double precision"}
    counts = {name: 9 for name, kind in COLUMNS.items() if kind == "integer"}
    flags = {name: True for name, kind in COLUMNS.items() if kind == "boolean"}
    return {
        "symbol": symbol(n),
        "analysis_type": "technical_snapshot",
        "current_price": 123456.78,
        "as_of_timestamp": NOW,
        "analysis_timestamp": NOW,
        "expiry_timestamp": NOW,
        "is_due": True,
        "due_reason": "the bars of SPY changed",
        "as_of_date": NOW.date(),
        "bars": 2500,
        "benchmark": "SPY",
        "benchmark_as_of": None,
        "name": LONG,
        "sector": "Information Technology",
        "industry": "Consumer Electronics",
        "market_cap": 3.4e12,
        "engine_version": "1",
        **numbers,
        **counts,
        **flags,
        "rsi": 71.23,
        "ma_bucket": "LEADING",
        "stage_label": "2",
        "volatility_level": "EXTREME",
        "volatility_trend": "CONTRACTING",
    }


def recomputed(_n: int) -> Row:
    return {
        "symbols": 5000,
        "stored": 4999,
        "failed": 1,
        "first_failed": f"AAPL: {LONG}",
        "due_before": 3,
        "due_after": 1,
        "dry_run": False,
    }


def recorded(n: int) -> Row:
    day = NOW.date() - dt.timedelta(days=n)
    return {"as_of": day, "recorded": 4990, "already": 7, "due": n % 2, "never": 3}


def registered(n: int) -> Row:
    return {"symbol": symbol(n), "result": ("registered", "known", "rejected")[n % 3]}


def imported(n: int) -> Row:
    bad = n == 1
    error = {"line": 12_345, "order_id": "ORD-2026-05-29-000017", "reason": LONG}
    return {
        "fills": 12_345,
        "added": 0 if bad else 12_000,
        "unchanged": 0 if bad else 345,
        "refused": 100 if bad else 0,
        "errors": [error] * 50 if bad else [],
        "ignored": ["broker", "account"],
        "before": 100_000,
        "after": 100_000 if bad else 112_000,
        "dry_run": n == 2,
    }


def fill_costs(n: int) -> Row:
    few = n % 5 == 4
    return {
        "group": symbol(n),
        "fills": 12_345,
        "priced": 12_000,
        "mean_bps": 123.456 - n,
        "mean_low_bps": None if few else -1234.5,
        "mean_high_bps": None if few else 1234.5,
        "median_bps": 3.2,
        "median_low_bps": None if few else -1.25,
        "median_high_bps": None if few else 4.5,
        "interval": "none" if few else "bootstrap",
        "weeks": 3 if few else 52,
        "weighted_bps": -4.25,
        "currency": ("USD", "mixed")[n % 2],
        "slippage_cost": None if n % 2 else 1_234_567.89,
        "commission": None if n % 2 else 1234.5,
        "cost": None if n % 2 else 1_235_802.39,
        "ranged": 12_000,
        "range_cost": 0.625,
        "range_low": 0.5,
        "range_high": 0.75,
        "outside": n % 3,
        "predicted": 10_000,
        "known": 9_000,
        "right": 0.55,
        "return_bps": 45.6,
    }


def interval(n: int) -> Row:
    counts = {"fresh": 4_980, "behind": 12, "stale": n, "missing": 5}
    return {"interval": ("1d", "5m")[n % 2], "symbols": 5_000, **counts, "percent": 99.8}


def stale(n: int) -> Row:
    return {
        "symbol": symbol(n),
        "last": dt.date(2026, 5, 1 + n % 28) if n % 3 else None,
        "sessions_behind": n * 7 if n % 3 else None,
        "bucket": (">48h" if n % 3 else "none"),
        "reason": LONG,
        "remedy": ("python -m market backfill-stale-daily", None)[n % 2],
    }


def covered(_n: int) -> Row:
    return {
        "symbol": "1000SATS-USD",
        "tracked": True,
        "calendar": "24/7",
        "newest_session": dt.date(2026, 5, 28),
        "last_daily": dt.date(2026, 5, 1),
        "sessions_behind": 27,
        "daily_bucket": ">48h",
        "last_5m": NOW.isoformat(),
        "m5_bars": 288,
        "m5_expected": 288,
        "m5_bucket": "<=24h",
        "provider": "alpha_vantage",
        "backfill_error": LONG,
        "reason": LONG,
        "remedy": "python -m market backfill-stale-daily",
    }


def restore_step(n: int) -> Row:
    return {
        "restore": 2_000_000,
        "number": n,
        "step": ("constituents", "daily", "coverage")[n % 3],
        "state": ("done", "failed", "running", "pending")[n % 4],
        "tries": n % 3,
        "result": {"job": 7, "symbols": n * 1000, "new_symbols": 12} if n % 4 == 0 else {},
        "error": LONG if n % 4 == 1 else None,
        "started_at": NOW - dt.timedelta(hours=30, minutes=n) if n % 4 < 3 else None,
        "finished_at": NOW - dt.timedelta(hours=30) if n % 4 < 2 else None,
    }


def tracked(n: int) -> Row:
    bad = n % 3 == 0
    reasons = ("prediction", "index:NASDAQ100", "index:SP500", "held", "manual")
    return {
        "symbol": symbol(n),
        "asset_class": ("stock", "etf", "crypto", "index", "commodity")[n % 5],
        "active": True,
        "reasons": list(reasons[n % 5 :]),
        "date_added": dt.date(2026, 1, 1 + n % 28),
        "last_backfill": NOW - dt.timedelta(hours=n) if n else None,
        "backfill_status": "failed" if bad else "completed",
        "backfill_error": LONG if bad else None,
        "record_count": n * 2500,
        "first_date": dt.date(2016, 1, 4) if n else None,
        "last_date": dt.date(2026, 5, 1 + n % 28) if n else None,
        "validation_rate": 0.9875 if n % 2 else None,
        "gaps_detected": n % 4,
    }


def index(n: int) -> str:
    return ("SP500", "NASDAQ100", "DOW30")[n] if n < 3 else f"INDEX{n}"


def index_state(n: int) -> Row:
    bad = n % 3 == 0
    return {
        "name": index(n),
        "title": "Dow Jones Industrial Average",
        "members": 503 * (n > 0),
        "former": n,
        "known_since": NOW - dt.timedelta(days=400) if n else None,
        "refreshed_at": NOW - dt.timedelta(days=n) if n else None,
        "provider": "wikipedia" if n else None,
        "tried_at": NOW,
        "failure": f"fmp: plan HTTP 402: Restricted Endpoint; wikipedia: {LONG}" if bad else None,
        "failed_since": NOW - dt.timedelta(days=3) if bad else None,
        "least": 490,
        "most": 510,
        "most_leaving": 10,
    }


def refreshed(n: int) -> Row:
    bad = n % 4 == 1
    return {
        "index": index(n),
        "result": "refused" if bad else "refreshed",
        "fetched": 503,
        "inserted": 0 if bad else n % 7,
        "reactivated": n % 2,
        "inactivated": 0 if bad else n % 3,
        "registered": n % 5,
        "members_before": 503,
        "members_after": 503 if bad else 504,
        "provider_used": None if bad else ("fmp", "wikipedia", "csv")[n % 3],
        "fallback_used": n % 3 > 0,
        "said": f"fmp: plan HTTP 402: Restricted Endpoint; wikipedia: {LONG}" if n % 2 else "",
        "payload": n,
    }


def member(n: int) -> Row:
    return {
        "symbol": symbol(n),
        "name": "International Flavors & Fragrances, Inc. (Class B)",
        "sector": "Information Technology",
        "industry": "Semiconductor Materials & Equipment",
        "since": NOW - dt.timedelta(days=400 - n % 300),
        "until": NOW - dt.timedelta(days=2) if n % 9 == 8 else None,
        "source": "wikipedia",
    }


def holding_imported(n: int) -> Row:
    change = ("added", "changed", "removed", "same")[n % 4]
    return {
        "account": ("main", "an account with a long name 0123456789")[n % 2],
        "symbol": symbol(n),
        "before": None if change == "added" else Decimal("12345.678"),
        "after": None
        if change == "removed"
        else Decimal(n)
        if change == "changed"
        else Decimal("12345.678"),
        "change": change,
    }


def one(view: Callable[[Row], View]) -> Callable[[Sequence[Row]], View]:
    """The view of a command whose screen is one row."""
    return lambda rows: view(dict(rows[0]))


ONE = (1,)
SCREENS = [
    Screen("register-tickers", registered, lambda rows: tickers.registered(rows, dry_run=False)),
    Screen("ticker-registry", ticker, tickers.registry),
    Screen("set-ticker", status_set, one(tickers.status_set), ONE),
    Screen("remap-ticker", remapped, one(tickers.remapped), ONE),
    Screen("tracked", tracked, lambda rows: universe.tracked(rows, new=False)),
    Screen("tracked", tracked, lambda rows: universe.tracked(rows, new=True)),
    Screen("import-holdings", holding_imported, lambda rows: universe.imported(rows, dry_run=True)),
    Screen("constituents refresh", refreshed, lambda rows: universe.refreshed(rows, dry_run=False)),
    Screen("constituents show", index_state, universe.indexes),
    Screen("constituents show", member, lambda rows: universe.members(rows, index_state(1), None)),
    Screen(
        "constituents show", member, lambda rows: universe.members(rows, index_state(3), NOW.date())
    ),
    Screen("fetch-prices", fetched, lambda rows: prices.fetched(rows, dry_run=False)),
    Screen("price-stats", stats_row, prices.stats),
    Screen("price-stats", single_stats, prices.stats, ONE),
    Screen("providers", provider, lambda rows: prices.providers(rows, everything=False)),
    Screen("providers", provider, lambda rows: prices.providers(rows, everything=True)),
    Screen("backfill-5m", filled, lambda rows: intraday.filled(rows, dry_run=False)),
    Screen("cross-check", cross_checked, lambda rows: prices.cross_checked(rows, dry_run=False)),
    Screen("validation-report", validated, lambda rows: prices.validated(rows, "2025", 0.6)),
    Screen("backfill", job, one(jobs.job), ONE),
    Screen("backfill-all-missing", lambda n: job(n + 2), one(jobs.job), ONE),
    Screen("data-sync", lambda n: job(n + 1), one(jobs.job), ONE),
    Screen("update-all-prices", lambda n: job(n) | {"job": None}, one(jobs.job), ONE),
    Screen("backfill-stale-daily", lambda n: job(n + 3) | {"kind": "stale"}, one(jobs.job), ONE),
    Screen("coverage", interval, coverage.intervals),
    Screen("coverage", stale, lambda rows: coverage.stale(rows, len(rows) + 7 * bool(rows))),
    Screen("coverage", covered, one(coverage.symbol), ONE),
    Screen("restore-coverage", restore_step, coverage.restored),
    Screen("backfill-status", job, jobs.listing),
    Screen("backfill-status", job_symbol, lambda rows: jobs.symbols(rows, 7)),
    Screen("snapshot", snapshot, one(snapshots.snapshot), ONE),
    Screen("refresh-indicators", recomputed, one(snapshots.refreshed), ONE),
    Screen("record-history", recorded, lambda rows: snapshots.recorded(rows, dry_run=False)),
    Screen("outcomes", outcome, data.outcomes),
    Screen("calculate-outcomes", calculated, one(data.calculated), ONE),
    Screen("auto-pipeline", pipeline, one(data.pipeline), ONE),
    Screen("import-fills", imported, one(lambda row: executions.imported(row, "fills.csv")), ONE),
    Screen(
        "import-fills",
        lambda n: imported(n + 1),
        one(lambda row: executions.imported(row, "fills.csv")),
        ONE,
    ),
    Screen(
        "execution-report",
        fill_costs,
        lambda rows: executions.costs(dict(rows[0]) if rows else None, "symbol", "t7"),
    ),
    Screen("stats", table, data.tables),
    Screen("processing-stats", stage, lambda rows: data.stages(rows, {"complete": 12_345})),
    Screen("health-check", check, database.checks),
    Screen("db check", check, database.checks),
    Screen("db check", size, database.sizes),
    Screen("db audit", difference, lambda rows: database.differences(rows, "As expected.")),
    Screen("db repair", repaired, one(database.repaired), ONE),
    Screen("db repair", applied, database.applied),
    Screen("db backup", backup, one(database.backed_up), ONE),
    *(Screen(*each) for each in clock_screens.SCREENS),
]
# Screens that are not rows of a view: reports and the live page have tests of their own.
OTHERS = {
    "accuracy-report": "tests/evaluation",
    "calibration-report": "tests/evaluation",
    "watch": "tests/market/test_watch.py",
    "payload": "bytes",
    "db roles": "SQL",
    "schedules export": "JSON",
}
CASES = [(each, number) for each in SCREENS for number in each.numbers]


@pytest.fixture(autouse=True)
def _from_a_database() -> Iterator[None]:
    token = _place.set(PLACE)
    yield
    _place.reset(token)


def lines_of(rows: Sequence[Row], view: View, width: int, output: Output) -> list[str]:
    """The lines of a screen."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    file = io.StringIO()
    page = screen(rows, keys, view, output, width)
    Console(file=file, width=10_000 if output.wide else width, highlight=False).print(page)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def uncut(row: Mapping[str, Any], view: View) -> Iterator[str]:
    """The texts of a row that may be left out with their column, and never be cut."""
    for column in view.columns:
        value = column.of_row(row)
        if column.least is None and value is not None and not isinstance(value, dt.datetime):
            yield text_of(value, column.kind or kind_of(column.key, [value]), NOW)


def test_every_command_has_its_screen_here() -> None:
    commands = {" ".join(words[1:]) for words, _ in all_commands() if words[0] == "market"}
    assert commands == {each.command for each in SCREENS} | OTHERS.keys()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("case", "number"), CASES, ids=[f"{each.command}-{number}" for each, number in CASES]
)
def test_a_screen_can_be_read(case: Screen, number: int, width: int) -> None:
    # The layout of 50 rows is that of 500, which take seconds to draw.
    rows = [case.row(n) for n in range(number if width == 80 else min(number, 50))]
    view = case.view(rows)

    lines = lines_of(rows, view, width, Output())

    assert lines
    assert max(map(cell_len, lines)) <= width
    assert not set("{}[]") & set("".join(lines))
    assert len(view.next) <= 2
    if number:
        assert view.summary
        assert PLACE in " ".join(lines)
    else:
        assert view.summary or view.empty != View().empty
    keys = list(dict.fromkeys(key for row in rows for key in row))
    shown = [row for row in rows if view.fold is None or view.fold(row) is None]
    found = lay_out(shown, keys, view, width, NOW)
    if shown and found.fits and len(shown) > 1:
        header = next(line for line in lines if line.startswith(found.columns[0].column.header))
        assert header.split() == " ".join(each.column.header for each in found.columns).split()
        for each in found.columns:
            if each.column.least is None:
                assert each.width == max(map(cell_len, [each.column.header, *each.texts]))
        # What answers is there also where it is narrow.
        wanted = {column.key for column in view.columns if column.rank == 0}
        assert wanted <= {each.column.key for each in found.columns}


def test_ticks_stay_a_table_beside_a_long_reason() -> None:
    rows = [clock_screens.tick(n) for n in range(4)]
    lines = lines_of(rows, schedules.ticks(rows), 80, Output())
    assert sum(line.startswith("tick ") for line in lines) == 1


@pytest.mark.parametrize("case", SCREENS, ids=lambda each: each.command)
def test_wide_shows_every_value(case: Screen) -> None:
    rows = [case.row(n) for n in range(3 if len(case.numbers) > 1 else 1)]
    view = case.view(rows)
    text = "\n".join(lines_of(rows, view, 80, Output(Form.WIDE)))
    for row in rows:
        for value in uncut(row, view):
            assert " ".join(value.split()) in " ".join(text.split())


@pytest.mark.parametrize("case", SCREENS, ids=lambda each: each.command)
def test_a_view_knows_its_rows(case: Screen) -> None:
    """A key that was renamed below would else vanish from the screen without a word."""
    rows = [case.row(n) for n in range(9)]
    keys = {key for row in rows for key in row}
    # Keys that only a dry run, or one symbol, has.
    sometimes = {"sessions", "days", "source"}
    for column in case.view(rows[:1]).columns:
        assert column.value or column.key in keys | sometimes
        assert set(column.of) <= keys | {"dry_run"}


def test_what_needs_attention_comes_first() -> None:
    rows = [ticker(n) for n in (1, 3, 2)]
    lines = lines_of(rows, tickers.registry(rows), 80, Output())
    assert lines[0].startswith("1 of 3 tickers needs attention: 1 invalid")
    assert lines[2 if "symbol" in lines[1] else 3].startswith(symbol(3))


def test_a_remap_to_a_symbol_without_prices_says_what_is_lost() -> None:
    row = remapped(0)
    assert "would lose 2,500 bars and 12,000 complete outcomes" in tickers.remapped(row).summary
    assert tickers.destroys(row | {"bars_taken": 2400}) == ""
    assert isinstance(tickers.remapped(row).columns[2].of_row(row), Change)
