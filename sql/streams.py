"""stdout and stderr that pass only visible text, from commands, libraries and tracebacks alike.

`guard` replaces both once, at the start of a command. What draws on a terminal (rich, a coloured
log) needs the stream beneath, and gives it only texts that went through `sql.visible`.
"""

import io
import sys
from typing import IO, TextIO, TypeVar

from sql.visible import visible_lines

S = TypeVar("S", bound=IO[str])


class Guarded(io.TextIOWrapper):
    """A text stream that writes nothing but visible text, tabs and ends of lines.

    What the encoding lacks is escaped too, so that no stranger's letter ends a command.
    """

    def __init__(self, beneath: io.TextIOWrapper) -> None:
        super().__init__(
            beneath.buffer,
            encoding=beneath.encoding,
            errors="backslashreplace",
            line_buffering=beneath.line_buffering,
            write_through=beneath.write_through,
        )
        # Keeps the stream beneath: its garbage collection would close the descriptor.
        self.beneath = beneath

    def write(self, text: str) -> int:
        """Write, and return the length of what was given."""
        super().write(visible_lines(text))
        return len(text)


def guard() -> None:
    """Replace sys.stdout and sys.stderr by guarded streams; a test's streams stay."""
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def _guarded(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, Guarded):
        return stream
    stream.flush()
    stream.reconfigure(errors="backslashreplace")
    return Guarded(stream)


def beneath(stream: S) -> S | TextIO:
    """Return the stream beneath a guarded one, for drawing text that `sql.visible` has passed."""
    stream.flush()
    return stream.beneath if isinstance(stream, Guarded) else stream
