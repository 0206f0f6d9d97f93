"""Gates inside SQL functions: between the statements of PL/pgSQL, each of which has a snapshot of its own.

In the explorer's database alone, each statement of a function gets a call of `interleavings_gate()`
before it. That waits for an advisory lock of its own backend's number, which the scheduler holds, and so
is seen as any other wait for a lock. The scheduler lets go and takes it again behind.
"""

import re
from collections.abc import Iterator

from tests.support.db import Conn, value

_KEY = 1229867348  # "INTL" in ASCII
_GATE = f"""
CREATE OR REPLACE FUNCTION interleavings_gate(p_label text) RETURNS void LANGUAGE plpgsql
SET lock_timeout = 0 SET search_path = pg_catalog AS $$
BEGIN
    PERFORM set_config('application_name', split_part(current_setting('application_name'), ' ', 1)
                       || ' ' || p_label, false);
    PERFORM pg_advisory_lock({_KEY}, pg_backend_pid());
    PERFORM pg_advisory_unlock({_KEY}, pg_backend_pid());
END $$;
"""
# What may see or change what others do meanwhile.
_FUNCTIONS = (
    "bars_(reading|writing)|outcomes_(process|write|fill|fill_symbols|fill_due|resession)|bars_merge|ticker_enqueue"
    "|outbox_(put_back|expire|release|requeue|requeue_prediction|requeue_ticker|park|cancel|claim|requeued)"
    "|registry_(register|inserted)|sweep_(forgotten|changed|due|unfetched|refill|restated)|doorbell_(ring|arm)"
    "|predictions_(inserted|updated)|worker_heartbeat"
)
_LISTED = """
SELECT p.proname AS name, pg_get_functiondef(p.oid) AS definition FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'public'::regnamespace AND l.lanname = 'plpgsql' AND p.provolatile = 'v'
  AND p.proname ~ %s ORDER BY 1
"""
_STATEMENT = re.compile(
    r"(SELECT|INSERT|UPDATE|DELETE|MERGE|PERFORM|WITH|LOCK|RETURN QUERY|FOR)\b"
    r"|RETURN \w+\(|v_\w+ := (ARRAY|\(SELECT)|IF (NOT )?EXISTS"
)
_OPENING = re.compile(r"(;|\bBEGIN|\bTHEN|\bELSE|\bLOOP)$")


def put_in(conn: Conn) -> dict[str, int]:
    """Put gates into the functions of this database; returns how many each has."""
    conn.execute(_GATE.encode())
    found = {}
    for row in conn.execute(_LISTED, [f"^({_FUNCTIONS})$"]).fetchall():
        head, body, tail = row["definition"].split("$function$")
        lines = list(_with_gates(row["name"], body))
        found[row["name"]] = sum("interleavings_gate" in line for line in lines)
        conn.execute("$function$".join([head, "\n".join(lines), tail]).encode())
    return found


def _with_gates(name: str, body: str) -> Iterator[str]:
    """The lines of a body, with a gate before each statement but the first, at whose gate the call stood."""
    depth, opens, number, has_begun = 0, False, 0, False
    for line in body.split("\n"):
        code = re.sub(r"'(?:[^']|'')*'", "''", line)
        code = re.sub(r"--.*", "", code).strip()
        if depth == 0 and opens and _STATEMENT.match(code):
            if has_begun:
                number += 1
                yield f"PERFORM public.interleavings_gate('{name}:{number}');"
            has_begun = True
        yield line
        if code:
            depth += code.count("(") - code.count(")")
            opens = depth == 0 and bool(_OPENING.search(code))


class Gates:
    """The scheduler's side. conn: a session that holds the locks; the one that watches."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn
        self._held: set[int] = set()
        self.pid = conn.info.backend_pid

    def hold(self, pid: int) -> None:
        """Close the gates of a backend."""
        if pid not in self._held:
            self._conn.execute("SELECT pg_advisory_lock(%s, %s)", [_KEY, pid])
            self._held.add(pid)

    def pass_one(self, pid: int) -> None:
        """Let a backend that waits at a gate through that one."""
        self._conn.execute(
            "SELECT pg_advisory_unlock(%s, %s), pg_advisory_lock(%s, %s)", [_KEY, pid, _KEY, pid]
        )

    def label(self, pid: int) -> str:
        """The gate at which a backend waits."""
        name = value(
            self._conn, "SELECT application_name FROM pg_stat_activity WHERE pid = %s", [pid]
        )
        return f"  {str(name).partition(' ')[2]}"

    def open(self) -> None:
        """Open all gates."""
        self._conn.execute("SELECT pg_advisory_unlock_all()")
        self._held.clear()
