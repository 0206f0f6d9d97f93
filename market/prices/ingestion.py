"""The ingestion audit: all attempts of a fetch, their payloads, and what validation found.

`fetch` returns the attempts with its result, so that `store` writes them in the transaction that
stores the bars or the failure. A bar refers to its payload, which has body and address. The audit
has the attempts of a fetch, and why their answers were not used.
"""

import contextlib
import datetime as dt
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from market.files import append_to
from market.prices.report import Known, Report
from market.providers import Action, Payload, Request
from market.providers.base import AnyRequest, IntradayRequest
from sql.database import Connection, one
from sql.errors import ReckonerError
from sql.redaction import one_line
from sql.visible import json_text

# Notes that are kept for each batch; its counts include the others.
_NOTES = 20


@dataclass(frozen=True)
class Attempt:
    """One attempt at one provider. kind: the class of the answer, or `paused`."""

    provider: str
    request: AnyRequest
    kind: str
    message: str
    seconds: float
    payload: Payload | None = None
    report: Report | None = None


@dataclass(frozen=True)
class Run:
    """The purpose of a fetch. raw_retention_days 0: payloads are not kept."""

    job: str | None = None
    raw_retention_days: int = 90


def known(
    conn: Connection,
    symbol: str,
    calendar: str,
    request: Request,
    *,
    last_bar: dt.date | None,
    is_refetch: bool,
) -> Known:
    """Load what is stored of a symbol, to validate answers to a request."""
    row = one(
        conn,
        "SELECT * FROM validation_known(%s, %s, %s, %s)",
        [symbol, calendar, request.start, request.end],
    )
    listing = conn.execute(
        "SELECT currency FROM ticker_registry WHERE symbol = %s", [symbol]
    ).fetchone()
    actions = [
        Action(*each)
        for each in zip(
            row["action_dates"] or (), row["kinds"] or (), row["amounts"] or (), strict=True
        )
    ]
    closes = zip(row["dates"] or (), row["closes"] or (), strict=True)
    others = zip(row["other_dates"] or (), row["other_closes"] or (), strict=True)
    return Known(
        row["begun"],
        dict(closes),
        actions,
        others=dict(others),
        last_bar=last_bar,
        is_refetch=is_refetch,
        currency=listing["currency"] if listing and (row["dates"] or last_bar) else None,
    )


def keep(conn: Connection, attempts: Sequence[Attempt], run: Run) -> dict[str, int]:
    """Store the payloads that are not stored yet; returns the ids of all by sha256."""
    answers = [(each, each.payload) for each in attempts if each.payload is not None]
    if not answers or run.raw_retention_days == 0:
        return {}
    rows = conn.execute(
        "SELECT * FROM payloads_keep(p_hashes => %s, p_providers => %s, p_urls => %s,"
        " p_statuses => %s::integer[], p_classes => %s, p_sizes => %s::integer[],"
        " p_bodies => %s::bytea[])",
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


def record(
    conn: Connection,
    symbol: str,
    attempts: Sequence[Attempt],
    ids: Mapping[str, int],
    run: Run,
    result: str,
    details: Mapping[str, Any],
) -> dict[str, Any]:
    """Add the batches' reports and the run to the audit.

    Returns the stored row. Rows and score are those of the last batch of the provider whose bars
    were used.
    """
    checks = [
        _check(symbol, each, each.report) for each in attempts if each.report and each.report.given
    ]
    graded = [each for each in attempts if each.report]
    used = next(
        (each for each in reversed(graded) if details.get("provider") == each.provider), None
    )
    shown = used or next(reversed(graded or attempts), None)
    report = shown.report if shown else None
    sha256 = shown.payload.sha256 if shown and shown.payload else None
    row = one(
        conn,
        "SELECT to_jsonb(ingestion_audit_add(%s::jsonb, %s::jsonb)) AS run",
        [
            Jsonb(
                {
                    "symbol": symbol,
                    "job": run.job,
                    "outcome": result,
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
                    "duration": round(sum(each.seconds for each in attempts), 3),
                    "error": one_line(str(details["reason"])) if "reason" in details else None,
                    "asked": [_attempt(each, ids) for each in attempts],
                    "interval": _interval(shown) if shown else "1d",
                }
            ),
            Jsonb(checks),
        ],
    )
    return dict(row["run"])


def _check(symbol: str, attempt: Attempt, report: Report) -> dict[str, Any]:
    notes = [*report.faults, *report.rejected, *report.flags, *report.notes]
    return {
        "symbol": symbol,
        "provider": attempt.provider,
        "range_from": str(attempt.request.start),
        "range_to": str(attempt.request.end),
        "given": report.given,
        "rejected": len(report.rejected),
        "flagged": len(report.flags) + len(report.notes),
        "expected": report.expected,
        "missing": report.missing,
        "parts": {name: round(part, 4) for name, part in report.parts.items()},
        "notes": [one_line(note) for note in notes[:_NOTES]],
        "score": report.score,
        "verdict": report.grade,
        "interval": _interval(attempt),
    }


def _interval(attempt: Attempt) -> str:
    return "5m" if isinstance(attempt.request, IntradayRequest) else "1d"


def _attempt(attempt: Attempt, ids: Mapping[str, int]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "provider": attempt.provider,
        "class": attempt.kind,
        "message": one_line(attempt.message),
        "seconds": round(attempt.seconds, 3),
    }
    if attempt.report:
        row |= {"score": attempt.report.score, "verdict": attempt.report.grade}
    if attempt.payload:
        row |= {"hash": attempt.payload.sha256, "payload_id": ids.get(attempt.payload.sha256)}
    return row


def body(conn: Connection, payload_id: int) -> bytes | None:
    """Return the body of a payload, or None.

    None when it is not kept, or no longer.
    """
    row = conn.execute("SELECT body FROM provider_payloads WHERE id = %s", [payload_id]).fetchone()
    return None if row is None else zlib.decompress(row["body"])


class AuditError(ReckonerError):
    """A line could not be written to the audit file, mostly because the disk is full."""


class AuditFile:
    """A file of JSON Lines: one for each run that was stored."""

    def __init__(self, path: Path) -> None:
        """Open for appending; raises OSError, for a link too."""
        # Unbuffered: otherwise a line that failed on a full disk is written after its rollback.
        self._file = append_to(path)

    @contextlib.contextmanager
    def entry(self) -> Iterator["AuditFile"]:
        """Remove what the body appended if it raises, as its transaction rolls back."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            yield self
        except BaseException:
            with contextlib.suppress(OSError):  # a pipe or a terminal cannot be truncated
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
