"""The data folder of an embedded server: its place, its owner and its users.

The data is `PATH/data`, or what that link leads to. Root's server runs as a user who cannot
reach a closed folder such as /root, so there the data lies in a folder of its own under
`/var/lib/reckoner`, and the link, which moves with the project, is how it is found again.
A link that leads nowhere is an error: the disk behind it may come back.

Nothing here deletes a folder with a PG_VERSION in it, except `remove`, which is asked to.
"""

import contextlib
import fcntl
import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Set
from pathlib import Path

from sql.embedded.private import user_name
from sql.errors import EmbeddedError

# Root's data lies here where the server's user cannot reach it in place.
APART = Path("/var/lib/reckoner")

DATA = "data"
_MOVING = "data.link"
# In a folder apart: the path of its project, and that initdb has not finished.
_ORIGIN = "origin"
_UNFINISHED = "unfinished"


def locate(path: Path, account: pwd.struct_passwd | None) -> Path:
    """The folder of the data of `path`, where it lies or is to be made.

    account: the user of a server that root starts. Raises EmbeddedError.
    """
    link = path / DATA
    if not os.path.lexists(link) and (path / _MOVING).is_symlink():
        (path / _MOVING).rename(link)  # interrupted between the two renames of `_move_apart`
    if link.is_symlink():
        return _behind(link)
    if account is None or open_to_all(path):
        return link
    if link.exists() and any(link.iterdir()):
        return _move_apart(link)
    apart = _new_apart(path)
    (apart / _UNFINISHED).touch()
    if link.exists():
        link.rmdir()
    link.symlink_to(apart / DATA)
    return apart / DATA


def exists(path: Path) -> bool:
    """Whether `path` has data, or a link that leads nowhere, which `locate` refuses."""
    link = path / DATA
    try:
        is_lost = link.is_symlink() and not link.exists()
        return is_lost or (link / "PG_VERSION").exists() or (path / _MOVING).is_symlink()
    except OSError:
        return True  # starting it says what is wrong


def finished(data: Path) -> None:
    """Record that the database exists: from now on its absence is a loss, and not a beginning."""
    (data.parent / _UNFINISHED).unlink(missing_ok=True)


def claim(data: Path, seconds: float) -> int:
    """Take the lock that each process of a server inherits; returns its descriptor.

    It is free when the last of them has ended, however it ended. Raises EmbeddedError.
    """
    descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise EmbeddedError(f"another server uses {data}") from None
            time.sleep(0.02)


def in_use(path: Path) -> bool:
    """Whether a process of a server still uses the data of `path`."""
    try:
        descriptor = os.open(path / DATA, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove(path: Path) -> None:
    """Delete the folder apart that holds the data of `path` and of no other project."""
    link = path / DATA
    if link.is_symlink():
        apart = Path(os.path.realpath(link)).parent
        if _is_ours(apart):
            with contextlib.suppress(EmbeddedError):
                _follow_project(link, apart)  # a copy of the link has no right to the data
            if _origin(apart) == path:
                shutil.rmtree(apart)


def own(data: Path, account: pwd.struct_passwd | None, earlier: Set[int]) -> None:
    """Ensure that the data belongs to the server's user; take it over from an earlier one.

    earlier: numbers of the users of root's earlier servers. Raises EmbeddedError.
    """
    user = os.geteuid() if account is None else account.pw_uid
    owner = data.stat().st_uid
    if owner == user:
        return
    if account is None or owner not in {0, *earlier}:
        raise EmbeddedError(f"{data} belongs to {user_name(owner)}: run this as that user")
    _take_over(data, account, earlier)


def forget_dead(data: Path) -> None:
    """Remove the process number of a server that is gone, while holding its lock.

    PostgreSQL does not start as long as the number is taken: by a zombie that nobody reaps, or
    by another program after a container was started anew.
    """
    opened = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        number = _noted_process(opened)
        if (
            number is not None
            and Path(f"/proc/{number}").exists()
            and not _works_in(number, opened)
        ):
            os.unlink("postmaster.pid", dir_fd=opened)
    except PermissionError:
        pass  # another user's process, which PostgreSQL itself ignores
    finally:
        os.close(opened)


def open_to_all(path: Path) -> bool:
    """Whether a user without any rights can read below `path`."""
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.parents]) and bool(
        path.stat().st_mode & 0o004
    )


def private_root() -> Path:
    """Create the folder for data apart: only root can list it or write to it."""
    APART.mkdir(parents=True, exist_ok=True)
    APART.chmod(0o711)
    return APART


