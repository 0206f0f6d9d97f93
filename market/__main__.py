"""The root of `python -m market`: the groups of commands of `market/cli/`.

Each file of `market/cli/` has the commands of one group. Modules that load slowly are imported by
the command that needs them, so that `--help` starts fast.
"""

from market.cli import (
    alerts,
    constituents,
    coverage,
    db,
    executions,
    intraday,
    job_status,
    jobs,
    outcome_list,
    outcomes,
    pipeline,
    prices,
    reports,
    runs,
    schedule_files,
    snapshots,
    stats,
    tickers,
    universe,
    validation,
)
from market.cli.console import application, run
from sql.logs import configure
from sql.settings import LogSettings, load

app = application("Reckoner's market: tickers, prices, outcomes.", no_args_is_help=True)


@app.callback()
def _main() -> None:
    configure(load(LogSettings))


# The sections of `--help`.
_SECTIONS = {
    "Reports": [reports, outcome_list],
    "Fills": [executions],
    "Tickers": [tickers, universe],
    "Prices": [prices, intraday, jobs, job_status],
    "Indicators": [snapshots],
    "Outcomes": [outcomes, pipeline],
    "Work by the clock": [runs],
    "The state of the data": [coverage, validation, stats],
}
for title, groups in _SECTIONS.items():
    for group in groups:
        for command in group.app.registered_commands:
            command.rich_help_panel = title
        app.add_typer(group.app)
app.add_typer(schedule_files.app, name="schedules", rich_help_panel="Work by the clock")
app.add_typer(alerts.app, name="alerts", rich_help_panel="Work by the clock")
app.add_typer(runs.group, name="runs", rich_help_panel="Work by the clock")
app.add_typer(constituents.app, name="constituents", rich_help_panel="Tickers")
app.add_typer(db.app, name="db", rich_help_panel="The database")

if __name__ == "__main__":
    run(app)
