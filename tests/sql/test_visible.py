"""What becomes of text that a terminal obeys or an eye cannot see, whatever it is."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sql.visible import blanked, json_text, visible, visible_line, visible_lines
from tests.support.process import ROOT
from tests.support.text import _UNSEEN, hostile

any_text = st.text(st.characters(exclude_categories=()))


@given(any_text)
def test_nothing_that_acts_or_hides_is_left(text: str) -> None:
    assert hostile(visible(text)) == []
    assert hostile(visible_line(text)) == []
    assert hostile(blanked(text)) == []
    assert hostile(visible_lines(text), keep="\n\t") == []
    assert visible(visible(text)) == visible(text)
    assert len(blanked(text)) == len(text)


@given(st.recursive(any_text, lambda each: st.dictionaries(any_text, each) | st.lists(each)))
def test_json_loses_nothing_and_is_ascii(document: object) -> None:
    text = json_text(document)
    assert text.isascii()
    assert hostile(text) == []
    assert json.loads(text) == document


@pytest.mark.parametrize(
    "letter",
    "\x00\x07\x08\n\r\t\x0b\x0c\x1b\x7f\x85\x9b\x9d\xad\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e"
    "\u2066\u2069\ufeff\ufffe\ud800\udcff" + _UNSEEN,
)
def test_each_is_an_escape_that_names_it(letter: str) -> None:
    shown = visible(f"a{letter}b")
    assert shown.isascii()
    assert shown == f"a{shown[1:-1]}b"
    assert shown[1] == "\\"
    assert shown[1:-1].encode().decode("unicode_escape") == letter


def test_what_people_write_stays() -> None:
    text = "Zürich £5 ½ 日本 🙂 שלום ^GSPC BTC-USD ✓ ✗ … · [/x] \\"
    assert visible(text) == visible_line(text) == text
    assert visible_lines("a\tb\nc") == "a\tb\nc"
    assert visible_line(" a \r\n\t b ") == "a b"


def test_nan_is_null() -> None:
    assert json_text({"a": [float("nan"), (float("inf"), 1.5)]}) == '{"a": [null, [null, 1.5]]}'


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_whoever_prints_prints_text(encoding: str) -> None:
    code = (
        "import sys, warnings\n"
        "from sql.streams import guard\n"
        "guard()\n"
        "print('\\x1b[31m\\u202e\\udcff\\u65e5\\x85', end='|\\n')\n"
        "sys.stderr.writelines(['\\x9b31m', '\\n'])\n"
        "warnings.warn('\\x1b]0;owned\\x07')\n"
        "raise ValueError('\\x1b[2J')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    for output in (done.stdout, done.stderr):
        assert hostile(output.decode(encoding), keep="\n") == []
    assert done.stdout.startswith(rb"\x1b[31m\u202e\udcff")
    assert done.stdout.endswith(b"\\x85|\n")
    assert b"ValueError: \\x1b[2J" in done.stderr
    assert b"\\x1b]0;owned\\x07" in done.stderr
