"""Every promise names a test that exists: in SECURITY.md and wherever a page names tests."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.process import ROOT

NAMED = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)(?:::(\w+))?(?:\[[^`]*\])?`")
ROW = re.compile(r"^\| (?!promise \|)(.+?) \| (.+) \|$", re.MULTILINE)


def promises(text: str) -> list[tuple[str, str]]:
    """The rows of all tables whose head is `promise | test`."""
    tables = re.findall(r"^\| promise \| test \|\n\|[-|]+\|\n((?:\|.*\n)*)", text, re.MULTILINE)
    return [row for table in tables for row in ROW.findall(table)]


def problem(path: str, function: str) -> str | None:
    """What is wrong with a named test; paths count from the root or from tests/."""
    found = [base / path for base in (ROOT, ROOT / "tests") if (base / path).exists()]
    if not found:
        return f"{path} does not exist"
    if function and function not in functions(found[0]):
        return f"{path} has no {function}"
    return None


def functions(path: Path) -> set[str]:
    if path.is_dir():
        return set()
    found = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in found if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/guarantees.md"])
def test_every_test_that_a_promise_names_exists(page: str) -> None:
    rows = promises((ROOT / page).read_text())
    assert rows
    problems = []
    for promise, cell in rows:
        named = NAMED.findall(cell)
        problems += [each for each in (problem(*test) for test in named) if each]
        if not named:
            problems.append(f"no test is named for: {promise}")
        if page == "SECURITY.md":
            problems += [f"{path}: which test?" for path, function in named if not function]
    assert problems == []


def test_a_test_that_does_not_exist_is_found() -> None:
    here = "tests/system/test_promises.py"
    assert problem(here, "test_a_test_that_does_not_exist_is_found") is None
    assert problem(here, "test_nowhere") == f"{here} has no test_nowhere"
    assert problem("tests/nowhere.py", "test_nowhere") == "tests/nowhere.py does not exist"
    assert problem("system/", "test_nowhere") == "system/ has no test_nowhere"
