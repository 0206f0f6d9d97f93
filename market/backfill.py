"""Fetching a ticker's prices: what is missing, who is asked, what an answer means.

Three steps with a seam between them, so that the network is never awaited inside a
transaction: `plan` (one statement), `fetch` (providers, no transaction), `store` (in the
transaction in which the caller ends its event). What `fetch` concludes is one of the five
classes below.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from market import outcomes, prices, sessions
from market.providers import Answer, Bar, Kind, Provider, Request, choice
from market.providers.state import Paused, ask, is_trusted, score
from sql.database import Connection, Database

# How many stored bars a refresh fetches again, to see whether their basis changed.
_OVERLAP_SESSIONS = 5


@dataclass(frozen=True)
class Plan:
    """What one ticker needs. `request` is None when nothing is missing."""

    symbol: str
    calendar: str
    status: str
    name: str  # what providers call it
    asset_type: str  # as its name tells
    request: Request | None
    whole: Request | None  # all that is stored and wanted, for when the basis changed
    last_bar: dt.date | None
    refetch: bool  # somebody asked for the whole range again
    known_silent: bool  # providers answered for days behind its last bar, and had none
    has_sessions: bool  # the calendar is loaded


@dataclass(frozen=True)
class Bars:
    """A provider gave bars (or a good, empty answer for a range behind stored bars)."""

    source: str
    request: Request
    bars: Sequence[Bar]
    rejected: Sequence[str] = ()
    rebased: bool = False
    asset_type: str | None = None
    exchange: str | None = None


@dataclass(frozen=True)
class Unknown:
    """Every provider that gave a verdict said that it does not know the symbol."""

    reason: str


@dataclass(frozen=True)
class Later:
    """Nobody could be asked now; not the ticker's fault. `until` is the database's time."""

    until: dt.datetime
    reason: str


@dataclass(frozen=True)
class Failed:
    """Providers answered, and no answer could be used."""

    reason: str


@dataclass(frozen=True)
class Silent:
    """Every provider answered well and had nothing, where bars were expected.

    A slip of theirs, or a ticker that was never traded in the range: only asking again tells.
    Once the caller has asked often enough, `nothing` is what to store.
    """

    reason: str
    nothing: Bars


Verdict = Bars | Unknown | Later | Failed | Silent


def plan(
    conn: Connection,
    symbol: str,
    backfill_days: int,
    *,
    refetch: bool = False,
    since: dt.date | None = None,
) -> Plan | None:
    """Ask the database what this symbol lacks; None when it is not registered.

    refetch: the whole range again. since: everything since that date, stored or not.
    """
    row = conn.execute(
        "SELECT * FROM ticker_plan(%s, %s, %s, %s)", [symbol, backfill_days, refetch, since]
    ).fetchone()
    if row is None:
        return None
    request = whole = None
    if row["fetch_from"] is not None:
        known = [row[name] for name in ("fetch_from", "asked_from", "first_bar") if row[name]]
        whole = request = _request(conn, row, min(known), row["fetch_to"])
        if row["last_bar"] and row["asked_from"] and row["fetch_from"] > row["asked_from"]:
            # Only the end is missing: ask again for a few stored bars too, to compare them.
            before = [session for session in whole.sessions if session < row["fetch_from"]]
            start = min([row["fetch_from"], row["last_bar"], *before[-_OVERLAP_SESSIONS:]])
            request = _request(conn, row, start, row["fetch_to"])
    return Plan(
        symbol=symbol,
        calendar=row["calendar"],
        status=row["status"],
        name=row["provider_symbol"],
        asset_type=row["asset_type"],
        request=request,
        whole=whole,
        last_bar=row["last_bar"],
        refetch=refetch,
        known_silent=row["asked_to"] is not None
        and (row["last_bar"] is None or row["asked_to"] > row["last_bar"]),
        has_sessions=row["fetch_to"] is not None,
    )


def prepare(
    database: Database, symbol: str, backfill_days: int, *, refetch: bool = False
) -> Plan | None:
    """Plan in a transaction of its own, and load the ticker's calendar where it is missing."""
    for _ in range(2):
        with database.transaction() as conn:
            made = plan(conn, symbol, backfill_days, refetch=refetch)
        if made is None or made.has_sessions or not sessions.load(database, made.calendar):
            break
    return made


