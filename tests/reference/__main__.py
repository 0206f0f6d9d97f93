"""python -m tests.reference [--write]: name the stale pages and exit 1, or write them."""

import sys

from tests.reference import commands, functions, indicators, settings
from tests.support.process import ROOT

PAGES = {
    "settings.md": settings.page,
    "cli.md": commands.page,
    "sql.md": functions.page,
    "indicators.md": indicators.page,
}


def main(arguments: list[str]) -> int:
    """Compare each page with the code, or with --write write those that differ."""
    code = 0
    for name, page in PAGES.items():
        path = ROOT / "docs" / name
        text = page().rstrip() + "\n"
        if path.exists() and path.read_text() == text:
            continue
        if arguments == ["--write"]:
            path.write_text(text)
            print(f"docs/{name}: written")  # noqa: T201
        else:
            print(f"docs/{name} is stale: run ./dev docs")  # noqa: T201 - what a lint says
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
