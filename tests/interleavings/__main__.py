"""`python -m tests.interleavings`, which `./dev explore` starts."""

import sys

from tests.interleavings.cli import main

sys.exit(main(sys.argv[1:]))
