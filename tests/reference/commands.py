"""docs/cli.md, from the help of both command lines."""

import inspect
import re
from typing import Any

import typer

from market.__main__ import app as market
from market.cli.usage import record
from tests.reference.markdown import head, table
from worker.__main__ import app as worker

_ANSWER = """\
`./dev worker …` and `./dev market …` are `python -m worker …` and `python -m market …` in the project's
environment. Every command takes `--help`. Commands that change rows take `--dry-run` and print counts before
and after; a dry run takes no ids of sequences. An unknown symbol or id is exit 1.

Commands that print take `-o table|wide|json|jsonl|tsv|csv`, `--columns A,B` and `--json`. On a terminal the default is
`table`: a sentence that answers, with the database; the rows, trouble first; what is equal in all rows; what is not
shown; the next command. Columns give way until the rest fits, and a single row is a record. `-o wide` shows every
column and row at full length, `--columns` only those, by the names that TSV and JSON have. Long screens go through
`$PAGER`; `NO_COLOR` is obeyed. In a pipe the default is `tsv`: every row and column, with exact values and times
of ISO 8601.

Strangers' text (symbols, reasons, providers' words) is printed as text: characters that a terminal obeys or an eye
cannot see are escapes such as `\\x1b`. TSV is for the eye and for spreadsheets. White space in it is folded, and a text
that a spreadsheet would compute (it begins with `=`, `+`, `-`, `@` or `"`) gets an apostrophe before it. A program
reads `--json`, which loses nothing and is plain ASCII.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed, or not found |
| 2 | wrong usage or settings, or a database that waiting cannot reach (wrong password, no such database) |
| 3 | unhealthy, or the database has another schema than this version |
| 130 | interrupted |

`eval "$(./dev completion)"` completes commands, options and registered symbols after `./dev`, in bash
and zsh."""


def page() -> str:
    """Return the page of all commands, in the order of their help."""
    lines = head("Commands", _ANSWER, "the help of `worker` and `market`")
    for name, app in (("worker", worker), ("market", market)):
        tree = typer.main.get_command(app)
        lines += [f"## python -m {name}", "", inspect.cleandoc(tree.help or ""), ""]
        lines += _commands(tree, f"{name}")
    return "\n".join(lines)


def _commands(tree: Any, path: str) -> list[str]:
    lines: list[str] = []
    for name, command in tree.commands.items():
        inner = f"{path} {name}"
        if hasattr(command, "commands"):
            lines += _commands(command, inner)
        elif not command.hidden:
            lines += [f"### {inner}", "", *_help(command.help), *_parameters(command)]
    return lines


def _help(text: str | None) -> list[str]:
    """The help's paragraphs, each on one line; the examples become a block."""
    whole = inspect.cleandoc(text or "").replace("\f", "")
    paragraphs = [" ".join(part.split()) for part in whole.split("\n\n")]
    lines: list[str] = []
    for paragraph in paragraphs:
        said, found, examples = paragraph.partition("Examples:")
        lines += [said.strip(), ""] if said.strip() else []
        if found:
            lines += ["```sh", *re.findall(r"`([^`]+)`", examples), "```", ""]
    return lines


def _parameters(command: Any) -> list[str]:
    """The arguments and options, as the help has them."""
    context = command.context_class(command)
    records = [record(param, context) for param in command.params]
    rows = [
        (f"`{' '.join(name.split())}`", " ".join(said.split()))
        for name, said in filter(None, records)
    ]
    return table(("argument or option", "meaning"), rows) if rows else []
