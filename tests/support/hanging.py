"""A ticker whose fetch hangs until the test answers."""

import errno
import os
from pathlib import Path

from tests.support.waiting import until


class HangingTicker:
    """A symbol whose CSV file is a FIFO: who opens it hangs until someone answers.

    The provider refuses FIFOs; `tests/hooks` makes it read one that has a link `SYMBOL.fifo`.

    `answer` lets one hanging fetch go on; `replace` gives later fetches a proper file, while
    a fetch that hangs already can still be answered.
    """

    def __init__(self, folder: Path, symbol: str = "SLOW") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.symbol = symbol
        self._path = folder / f"{symbol}.csv"
        self._held = folder / f"{symbol}.fifo"
        os.mkfifo(self._path)
        os.link(self._path, self._held)
        self._answer: int | None = None

    def until_asked(self) -> int:
        """Wait until a fetch hangs on the file; returns the descriptor to answer on."""
        if self._answer is None:
            self._answer = until(f"somebody asks for {self.symbol}", self._try_open)
        return self._answer

    def _try_open(self) -> int | None:
        try:
            # Without a reader this is ENXIO. The reader then hangs in read instead of open.
            return os.open(self._held, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return None

    def answer(self, text: str) -> None:
        """Let who hangs read this text."""
        descriptor = self.until_asked()
        self._answer = None
        try:
            assert os.write(descriptor, text.encode()) == len(text)
        finally:
            os.close(descriptor)

    def replace(self, path: Path) -> None:
        """Put a proper file in the FIFO's place."""
        path.replace(self._path)
