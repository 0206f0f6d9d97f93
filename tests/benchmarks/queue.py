"""`queue`: no-op events a second from a backlog, with the lease, the fence and the history row.

Beside it pgqueuer and procrastinate at their fastest, and two floors: one that keeps no promise
at all, and one with leases and a history and nothing else that a queue needs (floor.py).
procrastinate gets a slice of the backlog, because it is slow; it is a rate all the same.
"""

from contextlib import ExitStack

from tests.benchmarks import floor
from tests.benchmarks.bench import Bench
from tests.benchmarks.processes import together
from tests.benchmarks.server import settle
from tests.support.db import Conn, connect

FILL = "INSERT INTO outbox (topic, key) SELECT 'prediction', n FROM generate_series(1, %s) n"


def fill(conn: Conn, events: int) -> None:
    """Write a backlog."""
    conn.execute(FILL, [events])
    settle(conn, "outbox")


def measure(bench: Bench) -> None:
    events, slice_ = bench.size(100_000, 2_000), bench.size(1_000, 200)
    bench.remark(f"backlog {events:,}; procrastinate drained a slice of {slice_:,}")
    with ExitStack() as stack:
        ours = stack.enter_context(bench.server.migrated())
        theirs = stack.enter_context(bench.server.empty())
        conn = stack.enter_context(connect(ours))
        other = stack.enter_context(connect(theirs))
        if not bench.alone:
            # Imported here: the tests' environment does not have them.
            from tests.benchmarks.peers import (  # noqa: PLC0415
                with_pgqueuer,
                with_procrastinate,
            )

            with_pgqueuer.install(theirs, events)
            with_procrastinate.install(theirs)
        for _ in bench.rounds():
            for processes in (1,) if bench.quick else (1, 2, 4):
                conn.execute("TRUNCATE outbox, outbox_history")
                fill(conn, events)
                seconds = together(ours, "tests.benchmarks.drain", processes)
                bench.add(f"reckoner {processes}", events / seconds)
                if processes == 4:
                    continue
                for what in ("leases", "nothing"):
                    floor.fill(other, events)
                    settle(other, "floor_queue")
                    seconds = together(theirs, "tests.benchmarks.floor", processes, what)
                    bench.add(f"floor with {what} {processes}", events / seconds)
                if bench.alone:
                    continue
                with_pgqueuer.fill(other)
                settle(other, "pgqueuer")
                seconds = together(theirs, with_pgqueuer.__name__, processes)
                bench.add(f"pgqueuer {processes}", events / seconds)
                with_procrastinate.fill(theirs, slice_)
                settle(other, "procrastinate_jobs")
                seconds = together(theirs, with_procrastinate.__name__, processes)
                bench.add(f"procrastinate {processes}", slice_ / seconds)


def judge(bench: Bench) -> None:
    if not bench.alone:
        for peer, goal in (("pgqueuer", 4), ("procrastinate", 100)):
            for processes in (1, 2):
                ratio = bench.median(f"reckoner {processes}") / bench.median(f"{peer} {processes}")
                bench.at_least(f"Reckoner ÷ {peer}, {processes} process(es)", ratio, goal)
    for figure in bench.figures:
        bench.beside(f"{figure} process(es)", bench.median(figure), " events/s")
