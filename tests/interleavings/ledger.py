"""The ledger: every change of an event that was committed, with who made it.

A trigger of the test's own writes it, in the transaction of the change. `check` reads it afterwards: who
ended what, and why attempts and crashes moved.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from tests.interleavings.scheduler import Violation
from tests.support.db import Conn

_TABLE = """
CREATE TABLE IF NOT EXISTS interleavings_ledger (
    n bigserial, xid bigint, at timestamptz, program text, op text, was jsonb, now jsonb);
CREATE OR REPLACE FUNCTION interleavings_ledger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public AS $$
BEGIN
    INSERT INTO interleavings_ledger (xid, at, program, op, was, now)
    SELECT txid_current(), reckoner_now(), split_part(current_setting('application_name'), ' ', 1), TG_OP,
           CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER interleavings_ledger AFTER INSERT OR UPDATE OR DELETE ON outbox
    FOR EACH ROW EXECUTE FUNCTION interleavings_ledger();
"""

# Programs that may end or change any event: people and their SQL.
OTHERS = ("operator", "dba", "writer")


def keep(conn: Conn) -> None:
    """Keep the ledger of this database."""
    conn.execute(_TABLE.encode())


def check(conn: Conn, names: Mapping[str, str]) -> None:
    """Raise Violation for a change that nobody was entitled to. names: of our workers, each with its program."""
    rows = conn.execute("SELECT * FROM interleavings_ledger ORDER BY n").fetchall()
    for row in rows:
        was, now, program = row["was"], row["now"], row["program"]
        if was is None or program.startswith(OTHERS):
            continue
        owner = names.get(was["leased_by"] or "")
        ends = row["op"] == "DELETE" or (was["lease"] is not None and now["lease"] != was["lease"])
        is_over = _is_over(row)
        who = f"{program}: event {was['id']} ({was['topic']} {was['key']})"
        if ends and owner != program and not is_over:
            held = f"leased to {owner}" if owner else "leased to nobody"
            raise Violation("ended another's", f"{who} was {held}")
        if row["op"] == "UPDATE":
            _check_counts(row, rows, who, ends=ends, owner=owner)


def _is_over(row: Mapping[str, Any]) -> bool:
    """Whether the lease had ended by itself."""
    until = row["was"]["leased_until"]
    return until is not None and dt.datetime.fromisoformat(until) < row["at"]


def _check_counts(
    row: Mapping[str, Any],
    rows: list[dict[str, Any]],
    who: str,
    *,
    ends: bool,
    owner: str | None,
) -> None:
    was, now = row["was"], row["now"]
    failed, crashed = now["attempts"] - was["attempts"], now["crashes"] - was["crashes"]
    if failed > 0 and not (ends and failed == 1 and owner == row["program"]):
        _merged(row, rows, who, "attempts")
    if crashed > 0 and not (ends and crashed == 1 and _is_over(row)):
        _merged(row, rows, who, "crashes")
    if (failed < 0 or crashed < 0) and now["status"] != "pending":
        raise Violation("counts", f"{who} lost its attempts or crashes")


def _merged(row: Mapping[str, Any], rows: list[dict[str, Any]], who: str, column: str) -> None:
    """The failures of an event that was merged into this one, in the same transaction."""
    for other in rows:
        if (
            other["xid"] == row["xid"]
            and other["op"] == "DELETE"
            and other["was"]["key"] == row["was"]["key"]
            and row["now"][column] - other["was"][column] in (0, 1)
        ):
            return
    raise Violation(
        "counts", f"{who} has {column} {row['was'][column]} → {row['now'][column]} without a reason"
    )
