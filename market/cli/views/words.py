"""Words that several screens share: counts with their noun, and sentences of what happened."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from market.cli.display.view import Row

MARKET = "python -m market"
WORKER = "python -m worker"


def count(number: float, noun: str, plural: str = "") -> str:
    """Return `1 symbol` or `2,500 symbols`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(words: Iterable[str], empty: str = "nothing") -> str:
    """Join words by commas."""
    return ", ".join(words) or empty


def counted(parts: Sequence[tuple[Any, str] | tuple[Any, str, str]], empty: str = "nothing") -> str:
    """Join counts with their words, a plural where it differs; a count of zero is left out."""
    return listed(
        (f"{part[0]:,} {part[1] if part[0] == 1 else part[-1]}" for part in parts if part[0]), empty
    )


def total(rows: Sequence[Row], key: str) -> int:
    """Sum a key of rows; a row without it adds nothing."""
    return sum(row.get(key) or 0 for row in rows)


def verb(number: int, singular: str, plural: str) -> str:
    """Return the form of a verb for a count."""
    return singular if number == 1 else plural


def fetch_sentence(
    rows: Sequence[Row],
    well: Sequence[str],
    others: Sequence[tuple[str, str, str]] = (),
    *,
    dry_run: bool,
) -> tuple[str, int]:
    """Say what fetching symbols did; returns how many failed, too.

    well: results that are no failure. others: keys of further counts, each with its two words.
    """
    found = Counter(row["result"] for row in rows)
    good, bad = found["fetched"], sum(found[name] for name in found if name not in well)
    if dry_run and found["would fetch"]:
        sessions = count(total(rows, "sessions"), "session")
        symbols = count(found["would fetch"], "symbol")
        return f"Dry run: {sessions} of {symbols} to fetch.", bad
    if dry_run or not (good or bad):
        return "Nothing to do: every session is stored.", bad
    kinds = [
        ("inserted", "new bar", "new bars"),
        ("updated", "changed bar", "changed bars"),
        *others,
    ]
    stored = counted([(total(rows, key), one, many) for key, one, many in kinds], "no new bar")
    failed = f"{bad:,} of {count(len(rows), 'symbol')} not fetched" if bad else ""
    done = f"{count(good, 'symbol')} fetched: {stored}" if good else ""
    return "; ".join(filter(None, [failed, done])) + ".", bad
