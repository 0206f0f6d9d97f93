"""The parent of forked processes: it imports both command lines, and waits (tests/support/forked.py)."""

import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What commands and workers import: at their start, and pandas for reports and calendars.
_IMPORTED = (
    "market.__main__",
    "worker.__main__",
    "worker.process",
    "worker.loop",
    "market.cli.watch_page",
    "market.cli.figures",
    "market.evaluation.accuracy",
    "market.evaluation.calibration",
    "exchange_calendars",
)
_MOST_BYTES = 1 << 20


@dataclass
class Parent:
    """Forks on request, and says how each fork ended."""

    control: socket.socket
    running: dict[int, tuple[int, socket.socket]] = field(default_factory=dict)

    def serve(self) -> dict[str, Any] | None:
        """Serve until nobody asks any more. Returns in a fork, with what it is to run."""
        poller = select.poll()
        poller.register(self.control, select.POLLIN)
        while True:
            for fd, _ in poller.poll():
                if fd in self.running:
                    poller.unregister(fd)
                    self._ended(fd)
                    continue
                text, fds, _, _ = socket.recv_fds(self.control, _MOST_BYTES, 4)
                if not text:
                    return None
                request: dict[str, Any] = json.loads(text)
                if (pid := os.fork()) == 0:
                    _become(request, fds[1:])
                    return request
                pidfd = os.pidfd_open(pid)
                poller.register(pidfd, select.POLLIN)
                asking = socket.socket(fileno=fds[0])
                self.running[pidfd] = pid, asking
                for each in fds[1:]:
                    os.close(each)
                with contextlib.suppress(OSError):  # the test has ended
                    socket.send_fds(asking, [str(pid).encode()], [pidfd])

    def _ended(self, pidfd: int) -> None:
        pid, asking = self.running.pop(pidfd)
        _, status = os.waitpid(pid, 0)
        with asking, contextlib.suppress(OSError):
            asking.send(str(os.waitstatus_to_exitcode(status)).encode())
        os.close(pidfd)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Be as a fresh process: its session, streams, folder and environment, and nothing else."""
    if request["start_new_session"]:
        os.setsid()
    os.set_blocking(streams[0], True)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, max(int(each.name) for each in Path("/proc/self/fd").iterdir()) + 1)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.stdin = sys.__stdin__ = _text(0, "r", sys.stdin)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _text(1, "w", sys.stdout)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text(2, "w", sys.stderr)  # type: ignore[misc]


def _text(fd: int, mode: str, like: Any) -> io.TextIOWrapper:
    """Open a standard stream as the interpreter does."""
    return open(  # type: ignore[return-value]
        fd,
        mode,
        buffering=1 if fd == 2 or os.isatty(fd) else -1,
        encoding=like.encoding,
        errors=like.errors,
        closefd=False,
    )


def main() -> None:
    """Serve; in a fork, run what was asked for."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for module in _IMPORTED:
        importlib.import_module(module)
    control = socket.socket(fileno=int(sys.argv[1]))
    gc.collect()
    gc.freeze()
    request = Parent(control).serve()
    if request is not None:
        room, *arguments = request["arguments"]
        sys.argv[:] = [room, *arguments]
        sys.modules.pop(f"{room}.__main__")  # a fresh interpreter has not run it yet
        runpy.run_module(room, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
