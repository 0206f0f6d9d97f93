"""Screens of prices: `fetch-prices`, `price-stats`, `providers`, `cross-check`, `validation-report`."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from market.cli.display import Column, View, changed
from market.cli.display.view import Row
from market.cli.views import tickers
from market.cli.views.words import (
    MARKET,
    WORKER,
    count,
    fetch_sentence,
    listed,
    total,
    verb,
)

_WELL = ("fetched", "would fetch", "up to date")


def fetched(rows: Sequence[Row], *, dry_run: bool) -> View:
    """View of `fetch-prices`."""
    text, bad = fetch_sentence(
        rows, _WELL, [("outcomes", "filled outcome", "filled outcomes")], dry_run=dry_run
    )
    return View(
        [
            Column("symbol", rank=0),
            Column("result", "state", rank=0, kind="state"),
            changed("stored", "bars_before", "bars_after", "bars stored", rank=1, kind="count"),
            Column("sessions", "sessions", rank=1),
            Column("inserted", "new", rank=2),
            Column("updated", "changed", rank=2),
            Column("rejected", rank=3),
            Column("outcomes", rank=3),
            Column("reason", "why", rank=1, least=16),
            Column("provider", rank=3),
            Column("from", rank=4),
            Column("to", rank=4),
            Column("first_rejected", rank=5, least=16),
        ],
        sort=lambda row: (row["result"] in _WELL, row["symbol"]),
        summary=text,
        next=[f"{MARKET} providers"] if bad else [],
        record=False,
    )


def stats(rows: Sequence[Row]) -> View:
    """View of `price-stats`."""
    text = tickers.summary(rows, "bars")
    if len(rows) == 1 and "gap_count" in rows[0]:
        row = rows[0]
        gaps = count(row["gap_count"] or 0, "gap")
        word = tickers.trouble(row)
        span = f" of {row['first_bar']} to {row['last_bar']}, {gaps}" if row["bars"] else ""
        state = row["status"] if word in {"", row["status"]} else f"{row['status']}, {word}"
        text = f"{row['symbol']} is {state}: {count(row['bars'], 'bar')}{span}."
    return View(
        [
            Column("symbol", rank=0),
            Column("status", "state", rank=0, kind="state"),
            Column("bars", rank=1, kind="count"),
            Column("last_bar", "newest", rank=1),
            Column("why", rank=1, value=tickers.why, least=16),
            Column("last_close", "close", rank=2, kind="price"),
            Column("first_bar", "oldest", rank=3),
            Column("last_price_update", "stored", rank=3),
            Column("sources", rank=3),
            Column("asset_type", "kind", rank=4, kind="text"),
            Column("calendar", rank=4),
            Column("splits", rank=5),
            Column("dividends", rank=5),
            Column("backfill_status", "fetch", rank=6, kind="state"),
        ],
        sort=tickers.by_trouble,
        summary=text,
        next=_stats_next(rows),
        empty="No ticker.",
    )


def _stats_next(rows: Sequence[Row]) -> list[str]:
    bad = next((row["symbol"] for row in rows if tickers.trouble(row)), None)
    return [f"{WORKER} explain {bad}"] if bad else []


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def provider_state(row: Row, now: dt.datetime) -> str:
    """Say in a word whether a provider can be asked."""
    if row["order"] is None:
        return "not in use"
    if row["paused_until"] and _utc(row["paused_until"]) > now:
        return "paused"
    if 0 in (row["remaining"] or {}).values():
        return "no quota"
    if row["breaker"] not in {None, "closed"}:
        return "failing"
    return "failing" if row["failed_in_row"] else "ok"


def providers(rows: Sequence[Row], *, everything: bool) -> View:
    """View of `providers`: those in use; everything: also the others."""
    now = dt.datetime.now(dt.UTC)
    used = [row for row in rows if row["order"] is not None]
    bad = [row for row in used if provider_state(row, now) != "ok"]
    order = listed(row["provider"] for row in used)
    if not used:
        text = "No provider is in use: set MARKET_PROVIDERS or a key."
    elif bad:
        text = f"{len(bad)} of {count(len(used), 'provider')} {verb(len(bad), 'has', 'have')} trouble: "
        text += listed(f"{row['provider']} {provider_state(row, now)}" for row in bad) + "."
    elif len(used) == 1:
        text = f"{order} can be asked."
    else:
        text = f"All {len(used)} providers can be asked, in the order {order}."

    def reason(row: Row) -> Any:
        state = provider_state(row, now)
        return {"paused": row["pause_reason"], "failing": row["last_error"]}.get(state)

    return View(
        [
            Column("provider", rank=0),
            Column("state", rank=0, kind="state", value=lambda row: provider_state(row, now)),
            Column("order", rank=2, kind="text"),
            Column("last_ok_at", "last success", rank=1),
            Column("why", rank=1, value=reason, least=24, wrap=True),
            Column("paused_until", "until", rank=2),
            Column("remaining", "requests left", rank=2),
            Column("score", rank=3),
            Column("errors", "errors in a day", rank=4),
            Column("plan", rank=4, kind="text"),
        ],
        sort=lambda row: (
            row["order"] is None,
            provider_state(row, now) == "ok",
            row["order"] or 0,
            row["provider"],
        ),
        summary=text,
        fold=None
        if everything
        else lambda row: None if row["order"] is not None else row["provider"],
        folded="not in use",
        record=False,
    )


def cross_checked(rows: Sequence[Row], *, dry_run: bool) -> View:
    """View of `cross-check`."""
    differ = sum(bool(row.get("differ")) for row in rows)
    compared = sum(bool(row.get("compared")) for row in rows)
    text = (
        f"{differ:,} of {count(compared, 'compared symbol')} {verb(differ, 'differs', 'differ')}."
    )
    if dry_run:
        text = f"Dry run: {count(len(rows), 'symbol')} would be compared."
    elif not compared:
        text = "Nothing was compared: no second provider answered."
    return View(
        [
            Column("symbol", rank=0),
            Column("differ", "closes that differ", rank=0),
            Column("compared", "compared", rank=1),
            Column("provider", rank=2),
            Column("source", rank=2),
            Column("other", rank=2),
            Column("days", rank=3),
            Column("reason", "why not", rank=1, least=16),
        ],
        sort=lambda row: (-(row.get("differ") or 0), row["symbol"]),
        summary=text if rows else "",
        empty="Nothing to do: nothing was fetched in the last day.",
        record=False,
    )


def validated(rows: Sequence[Row], about: str, least: float) -> View:
    """View of `validation-report`. least: scores below need attention."""

    def state(row: Row) -> str:
        if row["score"] is None:
            return "no score"
        return "fail" if row["score"] < least else "warn" if row["missing"] else "ok"

    bad = sum(state(row) == "fail" for row in rows)
    stored = f"{total(rows, 'stored'):,} of {count(total(rows, 'expected'), 'session')} stored"
    text = f"{bad:,} of {count(len(rows), 'symbol')} below {least}" if bad else ""
    text = text or f"{count(len(rows), 'symbol')}, none below {least}"
    return View(
        [
            Column("symbol", rank=0),
            Column("state", rank=0, kind="state", value=state),
            Column("stored", rank=1),
            Column("expected", rank=2),
            Column("missing", rank=1),
            Column("score", rank=1),
            Column("rejected", rank=3),
            Column("flagged", rank=3),
            Column("refused", rank=4),
            Column("nulls", rank=4),
            Column("providers", "bars by provider", rank=4),
        ],
        sort=lambda row: (
            1.0 if row["score"] is None else row["score"],
            -row["missing"],
            row["symbol"],
        ),
        summary=f"{text}; {stored}, {about}." if rows else "",
        next=[f"{MARKET} data-sync"] if total(rows, "missing") else [],
        empty="No active ticker.",
        record=False,
    )
