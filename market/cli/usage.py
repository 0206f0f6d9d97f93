"""How a command line is used: its list of commands, and what is wrong with an argument, in words.

typer's own list cuts sentences, and its errors speak of formats and of its parser, as its help of options does.
"""

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

# What typer says of a value, and what a person understands. {value}: what was given.
_WORDS = (
    (r"does not match the formats?", "{value!r} is not a date like 2025-01-31"),
    (r"should be a valid (integer|int)\b", "{value!r} is not a whole number"),
    (r"should be a valid (number|float|decimal)\b", "{value!r} is not a number"),
    (r"greater than or equal to (?P<bound>\S+)", "must be {bound} or more, not {value}"),
    (r"greater than (?P<bound>\S+)", "must be more than {bound}, not {value}"),
    (r"less than or equal to (?P<bound>\S+)", "must be {bound} or less, not {value}"),
    (r"less than (?P<bound>\S+)", "must be less than {bound}, not {value}"),
    (r"should be (?P<bound>'.*')", "must be {bound}, not {value!r}"),
)


# What the help says of a value's type and bounds, and what a person understands.
_VALUES = (
    (r"<%Y-%m-%d>", "DATE"),
    (r"<(?:str|list\[str\])>", "TEXT"),
    (r"<(?:file|path)>", "FILE"),
    (r"<int(?: range)?>", "NUMBER"),
    (r"<float(?: range)?>", "NUMBER"),
)
_BOUNDS = (
    (r"-9223372036854775807<=x<=9223372036854775807(?:; )?", ""),
    (r"\bx>=(\S+?)(?=[];])", r"\1 or more"),
    (r"(\S+?)<=x<=(\S+?)(?=[];])", r"\1 to \2"),
    (r"  \[\]", ""),
)


class Worded(TyperCommand):
    """A command whose help says in words what a value looks like."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if found := record(param, ctx):
                title = f"{param.param_type_name.capitalize()}s"
                sections.setdefault(title, []).append(found)
        for title, rows in sorted(sections.items()):
            with formatter.section(title):
                formatter.write_dl(rows)


def record(param: Any, ctx: Any) -> tuple[str, str] | None:
    """Return how the help names an argument or option, and what it says of it."""
    found = param.get_help_record(ctx)
    if found is None:
        return None
    name, said = found
    for pattern, words in _BOUNDS:
        said = re.sub(pattern, words, said)
    if "<%Y-%m-%d>" in name:
        text, gap, rest = said.partition("  [")
        said = f"{text} Like 2026-01-31.{gap}{rest}"
    for pattern, words in _VALUES:
        name = re.sub(pattern, words, name)
    return name, said


class Grouped(TyperGroup):
    """A group whose help lists its commands in sections, with a whole sentence for each."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the sections in the order of their first commands."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = command.rich_help_panel
                title = panel if isinstance(panel, str) else "Commands"
                sections.setdefault(title, []).append((name, sentence(command.help or "")))
        width = max((len(name) for rows in sections.values() for name, _ in rows), default=0)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])


def sentence(text: str) -> str:
    """Return the main clause of a help text as a sentence."""
    first = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"[;:.](?:\s|$)", first)[0].rstrip(".") + "."


def in_words(error: TyperException) -> str:
    """Return what is wrong with the arguments, and where the right ones are listed."""
    context: Any = getattr(error, "ctx", None)
    said = _of_value(error) or error.format_message()
    said = said[:1].lower() + said[1:].rstrip(".")
    return f"{said}; see {context.command_path} --help" if context is not None else said


def _of_value(error: TyperException) -> str:
    """Say what is wrong with one value; empty where it is not about one."""
    param: Any = getattr(error, "param", None)
    if param is None or not error.message:
        return ""
    name = max(param.opts, key=len) if param.param_type_name == "option" else param.display_name_raw
    # pydantic keeps the value that it refused.
    causes: list[Any] = getattr(error.__cause__, "errors", list)()
    value = causes[0]["input"] if causes else None
    for pattern, words in _WORDS:
        if value is not None and (found := re.search(pattern, error.message)):
            bound = found.groupdict().get("bound") or ""
            return f"{name}: " + words.format(value=value, bound=bound.rstrip(".").replace("'", ""))
    return f"{name}: {error.message.removeprefix('Value error, ')}"