def _request(conn: Connection, row: dict[str, Any], start: dt.date, end: dt.date) -> Request:
    rows = conn.execute(
        "SELECT session FROM market_sessions WHERE calendar = %s AND session BETWEEN %s AND %s ORDER BY session",
        [row["calendar"], start, end],
    )
    return Request(row["provider_symbol"], start, end, [each["session"] for each in rows])


def fetch(
    database: Database,
    providers: Sequence[Provider],
    plan: Plan,
    wait: Callable[[float], None],
    *,
    by_merit: bool = False,
) -> Verdict | None:
    """Ask the providers in order until one gives bars; no transaction is open meanwhile.

    Returns None when nothing is missing. Raises psycopg.Error.
    wait: called with seconds until a provider's next free place. by_merit: their scores may
    change the order.
    """
    if not plan.has_sessions:
        return Failed(f"the calendar {plan.calendar} has no sessions")
    if plan.request is None:
        return None
    verdict = _ask_all(database, providers, plan, plan.request, wait, by_merit=by_merit)
    if isinstance(verdict, Bars) and plan.last_bar is not None:
        with database.transaction() as conn:
            changed = _has_new_basis(conn, plan, verdict.bars)
        if changed and plan.request is plan.whole:
            return replace(verdict, rebased=True)
        if changed and plan.whole is not None:
            whole = _ask_all(database, providers, plan, plan.whole, wait, by_merit=by_merit)
            return replace(whole, rebased=True) if isinstance(whole, Bars) else whole
    return verdict


def _has_new_basis(conn: Connection, plan: Plan, bars: Sequence[Bar]) -> bool:
    """Whether these bars cannot stand beside the stored ones.

    A split newer than what is stored changes the basis of all that is stored, a dividend that of
    all adjusted closes; and so does whatever made a provider answer differently for days that
    are stored.
    """
    return any(
        (bar.has_split or bar.has_dividend)
        and plan.last_bar is not None
        and bar.date > plan.last_bar
        for bar in bars
    ) or prices.basis_changed(conn, plan.symbol, bars)


def continuation(
    conn: Connection, plan: Plan, source: str, request: Request, answer: Answer
) -> Bars | None:
    """The bars of an answer that go on where the stored ones end, for one that was not asked alone.

    They pass what those of `fetch` pass. None where a fetch has to decide: no usable bar of the
    newest session, none of the last stored one to compare, another basis.
    """
    if answer.kind is not Kind.OK:
        return None
    usable = _usable(plan, source, request, answer)
    if isinstance(usable, str) or usable.bars[-1].date != request.end:
        return None
    if plan.last_bar not in {bar.date for bar in usable.bars}:
        return None
    if _has_new_basis(conn, plan, usable.bars):
        return None
    return replace(usable, bars=[bar for bar in usable.bars if bar.date > plan.last_bar])


def _ask_all(
    database: Database,
    providers: Sequence[Provider],
    plan: Plan,
    request: Request,
    wait: Callable[[float], None],
    *,
    by_merit: bool,
) -> Verdict:
    heard = _Heard()
    able, heard.aside = _able(database, providers, plan, request, by_merit=by_merit)
    for provider in able:
        answer = ask(database, provider, request, wait)
        if isinstance(answer, Paused):
            heard.paused.append(answer)
            continue
        said = f"{provider.name}: {answer.kind} {answer.message}".strip()
        if answer.kind is Kind.OK:
            usable = _usable(plan, provider.name, request, answer)
            _weigh(database, provider, request, usable)
            if isinstance(usable, Bars):
                return usable
            heard.failed.append(f"{said}, {usable}")
        elif answer.kind is Kind.UNKNOWN:
            trust = is_trusted(database, provider, request, wait)
            if isinstance(trust, Paused):
                heard.paused.append(trust)
            elif trust:
                heard.unknown.append(said)
            else:
                heard.failed.append(f"{said}, nor does it know {provider.canary}")
        else:
            heard.note(provider, answer, said)
    return heard.verdict(plan, request)


