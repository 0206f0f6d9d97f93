"""`worker explain`: the state of a prediction, a ticker, an event, a run or a schedule, and its history."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from market.cli.completion import complete_symbol
from market.cli.console import LARGEST_ID, JsonOption, command_database
from market.cli.display import Column, View, draws, emit, emit_tables
from market.cli.display.cells import relative
from market.cli.display.options import asked
from sql.database import Database
from sql.errors import InvalidInput
from worker.queue import explain as explaining

Rows = Sequence[Mapping[str, Any]]


def explain(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[PREDICTION_ID | SYMBOL]",
            autocompletion=complete_symbol,
            help="The prediction or ticker to explain.",
        ),
    ] = None,
    event: Annotated[
        int | None,
        typer.Option(min=-LARGEST_ID, max=LARGEST_ID, help="Explain this event instead."),
    ] = None,
    run: Annotated[
        int | None,
        typer.Option(min=-LARGEST_ID, max=LARGEST_ID, help="Explain this run of a task instead."),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(metavar="NAME", help="Explain this schedule instead.")
    ] = None,
    story: Annotated[
        bool, typer.Option("--story", help="Show everything that happened, in order.")
    ] = False,
    sources: Annotated[
        bool, typer.Option("--sources", help="Show where the prices came from.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Explain why a prediction is late.

    On a terminal its state, what it waits for, and its horizons; with --story its history. A pipe and
    --json always get the history. The same in SQL: explain_prediction(id), explain_ticker(symbol),
    explain_event(id), explain_run(id), explain_schedule(name). Examples: `python -m worker explain 17`,
    `python -m worker explain AAPL --story`, `python -m worker explain --schedule daily-sync`.
    """
    if sum(each is not None for each in (what, event, run, schedule)) != 1:
        raise InvalidInput(
            "give one of a prediction's id, a symbol, --event ID, --run ID and --schedule NAME"
        )
    if story and sources:
        raise InvalidInput("give one of --story and --sources")
    with command_database() as database:
        rows: Rows = explaining.explain(
            database, what=what, event=event, run=run, schedule=schedule
        )
        name = _named(what) if what is not None else _other(event, run, schedule)
        if sources:
            emit(explaining.sources(rows), _story(f"Sources of {name}"), as_json=as_json)
        elif as_json or not draws() or asked().wide or asked().columns:
            emit(rows, _story(f"Story of {name}"), as_json=as_json)
        elif story or what is None:
            last = f"{_capital(name)}: {rows[-1]['story']}" if what is None else ""
            view = _story(last or f"Story of {name}")
            emit(explaining.without_repeats(rows), view, as_json=False)
        elif explaining.is_prediction(what):
            _prediction(database, int(str(what)), rows)
        else:
            _ticker(name, rows)


def _named(what: str) -> str:
    return f"prediction {what}" if explaining.is_prediction(what) else what.strip().upper()


def _other(event: int | None, run: int | None, schedule: str | None) -> str:
    if event is not None:
        return f"event {event}"
    return f"run {run}" if run is not None else f"schedule {schedule}"


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _story(summary: str) -> View:
    return View(
        [
            Column("at", "when", rank=0),
            Column("subject", rank=0),
            Column("story", rank=0, least=30, wrap=True),
        ],
        summary=f"{summary}.",
        record=False,
    )


def _prediction(database: Database, number: int, rows: Rows) -> None:
    """Show what a prediction says, its state, what it waits for, and its horizons."""
    asked_for = explaining.asked(database, number)
    states = explaining.states(rows)
    waits = explaining.waits(rows)
    due = min((row["at"] for row in waits if row["at"]), default=None)
    said = ", ".join(asked_for.says[:_MOST_ASSETS])
    more = len(asked_for.says) - _MOST_ASSETS
    said += f" and {more} more" if more > 0 else ""
    state = ", ".join(
        state if len(states) == 1 else f"{count} {state}" for state, count in states.items()
    )
    if due is not None:
        state += f"{', ' if state else 'waits until '}next {relative(due, dt.datetime.now(dt.UTC))}"
    view = View(
        _HORIZONS,
        next=[f"python -m worker explain {number} {option}" for option in ("--story", "--sources")],
        record=False,
    )
    tables = {"waits": waits, "horizons": asked_for.horizons}
    emit_tables(
        {name: found for name, found in tables.items() if found},
        {
            "waits": _WAITS if asked_for.horizons else replace(_WAITS, next=view.next),
            "horizons": view,
        },
        f"Prediction {number} ({said or 'no assets'}): {state.replace('_', ' ') or 'waits'}.",
    )


def _ticker(symbol: str, rows: Rows) -> None:
    """Show a ticker's state, and the outcomes that wait for it."""
    standing = next((row["story"] for row in rows if row["subject"] == f"ticker {symbol}"), "")
    view = replace(
        _WAITS,
        summary=f"{symbol}: {standing}.",
        next=[f"python -m worker explain {symbol} {option}" for option in ("--story", "--sources")],
    )
    emit(explaining.waits(rows), view, as_json=False)


_MOST_ASSETS = 4
_WAITS = View(
    [
        Column("subject", "what", rank=0, least=21, wrap=True),
        Column("story", "waits for", rank=0, least=30, wrap=True),
        Column("at", "due", rank=0),
    ],
    record=False,
)
_HORIZONS = [
    Column("symbol", rank=1),
    Column("says", rank=2),
    Column("horizon", rank=0),
    Column("session", rank=0, kind="day"),
    Column("price", "close", rank=0, kind="price"),
    Column("return_pct", "return %", rank=0, kind="percent"),
    Column("correct", rank=0, kind="yes"),
    Column("due_at", "due", rank=1),
]
