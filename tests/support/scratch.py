"""Choose where the suite keeps its servers and files: in memory where there is room.

Each test copies a database of some three hundred files. On a disk that copy can cost a third
of a second of the kernel's time, in memory a hundredth, and the suite needs thousands.
"""

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - only as a parent of folders with fresh names
_LEAST = 4 << 30  # bytes; containers often give 64 MB


def use_memory() -> None:
    """Make memory the folder for temporary files, for this process and its children.

    A TMPDIR that is set stays.
    """
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return
    if shutil.disk_usage(_MEMORY).free >= _LEAST:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)
