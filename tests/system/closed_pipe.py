"""Run every command with a stdout that nobody reads; prints how each ended, as JSON.

A process of its own, because it forks for each command, so that modules are loaded once.
"""

import json
import os
import sys
import tempfile
from typing import IO

from market.cli.console import run
from tests.support.every_command import APPS, COMMANDS


def ended(arguments: tuple[str, ...], *, is_read: bool, errors: IO[bytes]) -> int:
    """Fork and run one command; returns its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    reader, writer = os.pipe()
    os.close(reader)
    stdout = os.open(os.devnull, os.O_WRONLY) if is_read else writer
    os.dup2(stdout, 1)
    os.dup2(errors.fileno(), 2)
    sys.argv = list(arguments)
    code = 70
    try:
        run(APPS[arguments[0]])
    except SystemExit as error:
        code = int(error.code or 0)
        sys.stdout.flush()  # as at the interpreter's end
    finally:
        os._exit(code)


found = {}
for command in [*COMMANDS, ("worker", "--help"), ("market", "--help"), ("market", "db", "--help")]:
    with tempfile.TemporaryFile() as errors:
        usual = ended(command, is_read=True, errors=errors)
        errors.truncate(0)
        errors.seek(0)
        cut = ended(command, is_read=False, errors=errors)
        errors.seek(0)
        found[" ".join(command)] = (usual, cut, errors.read().decode())
print(json.dumps(found))  # noqa: T201 - for the test
