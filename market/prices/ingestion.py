"""Where prices come from: every answer's bytes, what was found in them, and what a run did.

`backfill` collects an `Asked` for everyone whom it asks, and hands them over with its verdict, so
that all of it is written in the transaction that stores the bars, or the failure. A bar names its
payload, a payload its bytes and address, the audit who was asked before and why it was not used.
"""

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from market.files import append_to
from market.prices.validation import Known, Report
from market.providers import Action, Payload, Request
from sql.database import Connection, one
from sql.errors import ReckonerError
from sql.redaction import one_line
from sql.visible import json_text

# Lines of what was found that are kept for each batch; the counts tell of the rest.
_NOTES = 20


@dataclass(frozen=True)
class Asked:
    """One provider that was asked: the class of its answer or `paused`, seconds, and what it gave."""

    provider: str
    request: Request
    kind: str
    message: str
    seconds: float
    payload: Payload | None = None
    report: Report | None = None


@dataclass(frozen=True)
class Run:
    """On whose behalf prices are fetched. raw_retention_days 0: answers are not kept."""

    job: str | None = None
    raw_retention_days: int = 90


def known(
    conn: Connection, symbol: str, calendar: str, request: Request, *, refetch: bool
) -> Known:
    """What is known of a symbol before a batch is judged; with refetch no stored close counts."""
    row = one(
        conn,
        "SELECT * FROM batch_known(%s, %s, %s, %s, %s)",
        [symbol, calendar, request.start, request.end, refetch],
    )
    actions = [
        Action(*each)
        for each in zip(
            row["action_dates"] or (), row["kinds"] or (), row["amounts"] or (), strict=True
        )
    ]
    closes = zip(row["dates"] or (), row["closes"] or (), strict=True)
    return Known(row["begun"], dict(closes), actions)


def keep(conn: Connection, asked: Sequence[Asked], run: Run) -> dict[str, int]:
    """Keep the answers' bodies that are not kept yet; returns payload ids by sha256."""
    answers = [(each, each.payload) for each in asked if each.payload is not None]
    if not answers or run.raw_retention_days == 0:
        return {}
    rows = conn.execute(
        "SELECT * FROM payloads_keep(%s, %s, %s, %s::integer[], %s, %s::integer[], %s::bytea[])",
        [
            [payload.sha256 for _, payload in answers],
            [each.provider for each, _ in answers],
            [one_line(payload.url) for _, payload in answers],
            [payload.status for _, payload in answers],
            [each.kind for each, _ in answers],
            [len(payload.body) for _, payload in answers],
            [zlib.compress(payload.body) for _, payload in answers],
        ],
    )
    return {row["hash"]: row["payload_id"] for row in rows}


def log(
    conn: Connection,
    symbol: str,
    asked: Sequence[Asked],
    ids: Mapping[str, int],
    run: Run,
    outcome: str,
    details: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the batches' reports and the run's row; returns the row as it is stored.

    The last batch of the provider whose bars were used is the one that they are of.
    """
    checks = [
        _check(symbol, each, each.report) for each in asked if each.report and each.report.given
    ]
    judged = [each for each in asked if each.report]
    used = next(
        (each for each in reversed(judged) if details.get("provider") == each.provider), None
    )
    shown = used or next(reversed(judged or asked), None)
    report = shown.report if shown else None
    sha256 = shown.payload.sha256 if shown and shown.payload else None
    row = one(
        conn,
        "SELECT to_jsonb(ingestion_log(%s::jsonb, %s::jsonb)) AS run",
        [
            json.dumps(
                {
                    "symbol": symbol,
                    "job": run.job,
                    "outcome": outcome,
                    "provider": details.get("provider"),
                    "range_from": shown and str(shown.request.start),
                    "range_to": shown and str(shown.request.end),
                    "rows": details.get("bars", 0),
                    "inserted": details.get("inserted", 0),
                    "updated": details.get("updated", 0),
                    "rejected": len(report.rejected) if report else 0,
                    "score": report.score if report else None,
                    "hash": sha256,
                    "payload_id": ids.get(sha256 or ""),
                    "duration": round(sum(each.seconds for each in asked), 3),
                    "error": one_line(str(details["reason"])) if "reason" in details else None,
                    "asked": [_told(each, ids) for each in asked],
                }
            ),
            json.dumps(checks),
        ],
    )
    return dict(row["run"])


def _check(symbol: str, asked: Asked, report: Report) -> dict[str, Any]:
    notes = [*report.faults, *report.rejected, *report.flags]
    return {
        "symbol": symbol,
        "provider": asked.provider,
        "range_from": str(asked.request.start),
        "range_to": str(asked.request.end),
        "given": report.given,
        "rejected": len(report.rejected),
        "flagged": len(report.flags),
        "expected": report.expected,
        "missing": report.missing,
        "parts": {name: round(part, 4) for name, part in report.parts.items()},
        "notes": [one_line(note) for note in notes[:_NOTES]],
        "score": report.score,
        "verdict": report.verdict,
    }


def _told(asked: Asked, ids: Mapping[str, int]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "provider": asked.provider,
        "class": asked.kind,
        "message": one_line(asked.message),
        "seconds": round(asked.seconds, 3),
    }
    if asked.report:
        told |= {"score": asked.report.score, "verdict": asked.report.verdict}
    if asked.payload:
        told |= {"hash": asked.payload.sha256, "payload_id": ids.get(asked.payload.sha256)}
    return told


def body(conn: Connection, payload_id: int) -> bytes | None:
    """The bytes of a payload as they came; None when they are not kept (any more)."""
    row = conn.execute("SELECT body FROM provider_payloads WHERE id = %s", [payload_id]).fetchone()
    return None if row is None else zlib.decompress(row["body"])


class AuditError(ReckonerError):
    """A line could not be written to the audit file: a full disk, mostly."""


class AuditFile:
    """A file of JSON Lines, one for each run, that holds what is stored and nothing else."""

    def __init__(self, path: Path) -> None:
        """Open for appending; raises OSError, for a link too."""
        # Unbuffered: what a full disk took no more of is not written later.
        self._file = append_to(path)

    @contextlib.contextmanager
    def entry(self) -> Iterator["AuditFile"]:
        """Take back what the body appended if it raises, as the transaction within does."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            yield self
        except BaseException:
            with contextlib.suppress(OSError):  # a pipe or a terminal keeps what it was given
                self._file.truncate(before)
            raise

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one line; raises AuditError."""
        line = json_text(row).encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise AuditError("the disk is full")
        except OSError as error:
            raise AuditError(error.strerror or str(error)) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
