"""Text of strangers as text: what may reach a terminal, a log, a page or a label.

Symbols, reasons, providers' words, names of files and databases, and the messages of an owner's
triggers are written by others. A terminal obeys some of their characters, an editor hides others,
a log ends its line at some. Each output has one place that calls these functions; rows keep what
was written. A character that acts or is invisible is shown as an escape: `\x1b`, `\u202e`.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

# Letters and marks without a shape of their own (Unicode's Default_Ignorable_Code_Point) that
# str.isprintable takes for printable: a name could hold a second, unseen one.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0000-\U000e0fff]"
)


_OURS = re.compile("[^\n\t]+")


def visible(text: str) -> str:
    """Replace what acts on a terminal or cannot be seen, ends of lines too, by visible escapes.

    Idempotent. What is left: letters, marks, numbers, symbols, and the plain space.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _is_plain(letter) else _escape(letter) for letter in text)


def visible_line(text: str) -> str:
    """`visible` after folding white space, ends of lines too, into single spaces."""
    return visible(" ".join(text.split()))


def blanked(text: str) -> str:
    """The same characters as blanks, where there is no room for escapes."""
    return "".join(letter if _is_plain(letter) else " " for letter in text)


def visible_lines(text: str) -> str:
    r"""`visible` but for \n and \t: for text whose lines and columns are ours."""
    return _OURS.sub(lambda found: visible(found[0]), text)


def json_text(
    document: Any, *, default: Callable[[Any], Any] | None = None, indent: int | None = None
) -> str:
    """A JSON document in ASCII: no text is lost, and nothing in it acts on a terminal.

    NaN and infinities, which JSON lacks, are null.
    """
    try:
        text = json.dumps(document, default=default, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(document), default=default, indent=indent, allow_nan=False)
    # The one control character that json writes as it is.
    return text.replace("\x7f", "\\u007f")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_plain(letter: str) -> bool:
    return letter.isprintable() and not _INVISIBLE.match(letter)


def _escape(letter: str) -> str:
    # As Python writes it: \x1b, \u202e, \U000e0041; of \n, \r and \t the short form.
    code = ord(letter)
    if letter in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[letter]
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
