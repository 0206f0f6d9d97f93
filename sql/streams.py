"""stdout and stderr that pass only visible text, from commands, libraries and tracebacks alike.

`guard` replaces both once, at the start of a command. A reader that has enough (`| head`) ends the
command with exit code 0; the log goes on without one. What draws on a terminal (rich, a coloured
log) needs the stream beneath, and gives it only texts that went through `sql.visible`.
"""

import io
import os
import sys
from typing import IO, TextIO, TypeVar

from sql.visible import visible_lines

S = TypeVar("S", bound=IO[str])


class ReaderGone(SystemExit):
    """The reader of stdout closed its pipe: it has what it wants, and the command ends with 0."""

    def __init__(self) -> None:
        super().__init__(0)


class Guarded(io.TextIOWrapper):
    """A text stream that writes nothing but visible text, tabs and ends of lines.

    What the encoding lacks is escaped too, so that no stranger's letter ends a command.
    """

    def __init__(self, beneath: io.TextIOWrapper, *, is_log: bool = False) -> None:
        super().__init__(
            beneath.buffer,
            encoding=beneath.encoding,
            errors="backslashreplace",
            line_buffering=beneath.line_buffering,
            write_through=beneath.write_through,
        )
        # Keeps the stream beneath: its garbage collection would close the descriptor.
        self.beneath = beneath
        self._is_log = is_log

    def write(self, text: str) -> int:
        """Write, and return the length of what was given."""
        try:
            super().write(visible_lines(text))
        except BrokenPipeError:
            self._let_go()
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            super().flush()
        except BrokenPipeError:
            self._let_go()

    def _let_go(self) -> None:
        """Write to nowhere from now on; raises ReaderGone unless it is the log."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if not self._is_log:
            raise ReaderGone


def guard() -> None:
    """Replace sys.stdout and sys.stderr by guarded streams; a test's streams stay."""
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr, is_log=True)


def _guarded(stream: TextIO, *, is_log: bool = False) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, Guarded):
        return stream
    stream.flush()
    stream.reconfigure(errors="backslashreplace")
    return Guarded(stream, is_log=is_log)


def beneath(stream: S) -> S | TextIO:
    """Return the stream beneath a guarded one, for drawing text that `sql.visible` has passed."""
    stream.flush()
    return stream.beneath if isinstance(stream, Guarded) else stream
