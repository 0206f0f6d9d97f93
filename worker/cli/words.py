"""Numbers and changes in the sentences of the worker's screens."""

from collections.abc import Mapping
from typing import Any


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Return `no events`, `1 event` or `2,000 events`. nouns: the plural, by default with an s."""
    many = nouns or f"{noun}s"
    return f"1 {noun}" if count == 1 else f"{count:,} {many}" if count else f"no {many}"


def changes(before_and_after: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Return a line for each count that changed: `ready 0 → 1`."""
    changed = [
        f"{name} {before:,} → {after:,}"
        for name, (before, after) in before_and_after.items()
        if before != after
    ]
    return [", ".join(changed)] if changed else []
