"""Processes that are measured: real workers, and programs that start together on a word.

A contestant is `python -m MODULE URL …`. It prints a line when it is ready, begins when it
reads one, and prints the moment (time.monotonic, which all processes of a machine share) at
which its work was done.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.process import ROOT, WorkerProcess, cleaned_up, environment


class _Fresh(WorkerProcess):
    """A worker as operators start it: its memory and its start are measured."""

    fresh = True


@contextlib.contextmanager
def worker(url: str, *arguments: str, **settings: str) -> Iterator[WorkerProcess]:
    """A real worker that hears itself, on the csv provider; stopped afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        defaults = {"MARKET_PROVIDERS": "csv", "MARKET_CSV_DIR": folder, "LOG_LEVEL": "INFO"}
        process = _Fresh(url, Path(folder) / "worker.log", *arguments, **{**defaults, **settings})
        with cleaned_up([process]):
            if not arguments:
                process.ready()
            yield process
            if process.process.poll() is None:
                process.stop()


def together(url: str, module: str, number: int, *arguments: str) -> float:
    """Let some processes of one contestant begin at once; seconds until the last was done."""
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", module, url, *arguments],
                    env=environment(url),
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(number)
        ]
        for each in started:
            stack.callback(each.kill)
        for each in started:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n", f"{module} did not start"
        begun = time.monotonic()
        for each in started:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        return max(float(each.communicate()[0]) for each in started) - begun


def ready() -> None:
    """Say, in a contestant, that it is ready, and wait for the word."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


def done() -> None:
    """Say, in a contestant, when its work was done."""
    sys.stdout.write(f"{time.monotonic()}\n")
    sys.stdout.flush()
