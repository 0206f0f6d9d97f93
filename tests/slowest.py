"""A pytest plugin: print the ten files whose tests took longest. `./dev test` loads it."""

from collections import defaultdict

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Sum setup, call and teardown of each file's tests, in whichever process they ran."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if len(seconds) > 1:
        terminalreporter.section("slowest files")
        for took, path in sorted(((took, path) for path, took in seconds.items()), reverse=True)[
            :10
        ]:
            terminalreporter.write_line(f"{took:7.1f} s  {path}")