@dataclass
class _Heard:
    """What providers said that gave no bars, and what it means that none did."""

    unknown: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    paused: list[Paused] = field(default_factory=list)
    empty: list[tuple[Provider, str]] = field(default_factory=list)
    # Empty, or unknown to a provider that does not say which.
    vague: list[tuple[Provider, str]] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)  # who has no say in it, and why

    def note(self, provider: Provider, answer: Answer, said: str) -> None:
        """Take in an answer that is neither bars nor a verdict."""
        if answer.kind is Kind.EMPTY:
            (self.vague if answer.abstains else self.empty).append((provider, said))
        else:
            (self.aside if answer.abstains else self.failed).append(said)

    def verdict(self, plan: Plan, request: Request) -> Verdict:
        """What follows when everybody was asked."""
        if self.paused:
            # Who could not be asked may know it: no verdict before everyone was.
            soonest = min(self.paused, key=lambda pause: pause.until)
            return Later(soonest.until, soonest.reason)
        silent = [said for _, said in [*self.empty, *self.vague]]
        reasons = "; ".join([*self.failed, *silent, *self.unknown, *self.aside])
        if self.failed or not (self.unknown or silent):
            return Failed(reasons or "no provider to ask")
        # One that knows the symbol outweighs one that may just not know it.
        empty = self.empty if self.unknown else [*self.empty, *self.vague]
        return _nothing(plan, request, empty, reasons, mixed=bool(self.unknown))


def _able(
    database: Database,
    providers: Sequence[Provider],
    plan: Plan,
    request: Request,
    *,
    by_merit: bool,
) -> tuple[Sequence[Provider], list[str]]:
    """Who can have what is asked for, in the order in which to ask; and why the others cannot."""
    lacks = [choice.lack(each, plan.asset_type, plan.calendar, request) for each in providers]
    able = [each for each, lack in zip(providers, lacks, strict=True) if not lack]
    if by_merit and len(able) > 1:
        with database.transaction() as conn:
            able = choice.ranked(conn, able, plan.symbol, request)
    return able, [lack for lack in lacks if lack]


def _weigh(database: Database, provider: Provider, request: Request, usable: Bars | str) -> None:
    if provider.canary is not None:
        bars = usable.bars if isinstance(usable, Bars) else ()
        with database.transaction() as conn:
            score(conn, provider, choice.worth(bars, request))


def _nothing(
    plan: Plan,
    request: Request,
    empty: Sequence[tuple[Provider, str]],
    reasons: str,
    *,
    mixed: bool,
) -> Verdict:
    """What it means that nobody has bars: unknown to all, or empty for some."""
    if not empty:
        return Unknown(reasons)
    nothing = Bars(empty[0][0].name, request, ())
    return nothing if plan.known_silent and not mixed else Silent(reasons, nothing)


def _usable(plan: Plan, source: str, request: Request, answer: Answer) -> Bars | str:
    """The answer's bars, validated, or why none of them can be used."""
    if fault := _other_instrument(plan, answer):
        return fault
    valid = prices.validate(answer.bars, request.sessions)
    if not valid.bars:
        return f"none of {len(answer.bars)} bars is usable: {valid.rejected[0]}"
    rejected = [*answer.rejected, *valid.rejected]
    return Bars(
        source,
        request,
        valid.bars,
        rejected,
        asset_type=answer.asset_type,
        exchange=answer.exchange,
    )


