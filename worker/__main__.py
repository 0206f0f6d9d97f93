"""The root of `python -m worker`: the commands of `worker/cli/`, and `run` without one.

Each file of `worker/cli/` has a group of commands. Modules that load slowly are imported by the
command that needs them, so that `--help` and `status` start fast.
"""

import typer

from market.cli import watch
from market.cli.console import application
from market.cli.console import run as run_application
from sql.logs import configure
from sql.settings import LogSettings, load
from worker.cli import demo, explain, queue, run, schema, status

app = application(
    "Reckoner's worker: turns predictions into outcomes. Without a command it runs.",
    invoke_without_command=True,
)


@app.callback()
def _main(context: typer.Context) -> None:
    configure(load(LogSettings))
    if context.invoked_subcommand is None:
        run.run()


app.command("run")(run.run)
app.command("migrate")(schema.migrate_command)
app.command("status")(status.status)
app.command("sweep")(queue.sweep)
app.command("requeue")(queue.requeue)
app.command("enqueue")(queue.enqueue)
app.command("explain")(explain.explain)
app.command("health")(status.health)
app.command("url")(status.url)
app.command("demo")(demo.demo)
app.command("watch")(watch.command)

if __name__ == "__main__":
    run_application(app)
