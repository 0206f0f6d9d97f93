"""Bounds of a provider's answer: bytes, elements, rows, seconds, numbers.

Without them one provider's answer could fill the memory of the worker that fetches for all tickers.
The largest good answers are the US market of a day (12,000 rows, 1.6 MB) and half a century of a
symbol's days (12,500 rows, 1.5 MB); each bound is several times that.
"""

import email.utils
import time
import zlib
from collections.abc import Iterator
from urllib.parse import quote

# After decompression.
MOST_BYTES = 16 * 2**20
# A parsed row takes a kilobyte of memory, an element up to a hundred bytes.
MOST_ROWS = 60_000
_MOST_ELEMENTS = 600_000
# The kept part of an answer that is not `ok`; enough to see the fault.
MOST_KEPT = 256 * 1024
# The longest pause that a provider may request.
DAY_SECONDS = 86_400.0

# Decompressed at a time: a few bytes can expand to a thousand times as many.
_PIECE = 64 * 1024


class ExcessError(ValueError):
    """An answer is larger than any good one."""


class Inflated:
    """The bytes of a body that is plain or compressed by gzip or deflate, a piece at a time.

    Raises ValueError for an encoding that was not requested, and for more than one: two of them
    turn a megabyte into a terabyte.
    """

    def __init__(self, encoding: str) -> None:
        name = encoding.strip().lower()
        if name not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise ValueError(f"a content encoding that was not asked for: {name}")
        self._name = name if name not in {"", "identity"} else None
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32) if self._name else None
        self._is_new = True

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Decompress a chunk; raises ValueError where it is not in this encoding."""
        if self._zlib is None:
            yield chunk
            return
        piece = b""
        # After a full piece, zlib may hold more although the chunk is used up.
        while chunk or len(piece) == _PIECE:
            try:
                piece = self._zlib.decompress(chunk, _PIECE)
            except zlib.error as error:
                if not (self._is_new and self._name == "deflate"):
                    raise ValueError(f"not {self._name}: {error}") from None
                # Some servers leave out zlib's header.
                self._zlib, self._is_new = zlib.decompressobj(-zlib.MAX_WBITS), False
                continue
            self._is_new = False
            yield piece
            chunk = self._zlib.unconsumed_tail
            if self._zlib.eof:
                chunk, piece = self._zlib.unused_data, b""
                if self._name == "deflate" or not chunk.startswith(b"\x1f\x8b"):
                    return  # bytes behind the end are ignored
                self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32)

    @property
    def is_whole(self) -> bool:
        """Whether the compressed body has its end."""
        return self._zlib is None or self._is_new or self._zlib.eof


def check_size(body: bytes) -> None:
    """Raise ExcessError where a document has more objects or elements than any good answer.

    Counted before parsing, also inside strings: 4 MB of `{},` become gigabytes of objects.
    """
    objects = body.count(b"{") + body.count(b"[")
    if objects > MOST_ROWS:
        raise ExcessError(f"{objects} objects and lists; no good answer has more than {MOST_ROWS}")
    elements = body.count(b",")
    if elements > _MOST_ELEMENTS:
        raise ExcessError(f"{elements} elements; no good answer has more than {_MOST_ELEMENTS}")


def retry_after(header: str | None) -> tuple[float | None, str]:
    """Return the seconds of a Retry-After, and a note.

    Capped at a day, which the note says. None where it cannot be read or has passed.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text)  # not an int: 10,000 digits become infinity instead of an error
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, ArithmeticError, IndexError, OSError):
            return None, ""
    if not seconds > 0:
        return None, ""
    if seconds > DAY_SECONDS:
        return DAY_SECONDS, "; it requested more than a day, a day is kept"
    return seconds, ""


def path_segment(symbol: str, safe: str = "") -> str:
    """Quote a symbol as one segment of a URL's path.

    Raises ValueError for `.` and `..`, which would leave the path.
    """
    if not symbol.strip("."):
        raise ValueError(f"{symbol!r} is not a symbol")
    return quote(symbol, safe=safe)
