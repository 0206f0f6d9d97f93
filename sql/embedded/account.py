"""The system user for the embedded server of root.

PostgreSQL refuses to run as root. It gets a system user of its own, made when it is first
needed. Where none can be made it runs as `nobody`: the peer map keeps nobody's other
processes from connecting, but its files are theirs to read, and the log says so.
"""

import os
import pwd
import shutil
import subprocess
import sys

NAME = "reckoner-db"
SHARED_NAME = "nobody"

_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_MAKERS = (
    # shadow, then busybox
    "useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin",
    "adduser -S -D -H -h /nonexistent -s /sbin/nologin",
)


def server_account() -> pwd.struct_passwd | None:
    """Return the server's account, created where it is missing; None where this process is not root."""
    if os.geteuid() != 0:
        return None
    account = _found(NAME) or _made()
    if account is not None and account.pw_uid != 0:
        return account
    sys.stderr.write(
        f"the user {NAME} cannot be made: the server runs as {SHARED_NAME},"
        " whose other processes can read its files\n"
    )
    return pwd.getpwnam(SHARED_NAME)


def _found(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _made() -> pwd.struct_passwd | None:
    for maker in _MAKERS:
        program, *options = maker.split()
        found = shutil.which(program, path=_SYSTEM_PATH)
        if found is None:
            continue
        done = subprocess.run(
            [found, *options, NAME], capture_output=True, text=True, timeout=30, check=False
        )
        # Another supervisor may have created it meanwhile.
        if account := _found(NAME):
            return account
        sys.stderr.write(f"{program}: {' '.join(done.stderr.split())[-300:]}\n")
    return None
