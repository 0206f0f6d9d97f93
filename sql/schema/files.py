"""The files of `sql/`: their names, checksums and the statement by which each records itself.

A file is a transaction of its own for psql and ends with a statement that records its name
and checksum in `reckoner_schema`, so that applying it with psql and with the runner leaves
the same trace. Before it, a file of functions revokes them from PUBLIC. `./dev sql` writes those
statements (record.py).
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent  # sql/

_RECORD = re.compile(
    r"INSERT INTO reckoner_schema \(name, checksum\) VALUES\n"
    r"    \('(?P<name>[^']+)', '(?P<checksum>[0-9a-f]{64})'\)\n"
    r"ON CONFLICT \(name\) DO UPDATE SET checksum = excluded\.checksum, applied_at = now\(\);\n"
)

# Functions that views, CHECKs and defaults call, and functions that these call: they run with the rights
# of the reader or writer.
PUBLIC = frozenset(
    {
        "confidence_tier",
        "daily_bars",
        "has_assets",
        "job_task_parameters",
        "job_tasks",
        "neutral_band",
        "normalize_symbol",
        "outbox_is_sound",
        "outcome_correct",
        "outcome_horizons",
        "provider_decay",
        "quota_resets_at",
        "quota_used",
        "quota_window",
        "reckoner_benchmark",
        "reckoner_clock_now",
        "reckoner_dry_run",
        "reckoner_now",
        "safe_jsonb",
        "session_settling",
        "snapshot_values",
        "symbol_asset_type",
        "symbol_calendar",
        "symbol_default_calendar",
        "symbol_rule",
        "symbols_by_rule",
        "symbols_named",
        "universe_symbol",
        "universe_ticker",
        "usable_price",
    }
)

_FUNCTION = re.compile(
    r"^CREATE OR REPLACE FUNCTION (\w+)(\(.*?\))\s+(?:RETURNS|LANGUAGE) ", re.MULTILINE | re.DOTALL
)
_REVOKE = re.compile(r"^REVOKE ALL ON FUNCTION\n(?:    .*\n)*?    FROM PUBLIC;\n", re.MULTILINE)


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
        """The statements between BEGIN and COMMIT, without locks and waits: the runner has its own."""
        body = self.text.removeprefix("BEGIN;\n").removesuffix("COMMIT;\n")
        for line in (
            "SET LOCAL lock_timeout = '3s';\n",
            "SELECT pg_advisory_xact_lock(1380271947, 2);\n",
        ):
            body = body.replace(line, "", 1)
        return body


# `migrate` makes these tables where they are missing; otherwise another program made them.
SHARED = ("predictions", "ticker_registry", "market_prices", "prediction_outcomes")

# Views that source_attach_view() makes for the tables that it finds. Their text is in no file.
ATTACHED_VIEWS = ("prediction_inputs", "prediction_models")


def schema_files() -> list[SchemaFile]:
    """Return all files in the order in which they are applied."""
    # Not glob, which on newer Pythons finds nothing in a folder that it cannot open.
    paths = [
        path
        for folder in ("migrations", "functions")
        for path in sorted((ROOT / folder).iterdir())
        if path.suffix == ".sql"
    ]
    files = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        files.append(SchemaFile(name, _checksum(text), text))
    return files


def _checksum(text: str) -> str:
    return hashlib.sha256(_RECORD.sub("", text).encode()).hexdigest()


def _revoking(text: str) -> str:
    """Return the statement that revokes a file's functions from PUBLIC; empty where none is revoked."""
    signatures = [
        name + re.sub(r"\s+DEFAULT\s+[^,)]+", "", " ".join(arguments.split()).replace("( ", "("))
        for name, arguments in _FUNCTION.findall(text)
        if name not in PUBLIC
    ]
    if not signatures:
        return ""
    return "REVOKE ALL ON FUNCTION\n    " + ",\n    ".join(signatures) + "\n    FROM PUBLIC;\n"


def _with_rights(file: "SchemaFile") -> "SchemaFile":
    if file.is_migration:
        return file  # a landed migration is never edited
    record = _RECORD.search(file.text)
    rest = _REVOKE.sub("", _RECORD.sub("", file.text)).removesuffix("COMMIT;\n")
    text = f"{rest}{_revoking(rest)}{record[0] if record else ''}COMMIT;\n"
    return SchemaFile(file.name, _checksum(text), text)


def stamp(*, write: bool) -> list[str]:
    """Write the end of each file: the REVOKE of its functions, and its recording statement.

    Returns the names of files that lacked the right ones.
    """
    wrong = []
    for found in schema_files():
        file = _with_rights(found)
        record = (
            "INSERT INTO reckoner_schema (name, checksum) VALUES\n"
            f"    ('{file.name}', '{file.checksum}')\n"
            "ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();\n"
        )
        stamped = _RECORD.sub("", file.text).removesuffix("COMMIT;\n") + record + "COMMIT;\n"
        if stamped != found.text:
            wrong.append(file.name)
            if write:
                (ROOT / file.name).write_text(stamped, encoding="utf-8")
    return wrong
