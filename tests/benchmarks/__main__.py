"""`./dev bench [NAME ...]`: runs benchmarks one after the other, and prints one table."""

import importlib
from typing import Annotated

import typer

from market.cli.console import application, run
from market.cli.display import emit
from sql.errors import InvalidInput
from sql.logs import configure
from sql.settings import LogSettings
from tests.benchmarks.bench import Bench, Line, OutOfTimeError, conditions, limited
from tests.benchmarks.server import Server, serve
from tests.support.process import ROOT

NAMES = (
    "insert", "wake", "queue", "bloat", "outcomes", "recompute",
    "mature", "prices", "idle", "memory", "start", "backfill", "schedules", "indicators",
    "night", "coverage", "intraday", "retention",
)  # fmt: skip
FOLDER = ROOT / ".bench"

app = application("Reckoner's benchmarks.")


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help=f"Of: {', '.join(NAMES)}.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes and one round: shows that it runs.")
    ] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Without the peers; goals that need one are left out.")
    ] = False,
) -> None:
    """Measure how fast it is, each benchmark in under three minutes; raw figures go to .bench/.

    Examples: `./dev bench`, `./dev bench queue wake`, `./dev bench --quick`.
    """
    wanted = names or list(NAMES)
    if unknown := set(wanted) - set(NAMES):
        raise InvalidInput(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
        )
    configure(LogSettings(log_level="WARNING"))
    lines: list[Line] = []
    remarks: list[str] = []
    with serve() as server:
        said = conditions(server)
        try:
            for name in wanted:
                one = run_one(name, server, quick=quick, alone=alone)
                lines += one.lines
                remarks += [*one.remarks, f"{name}: {one.write(FOLDER).relative_to(ROOT)}"]
        finally:  # what was measured before one went wrong is worth its while
            emit([vars(line) for line in lines], as_json=False)
            for remark in remarks:
                typer.echo(f"# {remark}")
            typer.echo(
                f"# PostgreSQL {said['postgresql']}, Python {said['python']},"
                f" {said['cores']} x {said['processor']}, durable"
            )


def run_one(name: str, server: Server, *, quick: bool, alone: bool) -> Bench:
    """Run one benchmark to its end, or until its time is over."""
    module = importlib.import_module(f"tests.benchmarks.{name}")
    one = Bench(name, server, quick=quick, alone=alone)
    try:
        with limited():
            module.measure(one)
    except OutOfTimeError as error:
        one.remark(str(error))
    module.judge(one)
    one.progress("done")
    return one


if __name__ == "__main__":
    run(app)
