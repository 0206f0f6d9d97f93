"""Commands run in the test's own process: a tenth of the time that a process of their own takes."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import structlog
import typer

from market import __main__ as market
from market.cli.console import run
from tests.support.process import environment
from worker import __main__ as worker

APPS = {"market": market.app, "worker": worker.app}


class Terminal(io.BytesIO):
    """What takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(
    url: str, *arguments: str, width: int = 80, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` in this process on a terminal of a width, without colours."""
    shape = {"COLUMNS": str(width), "LINES": "24", "NO_COLOR": "1", "TERM": "dumb"}
    return inline(url, *arguments, beneath=Terminal(), **(shape | settings))


def inline(
    url: str, *arguments: str, beneath: io.BytesIO | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` in this process, in a pipe; a traceback is the test's own error."""
    out = io.TextIOWrapper(beneath or io.BytesIO(), encoding="utf-8", newline="\n")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
    code: object = 0
    env = environment(url, **settings)
    with (
        mock.patch.dict(os.environ, env, clear=True),
        mock.patch.object(sys, "argv", ["python -m " + arguments[0], *arguments[1:]]),
        mock.patch.object(sys, "stdout", out),
        mock.patch.object(sys, "stderr", err),
    ):
        try:
            run(APPS[arguments[0]])
        except SystemExit as end:
            code = end.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            structlog.reset_defaults()
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return subprocess.CompletedProcess(arguments, int(str(code or 0)), *texts)


def all_commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of both command lines: its words, and its options."""

    def walk(words: tuple[str, ...], found: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
        if hasattr(found, "commands"):
            for name, each in found.commands.items():
                yield from walk((*words, name), each)
        else:
            yield words, found

    for name, app in APPS.items():
        yield from walk((name,), typer.main.get_command(app))
