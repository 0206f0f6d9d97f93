"""The symbols of `--symbols`: `all`, `AAPL,TSLA`, or `@file`.

One word that is not a symbol stops the command before anything is written, with its place in the
list. A job of 500 symbols that silently lacks three is worse than one that is started twice.
"""

from collections.abc import Sequence
from pathlib import Path

from market.files import read_regular
from sql.database import Connection
from sql.errors import InvalidInput, NotFound

_SHOWN = 5
_MOST_BYTES = 2**20


def read(text: str) -> list[tuple[str, str]] | None:
    """Return the words with the place of each, in order; None for `all`.

    A file has symbols separated by white space or commas, and comments from # on. Raises
    InvalidInput.
    """
    if text.strip().lower() == "all":
        return None
    if text.startswith("@"):
        words = _read_file(Path(text[1:]))
    else:
        words = [(word.strip(), "--symbols") for word in text.split(",") if word.strip()]
    if not words:
        raise InvalidInput(
            f"{text[1:] if text.startswith('@') else '--symbols'} has no symbol in it: say"
            " all, A,B or @FILE with symbols",
        )
    return words


def _read_file(path: Path) -> list[tuple[str, str]]:
    try:
        lines = read_regular(path, _MOST_BYTES).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise InvalidInput(f"--symbols @{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"--symbols @{path}: not a text file (UTF-8)") from None
    return [
        (word, f"{path}:{number}")
        for number, line in enumerate(lines, 1)
        for word in line.partition("#")[0].replace(",", " ").split()
    ]


def checked(
    conn: Connection, words: Sequence[tuple[str, str]], *, registered: bool = False
) -> list[str]:
    """Return the words as symbols, each once.

    registered: they must be. Raises NotFound with the place of each word that is not a symbol.
    """
    rows = conn.execute(
        "SELECT normalize_symbol(word) AS symbol, EXISTS (SELECT FROM ticker_registry r"
        "  WHERE r.symbol = normalize_symbol(word)) AS is_known"
        " FROM unnest(%s::text[]) WITH ORDINALITY w(word, n) ORDER BY n",
        [[word.encode(errors="replace").decode().replace("\0", "?") for word, _ in words]],
    ).fetchall()
    found = [row["symbol"] for row in rows]
    bad = [
        f"{place}: {word[:30]!r}"
        for (word, place), symbol in zip(words, found, strict=True)
        if symbol is None
    ]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise NotFound(
            f"not a symbol: {', '.join(bad[:_SHOWN])}{more}; nothing was written, correct the list"
            " and start again",
        )
    unknown = list(dict.fromkeys(row["symbol"] for row in rows if not row["is_known"]))
    if registered and unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise NotFound(
            f"not registered: {', '.join(unknown[:_SHOWN])}{more}; python -m market"
            f" register-tickers {unknown[0]} registers one"
        )
    return list(dict.fromkeys(found))
