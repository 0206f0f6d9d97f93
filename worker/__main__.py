"""The root of `python -m worker`: the commands of `worker/cli/`, and `run` without one.

Each file of `worker/cli/` has a group of commands. Modules that load slowly are imported by the
command that needs them, so that `--help` and `status` start fast.
"""

from collections.abc import Callable
from typing import Any

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


_SECTIONS: dict[str, dict[str, Callable[..., Any]]] = {
    "The worker": {"run": run.run, "demo": demo.demo},
    "The state of the queue": {
        "status": status.status,
        "health": status.health,
        "explain": explain.explain,
        "watch": watch.command,
    },
    "Events": {"sweep": queue.sweep, "requeue": queue.requeue, "enqueue": queue.enqueue},
    "The database": {"migrate": schema.migrate_command, "url": status.url},
}
for title, commands in _SECTIONS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=title)(command)

if __name__ == "__main__":
    run_application(app)
