"""pgbouncer in transaction mode in front of the test's database, where the machine has it."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import conninfo

from tests.support.waiting import until

# Debian puts it where only root's PATH leads.
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class Pooler:
    """A pooler of its own for one database; server connections are shared between transactions.

    url: the database through the pooler. size: server connections that all clients share.
    """

    def __init__(self, target: str, size: int = 2) -> None:
        self._target = conninfo.conninfo_to_dict(target)
        self._size = size
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """What a program connects to; any password will do."""
        user, name = str(self._target["user"]), str(self._target["dbname"])
        return f"postgresql://{quote(user)}@127.0.0.1:{self._port}/{quote(name)}"

    def __enter__(self) -> Self:
        # Root's pgbouncer runs as somebody else, who must be able to read this.
        self._folder = Path(tempfile.mkdtemp(prefix="pooler-"))
        self._folder.chmod(0o755)
        until("a pooler answers", self._started, 30)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _started(self) -> bool:
        """Whether it answers; one that found its port taken is started again on another."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=5).close()
            return True
        return False

    def _start(self) -> None:
        assert PROGRAM is not None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = int(free.getsockname()[1])
        wanted = ("host", "port", "dbname", "user", "password")
        target = " ".join(f"{key}={self._target[key]}" for key in wanted if key in self._target)
        config = self._folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{self._target['dbname']} = {target}\n"
            "[pgbouncer]\n"
            "listen_addr = 127.0.0.1\n"
            f"listen_port = {self._port}\n"
            "unix_socket_dir =\n"
            "auth_type = any\n"
            "pool_mode = transaction\n"
            f"default_pool_size = {self._size}\n"
            "server_tls_sslmode = prefer\n"
        )
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, *user, str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
