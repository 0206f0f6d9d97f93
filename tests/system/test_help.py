"""Every command of both command lines explains itself, with two examples that can be typed."""

import inspect
import re
import shlex
from typing import Any

import pytest
import typer

from market.__main__ import app as market
from tests.support.cli import command
from worker.__main__ import app as worker

EXAMPLE = re.compile(r"`([^`]*python -m [^`]+)`")


def commands(tree: Any, path: tuple[str, ...]) -> dict[tuple[str, ...], Any]:
    """Every command below a group, by the words that call it."""
    if not hasattr(tree, "commands"):
        return {path: tree}
    found: dict[tuple[str, ...], Any] = {}
    for name, each in tree.commands.items():
        found |= commands(each, (*path, name))
    return found


ALL = commands(typer.main.get_command(market), ("market",))
ALL |= commands(typer.main.get_command(worker), ("worker",))
# `watch` has two doors, one help.
DOORS = {("worker", "watch"), ("market", "watch")}


def known(words: list[str]) -> tuple[tuple[str, ...], list[str]] | None:
    """The command that these words call, and its arguments."""
    for length in (3, 2):
        if tuple(words[:length]) in ALL:
            return tuple(words[:length]), words[length:]
    return (("worker", "run"), words[1:]) if words == ["worker"] else None


@pytest.mark.parametrize("path", list(ALL), ids=" ".join)
def test_two_examples_that_can_be_typed(path: tuple[str, ...]) -> None:
    text = " ".join(inspect.cleandoc(ALL[path].help or "").split())
    examples = EXAMPLE.findall(text)
    assert len(examples) >= 2, text
    own = 0
    for example in examples:
        inner = re.search(r"python -m ([^|>)]*)", example)
        assert inner is not None
        call = known(shlex.split(inner[1]))
        assert call is not None, example
        own += call[0] == path or {call[0], path} <= DOORS
        options = {option for param in ALL[call[0]].params for option in param.opts}
        for word in call[1]:
            if re.match("--?[a-z]", word):
                assert word in options, (example, word)
    assert own >= 1, examples


@pytest.mark.parametrize("path", list(ALL), ids=" ".join)
def test_every_option_and_argument_is_explained(path: tuple[str, ...]) -> None:
    for param in ALL[path].params:
        assert param.help, (path, param.name)


@pytest.mark.parametrize("path", list(ALL), ids=" ".join)
def test_values_are_said_in_words(path: tuple[str, ...]) -> None:
    text = " ".join(ALL[path].get_help(ALL[path].context_class(ALL[path])).split())
    assert not re.search(r"%Y|<(str|int|float|file|path|list)|x[<>]|922337|\[\]", text), text
    for _ in re.finditer(r" DATE ", text):
        assert "Like 2026-01-31." in text


# Not what goes on, prints a URL, a file of JSON, or the bytes of a payload.
PRINTS = [
    path for path in ALL if path[-1] not in {"run", "url", "demo", "probe", "payload", "export"}
]


@pytest.mark.parametrize("path", PRINTS, ids=" ".join)
def test_what_prints_takes_json(path: tuple[str, ...]) -> None:
    assert "--json" in {option for param in ALL[path].params for option in param.opts}


def test_help_needs_no_database_and_names_every_command() -> None:
    for room in ("market", "worker"):
        done = command("embedded:/nowhere/at/all", room, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        names = {path[1] for path in ALL if path[0] == room}
        assert all(re.search(rf"\b{name}\b", done.stdout) for name in names)
    done = command("embedded:/nowhere/at/all", "market", "db", "backup", "--help")
    assert (done.returncode, done.stderr) == (0, "")