def _behind(link: Path) -> Path:
    data = Path(os.path.realpath(link))
    apart = data.parent
    if _is_ours(apart):
        _follow_project(link, apart)
    if (data / "PG_VERSION").exists() or (apart / _UNFINISHED).exists():
        return data
    raise EmbeddedError(
        f"{link} leads to {data}, where no database is: mount its disk or bring it back;"
        " remove the link only to begin with an empty database"
    )


def _follow_project(link: Path, apart: Path) -> None:
    """Record the project's present path; refuse a copy of it, which leads to the same data."""
    origin = _origin(apart)
    path = link.parent
    if origin == path:
        return
    other = origin / DATA
    with contextlib.suppress(OSError):
        if other.is_symlink() and other.resolve() == link.resolve() and not origin.samefile(path):
            raise EmbeddedError(
                f"{link} and {other} lead to the same database, {link.resolve()}: a copy of a project"
                " needs its own; remove the link that is the copy"
            )
    _note_origin(apart, path)


def _is_ours(apart: Path) -> bool:
    return apart.parent == APART.resolve() and (apart / _ORIGIN).exists()


def _origin(apart: Path) -> Path:
    return Path(os.fsdecode((apart / _ORIGIN).read_bytes()))


def _note_origin(apart: Path, path: Path) -> None:
    new = apart / f"{_ORIGIN}.new"
    new.write_bytes(os.fsencode(path))
    new.replace(apart / _ORIGIN)


def _new_apart(path: Path) -> Path:
    apart = Path(tempfile.mkdtemp(prefix="data-", dir=private_root().resolve()))
    apart.chmod(0o711)
    _note_origin(apart, path)
    return apart


def _move_apart(data: Path) -> Path:
    """Move data whose project came below a closed folder, where its server cannot reach it."""
    apart = _new_apart(data.parent)
    (data.parent / _MOVING).symlink_to(apart / DATA)
    try:
        data.rename(apart / DATA)
    except OSError as error:
        (data.parent / _MOVING).unlink()
        raise EmbeddedError(
            f"the server's user cannot reach {data}, and it cannot be moved to {apart}:"
            f" {error.strerror}"
        ) from None
    (data.parent / _MOVING).rename(data)
    return apart / DATA


def _take_over(data: Path, account: pwd.struct_passwd, earlier: Set[int]) -> None:
    """Give the data to another user, as root, while the earlier one may interfere.

    Each file is checked and given by its descriptor: a name could lead to another file by then.
    """
    top = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _refuse_running(top, data)
        # The earlier user is shut out first; root as owner marks an unfinished change.
        os.fchown(top, 0, 0)
        os.fchmod(top, 0o700)
        for folder, folders, files, descriptor in os.fwalk(".", dir_fd=top):
            for name in [*folders, *files]:
                _give(descriptor, name, account, earlier, data / folder / name)
        os.fchown(top, account.pw_uid, account.pw_gid)
    finally:
        os.close(top)


def _give(
    folder: int, name: str, account: pwd.struct_passwd, earlier: Set[int], path: Path
) -> None:
    if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode & 0o170000 not in {
        0o040000,
        0o100000,
    }:
        return  # a link, a socket: PostgreSQL needs to own neither
    # Not blocking: by now the name may be a FIFO.
    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        owner = os.fstat(opened).st_uid
        if owner in earlier:
            os.fchown(opened, account.pw_uid, account.pw_gid)
        elif owner != account.pw_uid:
            raise EmbeddedError(f"{path} belongs to {user_name(owner)}, and is no file of a server")
    finally:
        os.close(opened)


def _refuse_running(top: int, data: Path) -> None:
    """Refuse a running server of an earlier release, which has no lock but a process number."""
    number = _noted_process(top)
    if number is not None and _works_in(number, top):
        raise EmbeddedError(
            f"a server of an earlier release, process {number}, still uses {data}: stop it first"
        )


def _noted_process(data: int) -> int | None:
    try:
        opened = os.open("postmaster.pid", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=data)
        with os.fdopen(opened) as file:
            return int(file.readline())
    except (OSError, ValueError):
        return None


def _works_in(number: int, data: int) -> bool:
    """Whether a living process has this folder as its own, as a server has its data."""
    try:
        used = Path(f"/proc/{number}/cwd").stat()
    except FileNotFoundError:
        return False  # gone, or a zombie
    here = os.fstat(data)
    return (used.st_dev, used.st_ino) == (here.st_dev, here.st_ino)
