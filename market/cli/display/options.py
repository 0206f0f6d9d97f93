"""What a person asked of the output: `-o`, `--json` and `--columns`, for every command alike.

A command that takes `as_json: JsonOption` gets the other two from `with_output_options`, so that no
command repeats them. `emit` reads them here.
"""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

_JSON = "as_json"


class Form(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    TSV = "tsv"
    CSV = "csv"


@dataclass(frozen=True)
class Output:
    """What was asked for. form: None: a table on a terminal, TSV in a pipe."""

    form: Form | None = None
    columns: tuple[str, ...] = ()

    @property
    def wide(self) -> bool:
        """Whether every column is shown, at its own width."""
        return self.form is Form.WIDE


_PLAIN = Output()
_asked: ContextVar[Output] = ContextVar("output", default=_PLAIN)

_place: ContextVar[str] = ContextVar("place", default="")

_OPTIONS = {
    "output": Annotated[
        Form | None,
        typer.Option("-o", "--output", help="How to print rows: by default table, in a pipe tsv."),
    ],
    "columns": Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Print only these columns, in this order."),
    ],
}


def asked() -> Output:
    """Return what was asked of the running command."""
    return _asked.get()


def answering_from(place: str) -> None:
    """Let the running command's screens name their database, without its password.

    It stays until the command ends: a command prints after it has left the database.
    """
    _place.set(place)


def place() -> str:
    """Return the database that the running command answers from; empty before it is reached."""
    return _place.get()


def with_output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-o` and `--columns` to a command that has `--json`; `-o json` is `--json`."""
    signature = inspect.signature(command)
    has_rows = _JSON in signature.parameters

    @functools.wraps(command)
    def run(
        *arguments: Any, output: Form | None = None, columns: str | None = None, **options: Any
    ) -> Any:
        names = tuple(name.strip() for name in (columns or "").split(",") if name.strip())
        if has_rows:
            options[_JSON] = options.get(_JSON) or output in {Form.JSON, Form.JSONL}
        tokens = _asked.set(Output(output, names)), _place.set("")
        try:
            return command(*arguments, **options)
        finally:
            _asked.reset(tokens[0])
            _place.reset(tokens[1])

    if not has_rows:
        return run
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _OPTIONS.items()
    ]
    parameters = [*signature.parameters.values(), *added]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, **_OPTIONS}
    return run
