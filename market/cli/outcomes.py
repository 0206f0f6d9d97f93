"""`market calculate-outcomes`: outcomes from the prices that are stored."""

from typing import Annotated

import typer

from market import outcomes
from market.cli.confirm import confirm_rewrite
from market.cli.console import (
    DryRunOption,
    JsonOption,
    YesOption,
    application,
    command_database,
    waiting,
)
from market.cli.display import emit
from market.cli.views import data as views

app = application("Outcomes.")


@app.command("calculate-outcomes")
def calculate_outcomes(
    force: Annotated[bool, typer.Option("--force", help="Also those that are complete.")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fill open outcomes from the stored prices; with --force compute all of ours again.

    Examples: `python -m market calculate-outcomes --dry-run`,
    `python -m market calculate-outcomes --force --json`.
    """
    with command_database() as database:
        if force and not dry_run and not yes:
            confirm_rewrite(database, outcomes.count_ours(database))
        with waiting("computing outcomes"):
            done = outcomes.calculate(database, force=force, dry_run=dry_run)
    row = {"symbols": len(done.changed), "changed": sum(done.changed.values()), "dry_run": dry_run}
    row |= {f"{state}_before": done.before[state] for state in outcomes.STATES}
    row |= {f"{state}_after": done.after[state] for state in outcomes.STATES}
    emit([row], views.calculated(row), as_json=as_json)
