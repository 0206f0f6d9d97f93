"""Processes of ours without the interpreter's start: forked from one that has imported everything.

`python -m worker` takes half a second of a processor to import its modules, and the suite starts a
thousand of them. A fork is a process of its own, with its own signals, files and environment, and takes
a fiftieth of that. `spawn` is a Popen for whoever starts one; where a fork would differ from a fresh
interpreter (settings of the interpreter, another system), it is one.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What the interpreter, and the modules that are imported, read at their start.
_AT_START = ("PYTHON", "LANG", "LC_", "TZ", "LD_", "MALLOC_", "OPENSSL_", "OTEL_", "_RECKONER")
_ROOMS = ("market", "worker")
HOOKS = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'hooks'}"


class Forked:
    """A running process, with the methods of Popen that the tests use."""

    def __init__(self, pid: int, pidfd: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd, self._status = pidfd, status

    def poll(self) -> int | None:
        """Return the exit code (-N: signal N), None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; returns the exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            milliseconds = None if timeout is None else timeout * 1000
            poller = select.poll()
            poller.register(self._status, select.POLLIN)
            if not poller.poll(milliseconds):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = int(os.read(self._status, 100))
            self._close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def _close(self) -> None:
        os.close(self._pidfd)
        os.close(self._status)

    def __del__(self) -> None:
        if self.returncode is None:
            self._close()


Process = subprocess.Popen[bytes] | Forked


def spawn(
    arguments: Sequence[str],
    env: Mapping[str, str],
    *,
    stdout: int,
    stderr: int,
    stdin: int = subprocess.DEVNULL,
    cwd: Path = ROOT,
    start_new_session: bool = False,
    fresh: bool = False,
) -> Process:
    """Start `python -m …`. The streams are file descriptors; stdin may be DEVNULL.

    fresh: never fork, so that what the process takes can be measured.
    """
    if fresh or arguments[0] not in _ROOMS or not _is_same(env):
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=env,
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=start_new_session,
        )
    request = {
        "arguments": list(arguments),
        "env": dict(env),
        "cwd": str(cwd),
        "start_new_session": start_new_session,
    }
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, Path(os.devnull).open("rb") as nothing:
        given = nothing.fileno() if stdin == subprocess.DEVNULL else stdin
        fds = [theirs.fileno(), given, stdout, stderr]
        socket.send_fds(_parent()[0], [json.dumps(request).encode()], fds)
        answer, (pidfd, *_), _, _ = socket.recv_fds(ours, 100, 1)
        return Forked(int(answer), pidfd, ours.detach())


def _is_same(env: Mapping[str, str]) -> bool:
    """Whether a fork would see the settings that a fresh interpreter reads at its start."""
    if not hasattr(os, "pidfd_open"):
        return False
    _, mine = _parent()
    names = {name for name in {*env, *mine} if name.startswith(_AT_START)}
    return all(env.get(name) == mine.get(name) for name in names)


def run(
    arguments: Sequence[str], env: Mapping[str, str], *, cwd: Path = ROOT, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` to its end. Returns when nobody has its output open any more.

    Raises subprocess.TimeoutExpired.
    """
    deadline = time.monotonic() + timeout
    poller = select.poll()
    found: dict[int, bytearray] = {}
    with contextlib.ExitStack() as stack:
        theirs = []
        for _ in ("stdout", "stderr"):
            reading, writing = os.pipe()
            stack.callback(os.close, reading)
            poller.register(reading, select.POLLIN)
            found[reading] = bytearray()
            theirs.append(writing)
        try:
            process = spawn(arguments, env, stdout=theirs[0], stderr=theirs[1], cwd=cwd)
        finally:
            for each in theirs:
                os.close(each)
        open_ = set(found)
        while open_:
            ready = poller.poll(max(0, (deadline - time.monotonic()) * 1000))
            if not ready:
                process.kill()
                process.wait()
                raise subprocess.TimeoutExpired(list(arguments), timeout)
            for fd, _ in ready:
                data = os.read(fd, 1 << 16)
                found[fd] += data
                if not data:
                    poller.unregister(fd)
                    open_.remove(fd)
        code = process.wait(max(0, deadline - time.monotonic()))
    out, err = (bytes(text).decode().replace("\r\n", "\n") for text in found.values())
    return subprocess.CompletedProcess(list(arguments), code, out, err)


@cache
def _parent() -> tuple[socket.socket, Mapping[str, str]]:
    """The process that has imported everything, and its environment; one for each process of the tests."""
    env = {**os.environ, "PYTHONPATH": HOOKS}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forking", str(theirs.fileno())],
            env=env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours, env
