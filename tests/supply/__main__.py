"""python -m tests.supply: one line for each problem, and 1 if there was one."""

import sys

from tests.supply import RUN_LOCK, licences, packages, settings, vulnerabilities


def main() -> int:
    found = settings()
    problems = licences.problems(packages(RUN_LOCK), licences.Accepted(**found["licences"]))
    notes, vulnerable = vulnerabilities.audit(RUN_LOCK, found.get("vulnerabilities", []))
    for line in [*notes, *problems, *vulnerable]:
        print(line)  # noqa: T201 - what a lint says
    return 1 if problems or vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
