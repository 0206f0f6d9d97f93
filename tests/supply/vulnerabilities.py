"""Ask a public database for known vulnerabilities of what run.lock pins, with pip-audit.

OSV is asked first, then the package index, which knows the same advisories. When neither answers,
a note says so: a machine without a network can still lint. A found vulnerability is a problem
unless pyproject.toml ignores it, with a reason, until a date that has not come.
"""

import datetime
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SOCKET_SECONDS = 5
ALL_SECONDS = 60
# What pip-audit ends with when the service is away or is not one; anything else is a fault here.
AWAY = re.compile(r"ConnectionError|Timeout|ServiceError|HTTPError|SSLError|JSONDecodeError")


class UnreachableError(Exception):
    """The database did not answer, or knows none of the packages."""


def audit(
    lock: Path, ignored: Sequence[dict[str, Any]], services: Sequence[Sequence[str]] | None = None
) -> tuple[list[str], list[str]]:
    """Return notes and problems, in one line each. services: pip-audit's options, by turns."""
    reasons = []
    for service in services or (("-s", "osv"), ("-s", "pypi")):
        try:
            found = ask(lock, service)
        except UnreachableError as error:
            reasons.append(str(error))
            continue
        return judge(found, ignored, datetime.datetime.now(datetime.UTC).date())
    return [f"vulnerabilities: not checked, no database was reached ({'; '.join(reasons)})"], []


def ask(lock: Path, service: Sequence[str]) -> list[dict[str, Any]]:
    """Let pip-audit ask one service. Nothing is installed or resolved."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
    command += ["-r", str(lock), "--timeout", str(SOCKET_SECONDS), "--progress-spinner", "off"]
    command += ["--format", "json", "--desc", "off", "--aliases", "on", *service]
    name = service[-1]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"{name}: no answer within {ALL_SECONDS} s") from None
    if not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        match = AWAY.search(last)
        if match is None:
            raise RuntimeError(f"pip-audit ended with {done.returncode}: {last[:300]}")
        raise UnreachableError(f"{name}: {match.group()}")
    found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    if all("skip_reason" in each for each in found):
        raise UnreachableError(f"{name}: knows none of the packages")
    return found


def judge(
    found: list[dict[str, Any]], ignored: Sequence[dict[str, Any]], today: datetime.date
) -> tuple[list[str], list[str]]:
    """Divide what was found into notes (ignored, not known there) and problems."""
    notes, problems = [], []
    until = {each["id"]: each for each in ignored if each["reason"] and each["until"] >= today}
    skipped = [each["name"] for each in found if "skip_reason" in each]
    if skipped:
        notes.append(f"vulnerabilities: the database does not know {', '.join(skipped)}")
    for package in found:
        for each in package.get("vulns", []):
            names = [each["id"], *each.get("aliases", [])]
            line = f"vulnerability: {package['name']} {package['version']}: {' '.join(names)}"
            fixed = ", ".join(each.get("fix_versions", []))
            line += f", fixed in {fixed}" if fixed else ", no fixed version"
            reason = next((until[name] for name in names if name in until), None)
            if reason is None:
                problems.append(line)
            else:
                notes.append(f"{line}; ignored until {reason['until']}: {reason['reason']}")
    return notes, problems
