"""A folder that only one user can open, and the files and locks in it.

Everything is opened relative to the folder's descriptor and without following links. So
no other user can hold a lock of ours, plant a file, or lead a write elsewhere, and a project
that is renamed while its server runs keeps its locks.
"""

import contextlib
import fcntl
import os
import pwd
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from sql.errors import EmbeddedError


class PrivateFolder:
    """An open folder of this user with mode 0700.

    Raises EmbeddedError where it belongs to somebody else, OSError where it cannot be opened.
    """

    def __init__(self, path: Path, *, make: bool = True) -> None:
        self.path = path
        if make:
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        found = os.fstat(self._descriptor)
        if found.st_uid != os.geteuid():
            os.close(self._descriptor)
            raise EmbeddedError(
                f"{path} belongs to {user_name(found.st_uid)}: run this as that user,"
                " or choose another folder"
            )
        if found.st_mode & 0o077:
            os.fchmod(self._descriptor, 0o700)
        # A copy of the folder is another folder, one that was renamed is the same.
        self.identity = [found.st_dev, found.st_ino]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)

    def open(self, name: str, flags: int) -> int:
        """Open a file of the folder; returns a descriptor."""
        return os.open(name, flags | os.O_NOFOLLOW, 0o600, dir_fd=self._descriptor)

    def read(self, name: str) -> str:
        """A file's text. Raises FileNotFoundError."""
        with os.fdopen(self.open(name, os.O_RDONLY), errors="replace") as file:
            return file.read()

    def write(self, name: str, text: str) -> None:
        """Replace a file at once: readers see the old text or the new one."""
        new = f"{name}.{secrets.token_hex(4)}"
        with os.fdopen(self.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
            file.write(text)
        os.rename(new, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def try_lock(self, name: str, kind: int) -> int | None:
        """Take a lock (fcntl.LOCK_SH or LOCK_EX); returns a descriptor that holds it, or None."""
        descriptor = self.open(name, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    @contextlib.contextmanager
    def lock(self, name: str, kind: int, seconds: float) -> Iterator[None]:
        """Hold a lock while the body runs. Raises EmbeddedError when it cannot be had in time."""
        deadline = time.monotonic() + seconds
        while (descriptor := self.try_lock(name, kind)) is None:
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{self.path / name} is still locked after {seconds:.0f} s")
            time.sleep(0.02)  # flock has no timeout of its own
        try:
            yield
        finally:
            os.close(descriptor)


def user_name(number: int) -> str:
    """Return the name of a user, or its number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
