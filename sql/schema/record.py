"""Records what follows from the files of `sql/`: run by `./dev sql` after each edit.

Two things: the statements that end each file (files.py), and what an empty database holds when all
files are applied (catalogue.py). `--check` writes nothing, starts no server, and fails where either
is stale; `./dev lint` runs it.
"""

import sys
import tempfile
from pathlib import Path

from sql import embedded
from sql.database import Database
from sql.schema import catalogue, files, migrate


def record() -> list[str]:
    """Bring both records up to date; returns the names of the files that were written."""
    written = files.stamp(write=True)
    if catalogue.is_stale():
        catalogue.RECORD.write_text(catalogue.as_text(_of_an_empty_database()), encoding="utf-8")
        written.append(catalogue.RECORD.relative_to(files.ROOT).as_posix())
    return written


def stale() -> list[str]:
    """The names of the files that `record` would write."""
    found = files.stamp(write=False)
    if catalogue.is_stale():
        found.append(catalogue.RECORD.relative_to(files.ROOT).as_posix())
    return found


def _of_an_empty_database() -> list[catalogue.Item]:
    """Apply `sql/` to a private server that ends with this call; returns what is there then."""
    with tempfile.TemporaryDirectory(prefix="reckoner-catalogue-") as folder:
        Path(folder).chmod(0o755)  # root's server is another user's
        with (
            embedded.use(Path(folder), settings={"fsync": "off"}) as url,
            Database(url) as database,
        ):
            migrate.migrate(database)
            with database.transaction() as conn:
                items = catalogue.describe(conn)
        embedded.remove(Path(folder))
    return items


def main(arguments: list[str]) -> int:
    """Record, or with `--check` name what is stale; returns the exit code."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m sql.schema.record [--check]\n")
        return 2
    if arguments == []:
        sys.stdout.write("".join(f"recorded sql/{name}\n" for name in record()))
        return 0
    names = stale()
    for name in names:
        sys.stderr.write(f"sql/{name} is stale: run ./dev sql\n")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
