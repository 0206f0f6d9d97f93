"""Pieces of Markdown that the generated pages share."""

from collections.abc import Sequence


def head(title: str, answer: str, source: str) -> list[str]:
    """Begin a page: its title, where it comes from, and the answer."""
    return [
        f"# {title}",
        "",
        f"<!-- Written by `./dev docs` from {source}. Edit that, not this page. -->",
        "",
        answer,
        "",
    ]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines; a bar inside a cell would end it."""
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return [*lines, ""]
