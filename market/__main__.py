"""The root of `python -m market`: the groups of commands of `market/cli/`.

Each file of `market/cli/` has the commands of one group. Modules that load slowly are imported by
the command that needs them, so that `--help` starts fast.
"""

from market.cli import (
    db,
    job_status,
    jobs,
    outcome_list,
    outcomes,
    pipeline,
    prices,
    reports,
    stats,
    tickers,
    validation,
)
from market.cli.console import application, run
from sql.logs import configure
from sql.settings import LogSettings, load

app = application("Reckoner's market: tickers, prices, outcomes.", no_args_is_help=True)


@app.callback()
def _main() -> None:
    configure(load(LogSettings))


for group in (
    reports,
    outcome_list,
    tickers,
    prices,
    outcomes,
    jobs,
    job_status,
    pipeline,
    validation,
    stats,
):
    app.add_typer(group.app)
app.add_typer(db.app, name="db")

if __name__ == "__main__":
    run(app)
