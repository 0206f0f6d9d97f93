"""`worker demo`: the command, which loads the demonstration only when it runs."""

import sys
from typing import Annotated

import typer

from sql.logs import configure
from sql.settings import LogSettings


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End by itself, also on a terminal.")
    ] = False,
) -> None:
    """Show the whole loop on a private database; nothing to set up, nothing left behind.

    Examples: `python -m worker demo`, `python -m worker demo --once`.
    """
    from worker.cli.demonstration import demonstrate  # noqa: PLC0415 - loads rich and a provider

    configure(LogSettings(log_level="WARNING"))
    sys.exit(demonstrate(stay=sys.stdout.isatty() and not once))
