"""The log as people and machines read it, whatever strangers wrote into it."""

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.support.process import ROOT
from tests.support.text import hostile

_WORST = "[/x]\x1b]0;OWNED\x07\x1b[2J\u202e\r\n2026-01-01T00:00:00Z [error    ] OWNED\x9b\x7f\u2028\udcff"
_CODE = f"""
import logging, sys
from sql.streams import guard
guard()
from sql.logs import configure, logger
from sql.settings import LogSettings
configure(LogSettings(log_format=sys.argv[1]))
worst = {_WORST!r}
logger().warning(worst, reason=worst, rows=[{{worst: worst}}], raw=worst.encode(errors="replace"))
try:
    raise ValueError(worst)
except ValueError:
    logger().exception("died")
    logging.getLogger("library").error("%s", worst, exc_info=True)
logger().info("end", number=float("nan"))
"""
# A record begins with its time, which a terminal shows dim.
_RECORD = re.compile(r"20\d\d-\d\d-\d\dT\S+Z")


def log(form: str, *, terminal: bool, **environ: str) -> str:
    command = [sys.executable, "-c", _CODE, form]
    env = {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environ}
    if not terminal:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True)
        return done.stderr.decode()
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        output = bytearray()
        with suppress(OSError):
            while data := os.read(ours, 65536):
                output += data
    os.close(ours)
    assert process.returncode == 0, output
    return output.replace(b"\r\n", b"\n").decode()


def test_json_lines_are_ascii_and_lose_nothing() -> None:
    text = log("json", terminal=False)
    assert hostile(text, keep="\n") == []
    events = [json.loads(line) for line in text.splitlines()]
    assert events[0]["event"] == events[0]["reason"] == _WORST
    assert events[0]["rows"] == [{_WORST: _WORST}]
    assert [event["event"] for event in events] == [_WORST, "died", _WORST, "end"]
    assert _WORST in events[1]["exception"]
    assert _WORST in events[2]["exception"]
    assert events[2]["logger"] == "library"
    assert events[3]["number"] is None


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_has_a_line_for_each_record_and_bars_before_traces(*, terminal: bool) -> None:
    text = log("console", terminal=terminal)
    # Colours are ours: those of structlog, none of which the text above has.
    assert ("\x1b[0m" in text) == terminal
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert hostile(plain, keep="\n") == []
    lines = plain.splitlines()
    assert sum(bool(_RECORD.match(line)) for line in lines) == 4
    assert all(_RECORD.match(line) or line.startswith("  | ") for line in lines)
    assert "\\x1b]0;OWNED" in plain