def _other_instrument(plan: Plan, answer: Answer) -> str | None:
    """Why bars under the right name are another instrument's, or None."""
    # BTC is a fund and BTC-USD a coin; a coin's symbol names the currency that it is in.
    is_coin = answer.asset_type == "crypto"
    if answer.asset_type and (
        (plan.asset_type == "crypto" and not is_coin) or (is_coin and "-" not in plan.name)
    ):
        return f"another instrument: {answer.asset_type} where {plan.asset_type} is expected"
    return None


@dataclass
class Summary:
    """What storing a verdict did, for the event's result and for people."""

    symbol: str
    outcome: str
    details: dict[str, Any] = field(default_factory=dict)


def store(conn: Connection, plan: Plan, verdict: Verdict | None) -> Summary:
    """Write what `fetch` concluded, and the outcomes that follow, in the caller's transaction.

    verdict None: nothing was missing. `Later` and `Failed` are noted and decide nothing.
    """
    match verdict:
        case None:
            changed = outcomes.fill_symbol(conn, plan.symbol)
            return Summary(plan.symbol, "up to date", {"outcomes": changed})
        case Bars():
            return _store_bars(conn, plan, verdict)
        case Unknown(reason):
            _verdict(conn, plan.symbol, "invalid", reason, "failed", reason)
            changed = outcomes.fill_symbol(conn, plan.symbol)
            return Summary(plan.symbol, "unknown", {"reason": reason, "outcomes": changed})
        case Later(_, reason):
            _note(conn, plan.symbol, "pending", reason)
            return Summary(plan.symbol, "later", {"reason": reason})
        case Failed(reason) | Silent(reason):
            _note(conn, plan.symbol, "failed", reason)
            outcomes.fill_symbol(conn, plan.symbol)  # what is over by now is awaited, not maturing
            return Summary(plan.symbol, "failed", {"reason": reason})


def _store_bars(conn: Connection, plan: Plan, verdict: Bars) -> Summary:
    counts = prices.store(
        conn,
        plan.symbol,
        verdict.source,
        verdict.bars,
        verdict.request.start,
        verdict.request.end,
        rebased=verdict.rebased,
    )
    _describe(conn, plan.symbol, verdict)
    # Complete ones too where their prices changed, unresolvable ones too where the ticker
    # was thought unknown or somebody asked for everything again.
    everything = verdict.rebased or counts["revised"] > 0 or plan.status != "active" or plan.refetch
    changed = outcomes.fill_symbol(conn, plan.symbol, everything=everything)
    details: dict[str, Any] = {
        "provider": verdict.source,
        "from": str(verdict.request.start),
        "to": str(verdict.request.end),
        "bars": len(verdict.bars),
        **counts,
        "rejected": len(verdict.rejected),
        "rebased": verdict.rebased,
        "outcomes": changed,
    }
    if verdict.rejected:
        details["first_rejected"] = verdict.rejected[0]
    return Summary(plan.symbol, "fetched", details)


def _verdict(conn: Connection, symbol: str, *values: str | None) -> None:
    conn.execute("SELECT registry_verdict(%s, %s, %s, %s, %s)", [symbol, *values])


def _note(conn: Connection, symbol: str, status: str, reason: str) -> None:
    conn.execute(
        "UPDATE ticker_registry SET backfill_status = %s, backfill_error = one_line(%s),"
        " updated_at = reckoner_now() WHERE symbol = %s",
        [status, reason, symbol],
    )


def _describe(conn: Connection, symbol: str, verdict: Bars) -> None:
    """Take over what the provider knows better than the symbol's spelling tells."""
    if verdict.asset_type or verdict.exchange:
        conn.execute(
            "UPDATE ticker_registry SET asset_type = coalesce(%s, asset_type),"
            " exchange = coalesce(%s, exchange) WHERE symbol = %s",
            [verdict.asset_type, verdict.exchange, symbol],
        )
