"""Every command of both command lines, and running one within the test's own process."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

import market.__main__
import worker.__main__

APPS: dict[str, typer.Typer] = {"worker": worker.__main__.app, "market": market.__main__.app}

FILLS = str(Path(__file__).with_name("fills.csv"))

# Every command that needs no network and no terminal, and its exit code.
COMMANDS: dict[tuple[str, ...], int] = {
    ("worker", "migrate"): 0,
    ("worker", "migrate", "--check"): 0,
    ("worker", "migrate", "--remove"): 0,
    ("worker", "status", "--json"): 0,
    ("worker", "sweep", "--json"): 0,
    ("worker", "requeue", "--ticker", "GOOD", "--dry-run", "--json"): 0,
    ("worker", "enqueue", "--all", "--json"): 0,
    ("worker", "explain", "1", "--json"): 0,
    ("worker", "explain", "GOOD", "--json"): 0,
    ("worker", "health", "--json"): 3,  # no worker is alive
    ("worker", "url"): 0,
    ("worker", "watch", "--json"): 0,
    ("market", "accuracy-report", "--json"): 0,
    ("market", "calibration-report", "--json"): 0,
    ("market", "outcomes", "--json"): 0,
    ("market", "execution-report", "--json"): 0,
    ("market", "import-fills", FILLS, "--json"): 0,
    ("market", "register-tickers", "OTHER", "--json"): 0,
    ("market", "ticker-registry", "--json"): 0,
    ("market", "tracked", "--json"): 0,
    ("market", "import-holdings", "/dev/null", "--json"): 2,  # not a regular file
    ("market", "constituents", "show", "--json"): 0,
    ("market", "constituents", "show", "SP500", "--json"): 0,
    ("market", "constituents", "refresh", "--json"): 1,  # no source in a test answers
    (
        "market",
        "set-ticker",
        "OTHER",
        "--status",
        "inactive",
        "--reason",
        "tr\u00e8s, \u65e5",
        "--json",
    ): 0,
    ("market", "remap-ticker", "OTHER", "ANOTHER", "--yes", "--json"): 0,
    ("market", "fetch-prices", "-s", "GOOD", "--json"): 0,
    ("market", "backfill-5m", "-s", "GOOD", "--dry-run", "--json"): 0,
    ("market", "payload", "1"): 0,
    ("market", "price-stats", "GOOD", "--json"): 0,
    ("market", "providers", "--json"): 0,
    ("market", "snapshot", "GOOD", "--json"): 0,
    ("market", "refresh-indicators", "--json"): 0,
    ("market", "record-history", "--json"): 0,
    ("market", "calculate-outcomes", "--json"): 0,
    ("market", "backfill", "--start", "2024-01-01", "--symbols", "GOOD", "--dry-run", "--json"): 0,
    ("market", "backfill-status", "1", "--json"): 1,
    ("market", "coverage", "--json"): 3,  # its bars are of 2024
    ("market", "coverage", "GOOD", "--json"): 3,
    ("market", "backfill-stale-daily", "--dry-run", "--json"): 0,
    ("market", "restore-coverage", "--dry-run", "--json"): 0,
    ("market", "health-check", "--json"): 0,
    ("market", "validation-report", "--start", "2024-03-01", "--end", "2024-03-31", "--json"): 3,
    ("market", "stats", "--json"): 0,
    ("market", "processing-stats", "--json"): 0,
    ("market", "watch", "--json"): 0,
    ("market", "tasks", "--json"): 0,
    ("market", "run-task", "daily_sync", "--json"): 0,
    ("market", "run-task", "backfill_5m", "--param", "n_days=99", "--json"): 2,
    ("market", "runs", "list", "--json"): 0,
    ("market", "runs", "show", "1", "--json"): 0,
    ("worker", "explain", "--run", "1", "--json"): 0,
    ("worker", "explain", "--schedule", "coverage", "--json"): 0,
    ("market", "runs", "cancel", "7", "--reason", "wrong day", "--json"): 1,
    ("market", "alerts", "list", "--json"): 0,
    ("market", "alerts", "list", "--all", "--json"): 0,
    (
        "market",
        "alerts",
        "silence",
        "no_worker",
        "--until",
        "2999-01-01",
        "--reason",
        "x",
        "--json",
    ): 1,
    ("market", "alerts", "unsilence", "no_worker", "--json"): 0,
    ("market", "alerts", "resolve", "no_worker", "--json"): 0,
    ("market", "schedules", "list", "--json"): 0,
    ("market", "schedules", "show", "coverage", "--json"): 0,
    (
        "market",
        "schedules",
        "create",
        "coverage",  # it exists
        "--task",
        "daily_sync",
        "--trigger",
        "every 5 minutes",
        "--json",
    ): 1,
    ("market", "schedules", "update", "retention", "--set", "notes=x", "--json"): 0,
    ("market", "schedules", "pause", "retention", "--reason", "a new disk", "--json"): 0,
    ("market", "schedules", "resume", "retention", "--json"): 0,
    ("market", "schedules", "skip-next", "retention", "--json"): 0,
    ("market", "schedules", "run-now", "nothing", "--json"): 1,
    ("market", "schedules", "preview", "retention", "--json"): 0,
    ("market", "schedules", "export"): 0,
    ("market", "schedules", "import", "/nowhere", "--json"): 2,
    ("market", "schedules", "delete", "nothing", "--yes", "--json"): 1,
    ("market", "db", "audit", "--json"): 0,
    ("market", "db", "repair", "--json"): 0,
    ("market", "db", "check", "--json"): 0,
    ("market", "db", "roles", "--json"): 0,
}


def invoke(
    arguments: tuple[str, ...], settings: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> Result:
    """Run one command with an environment; an error of ours is in `exception`."""
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    for module in (worker.__main__, market.__main__):
        # Otherwise the log of later tests goes to a stream that is closed by then.
        monkeypatch.setattr(module, "configure", lambda _: None)
    return CliRunner().invoke(APPS[arguments[0]], arguments[1:])
