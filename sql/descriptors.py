"""Descriptors and threads that run out: detecting that, and waiting without one more."""

import errno
import math
import os
import resource
import select
import time
from collections.abc import Iterable

# The process or the system has no descriptor left, or no buffer for a socket.
_SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS}
# Below this limit poll refuses even the descriptors that the process has.
_FEW = 8


def readable(descriptors: Iterable[int], seconds: float) -> set[int]:
    """Wait at most so long until some of these can be read; returns those, or none.

    poll and not select, which raises for a descriptor of 1024 and more.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    try:
        return {found for found, _ in poll.poll(math.ceil(max(0.0, seconds) * 1000))}
    except OSError as error:
        if not is_short(error):
            raise
        time.sleep(min(max(0.0, seconds), 0.25))
        return set()


def _may_open() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def is_short(error: BaseException | None) -> bool:
    """Whether the system had no descriptor or thread left, also where a library wrapped that."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _SHORT:
            return True
        # poll takes no more descriptors than a process may have, whichever it has already.
        if isinstance(error, OSError) and error.errno == errno.EINVAL and _may_open() < _FEW:
            return True
        if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
            return True
        # A shared library of a module that is imported late: only the loader's message tells.
        if isinstance(error, ImportError) and os.strerror(errno.EMFILE) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
