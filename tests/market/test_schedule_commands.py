"""`market schedules`, `run-task` and `runs`: an operator's evening, by commands."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import document, error_line
from tests.support.db import Conn, value
from tests.support.inline_cli import inline, on_terminal


def one(url: str, *arguments: str) -> dict[str, Any]:
    """The one row that a command prints."""
    [row] = document(inline(url, "market", *arguments, "--json"))
    return dict(row)


def test_a_schedule_from_its_making_to_its_end(url: str, conn: Conn) -> None:
    made = one(
        url, "schedules", "create", "mine", "--task", "backfill_5m", "--trigger", "every 5 minutes",
        "--param", "n_days=2", "--param", "symbols=AAPL,brk-b",
    )  # fmt: skip
    assert (made["state"], made["version"]) == ("on", 1)
    assert made["params"] == {"n_days": 2, "symbols": ["AAPL", "brk-b"]}
    assert made["next_tick_at"]

    paused = one(url, "schedules", "pause", "mine", "--reason", "a new disk")
    assert paused["state"] == "paused"
    assert paused["why"].endswith(": a new disk")
    assert one(url, "schedules", "resume", "mine")["state"] == "on"
    assert one(url, "schedules", "skip-next", "mine", "--ticks", "2")["skip_next"] == 2
    assert one(url, "schedules", "update", "mine", "--set", "enabled=false")["state"] == "off"

    run = one(url, "schedules", "run-now", "mine")
    assert (run["status"], run["schedule"], run["trigger"]) == ("queued", "mine", "manual")
    again = inline(url, "market", "schedules", "run-now", "mine")
    assert error_line(again, code=1) == f"error: mine: single flight: run {run['id']} is not over"
    gone = one(url, "runs", "cancel", str(run["id"]), "--reason", "wrong day")
    assert gone["status"] == "cancelled"
    listed = document(inline(url, "market", "runs", "list", "--schedule", "mine", "--json"))
    assert [each["id"] for each in listed] == [run["id"]]

    assert inline(url, "market", "schedules", "delete", "mine", "--yes").returncode == 0
    missing = inline(url, "market", "schedules", "show", "mine")
    assert "there is no schedule" in error_line(missing, code=1)
    assert value(conn, "SELECT count(*) FROM job_run WHERE schedule = 'mine'") == 1


def test_a_file_of_schedules_is_shown_then_applied(url: str, tmp_path: Path) -> None:
    file = tmp_path / "schedules.json"
    assert inline(url, "market", "schedules", "export", str(file)).returncode == 0
    text = file.read_text()
    wanted = json.loads(text)
    wanted[0]["notes"] = "changed"
    file.write_text(
        json.dumps([*wanted, {"name": "new", "task": "daily_sync", "trigger": "0 5 * * *"}])
    )

    refused = inline(url, "market", "schedules", "import", str(file))
    assert "give --yes" in error_line(refused, code=2)
    rows = document(inline(url, "market", "schedules", "import", str(file), "--yes", "--json"))
    assert [(row["change"], row["field"]) for row in rows] == [
        ("update", "notes"), ("create", "trigger"),
    ]  # fmt: skip
    same = document(inline(url, "market", "schedules", "import", str(file), "--yes", "--json"))
    assert same == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run-task", "format_disk"], 'there is no task "format_disk"'),
        (["run-task", "backfill_5m", "--param", "n_days=99"], "n_days is not a number from 1 to 60"),
        (["schedules", "preview", "61 * * * *"], '"61" is not a minute'),
        (["schedules", "preview", "0 5 * * *", "--timezone", "Mars"], '"Mars" is not a time zone'),
        (["schedules", "pause", "coverage", "--reason", "x", "--until", "noon"], "not a moment like"),
        (["schedules", "update", "coverage", "--set", "speed=9"], 'no field "speed"'),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(url: str, arguments: list[str], said: str) -> None:
    assert said in error_line(inline(url, "market", *arguments), code=2)


def test_an_old_version_is_a_conflict(url: str) -> None:
    one(url, "schedules", "update", "coverage", "--set", "notes=mine", "--version", "1")
    second = inline(
        url, "market", "schedules", "update", "coverage", "--set", "notes=yours", "--version", "1"
    )
    assert "coverage has version 2 now, not 1" in error_line(second, code=1)


def test_a_preview_says_the_line_in_words(url: str) -> None:
    screen = on_terminal(
        url, "market", "schedules", "preview", "30 1 * * MON-FRI", "--timezone", "Europe/Berlin"
    ).stdout
    assert "at 01:30 on Monday through Friday" in screen
    assert "in Europe/Berlin" in screen
