"""Compare each installed package's licence with the list in pyproject.toml.

The metadata is read in three places: License-Expression (SPDX), the older free-text License, and
classifiers. Whatever is said must be accepted: a package with two classifiers needs both.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata

TOKEN = re.compile(r"\(|\)|[^\s()]+")


@dataclass(frozen=True)
class Accepted:
    """The table `tool.reckoner.licences`: SPDX names, other spellings of them, packages by name."""

    accepted: list[str]
    spellings: dict[str, str]
    packages: dict[str, str]


def problems(names: Iterable[str], accepted: Accepted) -> list[str]:
    """Say in one line each which packages' licences are not accepted."""
    found = []
    for name in names:
        try:
            stated = licences(name, accepted.spellings)
        except PackageNotFoundError:
            found.append(f"licence: {name} is in run.lock and not installed")
            continue
        known = accepted.packages.get(name)
        if known is not None and stated in ([], [known]):
            continue
        refused = [each for each in stated if not allows(each, set(accepted.accepted))]
        if refused or not stated:
            said = ", ".join(refused) or "unknown"
            found.append(f"licence: {name}: {said} is not accepted in pyproject.toml")
    return found


def licences(name: str, spellings: dict[str, str]) -> list[str]:
    """List the licences that a package's metadata states; a long text names none."""
    about = metadata(name)
    if "License-Expression" in about:
        return [about["License-Expression"].strip()]
    stated = [entry.rpartition(" :: ")[2] for entry in classifiers(about.get_all("Classifier", []))]
    text = about["License"].strip() if "License" in about else ""
    if text and text != "UNKNOWN" and "\n" not in text:
        stated.append(text)
    return list(dict.fromkeys(spellings.get(each, each) for each in stated))


def classifiers(entries: Iterable[str]) -> list[str]:
    """Keep the classifiers that name a licence ("OSI Approved" alone names none)."""
    ours = [entry for entry in entries if entry.startswith("License ::")]
    return [entry for entry in ours if entry != "License :: OSI Approved"]


def allows(expression: str, accepted: set[str]) -> bool:
    """Evaluate an SPDX expression: each side of AND must be accepted, one side of OR."""
    if expression in accepted:
        return True
    tokens = TOKEN.findall(expression)

    def either() -> bool:
        result = both()
        while tokens and tokens[0].upper() == "OR":
            tokens.pop(0)
            result = both() or result
        return result

    def both() -> bool:
        result = one()
        while tokens and tokens[0].upper() == "AND":
            tokens.pop(0)
            result = one() and result
        return result

    def one() -> bool:
        if not tokens:
            return False
        word = tokens.pop(0)
        if word == "(":
            result = either()
            return bool(tokens) and tokens.pop(0) == ")" and result
        if len(tokens) >= 2 and tokens[0].upper() == "WITH":
            word = f"{word} WITH {tokens[1]}"
            del tokens[:2]
        return word in accepted

    result = either()
    # Words that are left over are free text, in which "MIT or whatever" must not pass as MIT.
    return result and not tokens
