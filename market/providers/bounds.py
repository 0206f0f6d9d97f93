"""How much of a provider's answer is taken: bytes, elements, rows, seconds, numbers.

A provider may send whatever it likes, and the same process fetches for everybody. The largest good
answers are the US market of a day (12,000 rows, 1.6 MB) and half a century of a symbol's days
(12,500 rows, 1.5 MB); each limit is several times that.
"""

import email.utils
import math
import time
import zlib
from collections.abc import Iterator
from urllib.parse import quote

# After decompression.
MOST_BYTES = 16 * 2**20
# Once it is read, a row costs a kilobyte of memory and an element up to a hundred bytes.
MOST_ROWS = 60_000
_MOST_ELEMENTS = 600_000
# Of an answer that is not `ok`; enough to see what is wrong with it.
MOST_KEPT = 256 * 1024
# What a provider may ask to be left alone for, at most.
DAY_SECONDS = 86_400.0

# How much is decompressed at a time: a few bytes can stand for a thousand times as many.
_PIECE = 64 * 1024


class ExcessError(ValueError):
    """More came than any good answer has."""


class Inflated:
    """The bytes of a body that is plain or compressed by gzip or deflate, a piece at a time.

    More than one compression, and those that were not asked for, raise ValueError: two of them
    make a terabyte of a megabyte.
    """

    def __init__(self, encoding: str) -> None:
        name = encoding.strip().lower()
        if name not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise ValueError(f"a content encoding that was not asked for: {name}")
        self._name = name if name not in {"", "identity"} else None
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32) if self._name else None
        self._is_new = True

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk stands for; raises ValueError for what is not compressed so."""
        if self._zlib is None:
            yield chunk
            return
        piece = b""
        # A full piece may have more behind it although the chunk is used up.
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
                    return  # what follows the end is nothing
                self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing at its end."""
        return self._zlib is None or self._is_new or self._zlib.eof


def check_size(body: bytes) -> None:
    """Raise ExcessError where a document has more objects or elements than any good answer.

    Counted before it is parsed, in strings too: 4 MB of `{},` are gigabytes once they are objects.
    """
    objects = body.count(b"{") + body.count(b"[")
    if objects > MOST_ROWS:
        raise ExcessError(f"{objects} objects and lists; no good answer has more than {MOST_ROWS}")
    elements = body.count(b",")
    if elements > _MOST_ELEMENTS:
        raise ExcessError(f"{elements} elements; no good answer has more than {_MOST_ELEMENTS}")


def retry_after(header: str | None) -> tuple[float | None, str]:
    """Seconds that a Retry-After asks for, and words for the message where that is not its own.

    Capped at a day; None where it cannot be read or has passed.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text)  # not an int: 10,000 digits are infinity and no error
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, ArithmeticError, IndexError, OSError):
            return None, ""
    if not seconds > 0:
        return None, ""
    if seconds > DAY_SECONDS:
        return DAY_SECONDS, "; it asked for a longer pause than a day, a day is kept"
    return seconds, ""


def path_segment(symbol: str, safe: str = "") -> str:
    """A symbol as one segment of a URL's path; raises ValueError for one that would leave it."""
    if not symbol.strip("."):
        raise ValueError(f"{symbol!r} is not a symbol")
    return quote(symbol, safe=safe)


def whole(volume: float | None) -> int | None:
    """A volume as a number of shares; some count fractions of coins and shares."""
    return None if volume is None or not math.isfinite(volume) else round(volume)
