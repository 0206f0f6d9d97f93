"""Runs many commands one after another in one process, each as `python -m` does.

Reads from stdin a JSON list of argument lists; writes a line `== N CODE` after each command.
"""

import json
import runpy
import sys


def main() -> None:
    commands = json.loads(sys.argv[1])
    for number, arguments in enumerate(commands):
        sys.argv = arguments
        code: object = 0
        try:
            runpy.run_module(f"{arguments[0]}.__main__", run_name="__main__", alter_sys=True)
        except SystemExit as error:
            code = error.code
        sys.stderr.flush()
        sys.stdout.write(f"== {number} {code or 0}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
