"""Files of the user: no FIFO hangs, no link leads elsewhere, no size fills memory.

Commands read regular files only. A file that a command writes is always new: another user of the
folder may have planted a link under its name.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# O_NONBLOCK: opening a FIFO waits for its other end, and a terminal's line may wait for a modem.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_STANDARD = (Path("/dev/stdout"), Path("/dev/stderr"))
_DESCRIPTORS = (Path("/dev/fd"), Path("/proc/self/fd"))


class FileRefusedError(OSError):
    """A file is refused; `strerror` has the reason."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EINVAL, why)


def read_regular(path: Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes. Raises OSError."""
    descriptor = os.open(path, _READ)
    try:
        return _read(descriptor, most)
    finally:
        os.close(descriptor)


def read_inside(folder: Path, name: str, most: int) -> bytes:
    """Read a regular file of this name in the folder.

    A link may lead to a file below the folder. Raises OSError; FileRefusedError where a link leads
    out of the folder.
    """
    root = folder.resolve(strict=True)
    try:
        parts = (root / name).resolve().relative_to(root).parts
    except (ValueError, RuntimeError):  # RuntimeError: links in a circle
        raise FileRefusedError("is a link to outside the folder") from None
    with contextlib.ExitStack() as stack:
        # Part by part, without following links: a link may be replaced after resolve().
        at = _opened(stack, root, os.O_DIRECTORY, None)
        for part in parts[:-1]:
            at = _opened(stack, part, os.O_DIRECTORY | os.O_NOFOLLOW, at)
        try:
            at = _opened(stack, parts[-1] if parts else ".", os.O_NOFOLLOW, at)
        except OSError as error:
            # ENXIO: a socket. ELOOP: a link that was replaced meanwhile, or leads to itself.
            if error.errno in {errno.ENXIO, errno.ELOOP}:
                raise FileRefusedError("is not a regular file") from None
            raise
        return _read(at, most)


def _opened(stack: contextlib.ExitStack, path: str | Path, flags: int, folder: int | None) -> int:
    descriptor = os.open(path, _READ | flags, dir_fd=folder)
    stack.callback(os.close, descriptor)
    return descriptor


def _read(descriptor: int, most: int) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise FileRefusedError("is not a regular file")
    with open(descriptor, "rb", closefd=False) as file:
        body = file.read(most + 1)
    if len(body) > most:
        raise FileRefusedError(f"is larger than {most:,} bytes")
    return body


def append_to(path: Path) -> IO[bytes]:
    """Open for appending, unbuffered: a regular file, or a pipe with a reader.

    Raises OSError; FileRefusedError for a link, except /dev/stdout and the like.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    if path.parent not in _DESCRIPTORS and path not in _STANDARD:
        flags |= os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileRefusedError("is a link: name the file itself") from None
        if error.errno == errno.ENXIO:
            raise FileRefusedError("is a pipe without a reader") from None
        raise
    os.set_blocking(descriptor, True)
    return open(descriptor, "ab", buffering=0)  # noqa: PTH123 - the caller closes it


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that replaces the one of this name when it is complete.

    A link of this name is replaced and not followed. Raises OSError.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with new_file(unfinished, 0o666) as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def new_file(path: Path, mode: int) -> IO[bytes]:
    """Make a new file with this mode.

    Raises OSError where the name exists, also as a link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(path, flags, mode), "wb")  # noqa: PTH123 - the caller closes it


def publish(unfinished: Path, path: Path) -> None:
    """Give a complete file its name. Raises FileExistsError where that exists, and OSError."""
    try:
        # A rename would replace a file that was made there meanwhile.
        os.link(unfinished, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}:
            raise
        new_file(path, 0o600).close()  # a file system without hard links
        unfinished.replace(path)
    else:
        unfinished.unlink()
