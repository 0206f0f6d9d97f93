"""The files of `sql/`: their names, checksums and the statement by which each records itself.

A file is a transaction of its own for psql and ends with a statement that records its name
and checksum in `reckoner_schema`, so that applying it with psql and with the runner leaves
the same trace. `python -m sql.files --stamp` writes those statements.
"""

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent

_RECORD = re.compile(
    r"INSERT INTO reckoner_schema \(name, checksum\) VALUES\n"
    r"    \('(?P<name>[^']+)', '(?P<checksum>[0-9a-f]{64})'\)\n"
    r"ON CONFLICT \(name\) DO UPDATE SET checksum = excluded\.checksum, applied_at = now\(\);\n"
)


@dataclass(frozen=True)
class SchemaFile:
    """One file of `sql/`: its recorded name, its checksum, and its text as psql reads it."""

    name: str
    checksum: str
    text: str

    @property
    def is_migration(self) -> bool:
        """Whether the file is applied once (else: whenever it changed)."""
        return self.name.startswith("migrations/")

    @property
    def is_stamped(self) -> bool:
        """Whether the file records itself at all."""
        return _RECORD.search(self.text) is not None

    @property
    def body(self) -> str:
        """The statements between the file's BEGIN and COMMIT; locks and waits are the runner's own."""
        body = self.text.removeprefix("BEGIN;\n").removesuffix("COMMIT;\n")
        for line in ("SET LOCAL lock_timeout = '3s';\n", "SELECT pg_advisory_xact_lock(1380271947, 2);\n"):
            body = body.replace(line, "", 1)
        return body


# Views that source_attach_view() makes for the tables that it finds; no file has their text.
ATTACHED_VIEWS = ("prediction_inputs", "prediction_models")


def schema_files() -> list[SchemaFile]:
    """All files in the order in which they apply."""
    paths = [*sorted(ROOT.glob("migrations/*.sql")), *sorted(ROOT.glob("functions/*.sql"))]
    files = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        files.append(SchemaFile(name, _checksum(text), text))
    return files


def _checksum(text: str) -> str:
    return hashlib.sha256(_RECORD.sub("", text).encode()).hexdigest()


def stamp(*, write: bool) -> list[str]:
    """Write each file's recording statement; returns the names of files that lacked the right one."""
    wrong = []
    for file in schema_files():
        record = (
            "INSERT INTO reckoner_schema (name, checksum) VALUES\n"
            f"    ('{file.name}', '{file.checksum}')\n"
            "ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();\n"
        )
        stamped = _RECORD.sub("", file.text).removesuffix("COMMIT;\n") + record + "COMMIT;\n"
        if stamped != file.text:
            wrong.append(file.name)
            if write:
                (ROOT / file.name).write_text(stamped, encoding="utf-8")
    return wrong


if __name__ == "__main__":
    if sys.argv[1:] not in (["--stamp"], ["--check"]):
        sys.exit("usage: python -m sql.files --stamp | --check")
    _write = sys.argv[1] == "--stamp"
    _names = stamp(write=_write)
    sys.stdout.write("".join(f"{name}\n" for name in _names))
    sys.exit(1 if _names and not _write else 0)
