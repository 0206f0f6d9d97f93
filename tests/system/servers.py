"""Processes that use an embedded server, and the processes of such a server."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.process import environment
from tests.support.waiting import until

# A process that uses the server until its stdin ends.
_USER = """
import sys
from pathlib import Path
from sql import embedded
with embedded.use(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""

# A server that stops writes to a disk which others may keep busy.
STOP_SECONDS = 60

User = subprocess.Popen[str]


def begin_user(path: Path) -> User:
    """Start a process that uses the server under `path` until its stdin ends."""
    return subprocess.Popen(
        [sys.executable, "-c", _USER, str(path)],
        env=environment("embedded:unused"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def url_of(user: User) -> str:
    """Wait until the user's server is up."""
    assert user.stdout is not None
    line = user.stdout.readline().strip()
    assert line.startswith("postgresql://"), line
    return line


def end(user: User) -> None:
    """Let a user end by itself."""
    user.communicate("", timeout=STOP_SECONDS)
    assert user.returncode == 0


def supervisor(path: Path) -> int:
    return int(json.loads((path / "run" / "server.json").read_text())["supervisor"])


def postmaster(path: Path) -> int:
    return int((path / "data" / "postmaster.pid").read_text().splitlines()[0])


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            parents[int(entry.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def running(pids: set[int]) -> set[int]:
    """Those of the processes that are there and no zombies."""
    alive = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            alive.add(pid)
    return alive


def until_gone(pids: set[int]) -> None:
    until(f"none of {pids} runs", lambda: not running(pids), STOP_SECONDS)
