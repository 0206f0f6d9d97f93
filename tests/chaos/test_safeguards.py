"""The functions without a safeguard are the product's in everything else.

One that stayed behind when the product's changed would break its promise for another reason.
"""

import difflib
import re
from typing import Any

import pytest

from tests.chaos.safeguards import WITHOUT
from tests.support.db import Conn
from tests.support.process import ROOT

# The folders of functions without a safeguard.
_PATHS = sorted([*WITHOUT.iterdir(), *(ROOT / "tests" / "interleavings" / "without").iterdir()])

_FUNCTIONS = """
SELECT oid::regprocedure::text AS name, prosrc, proargnames, proargdefaults::text,
       prosecdef, proconfig, provolatile, proparallel, proacl::text, prolang
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


def functions(conn: Conn) -> dict[str, dict[str, Any]]:
    return {row.pop("name"): row for row in conn.execute(_FUNCTIONS.encode()).fetchall()}


@pytest.mark.parametrize("path", _PATHS, ids=lambda path: path.stem)
def test_nothing_but_the_safeguard_is_out(conn: Conn, path: Any) -> None:
    before = functions(conn)
    conn.execute(path.read_bytes())
    after = functions(conn)

    assert after.keys() == before.keys()  # none beside the product's, which would then stay
    changed = [name for name in before if after[name] != before[name]]
    assert len(changed) == path.read_text().count("CREATE OR REPLACE FUNCTION")
    lost, instead = [], []
    for name in changed:
        body, other = before[name].pop("prosrc"), after[name].pop("prosrc")
        if other == "SELECT 0::bigint":  # it finds nothing; the rest of it does not matter
            continue
        assert after[name] == before[name]
        for line in difflib.ndiff(lines(body), lines(other)):
            lost += [line[2:]] if line.startswith("- ") else []
            instead += [line[2:]] if line.startswith("+ ") else []
    assert sorted(lost) == said(path.read_text(), "lost")
    assert sorted(instead) == said(path.read_text(), "instead")


def lines(text: str) -> list[str]:
    """The statements' lines without comments, which may differ."""
    found = (re.sub(r"--.*", "", line).strip() for line in text.splitlines())
    return [line for line in found if line]


def said(text: str, word: str) -> list[str]:
    """What the head of a file says is lost, or stands there instead."""
    return sorted(re.findall(rf"^-- {word}: (.*)$", text, re.MULTILINE))
