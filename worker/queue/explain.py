"""The history of a prediction, a ticker or an event, from the functions of `70_explain.sql`.

SQL tells the history, so that psql and a page give the same answer as the command.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sql.database import Connection, Database, one
from sql.errors import translated
from sql.rows import Rows, fetch_rows

_ID = re.compile(r"-?[0-9]{1,19}")
# A moment within a line of history: two claims that differ only in it are repeats.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*")
_STATE = re.compile(r"(complete|maturing|awaiting_prices|unresolvable)\b")
# More lines of the same text become one.
_MOST_REPEATS = 2


def explain(
    database: Database,
    *,
    what: str | None = None,
    event: int | None = None,
    run: int | None = None,
    schedule: str | None = None,
) -> list[dict[str, Any]]:
    """Return the history as rows `at` (timestamptz; None: true at any time), `subject`, `story`.

    what: a prediction's id or a symbol. Raises NotFound where it does not exist.
    """
    if event is not None:
        query, argument = "SELECT * FROM explain_event(%s)", str(event)
    elif run is not None:
        query, argument = "SELECT * FROM explain_run(%s)", str(run)
    elif schedule is not None:
        query, argument = "SELECT * FROM explain_schedule(%s)", schedule
    elif is_prediction(what):
        query, argument = "SELECT * FROM explain_prediction(%s)", str(what)
    else:
        query, argument = "SELECT * FROM explain_ticker(%s)", what or ""
    with translated(lookup=True), database.transaction() as conn:
        return conn.execute(query.encode(), [argument]).fetchall()


def is_prediction(what: str | None) -> bool:
    """Whether a word is a prediction's id, and not a symbol."""
    return what is not None and bool(_ID.fullmatch(what)) and -(2**63) <= int(what) < 2**63


@dataclass(frozen=True)
class Asked:
    """A prediction: the assets that it names with what it says of each, and its horizons.

    The horizons are rows `symbol`, `says`, `horizon`, `session`, `price`, `return_pct`, `correct`,
    `due_at` (the close of a session to come), the entry first.
    """

    says: Sequence[str]
    horizons: Rows


def asked(database: Database, prediction: int) -> Asked:
    """Return what a prediction says, and its horizons; the prediction exists."""
    with database.transaction() as conn:
        horizons = fetch_rows(conn, "SELECT * FROM prediction_horizons(%s)", [prediction])
        return Asked(_says(conn, prediction), horizons)


def _says(conn: Connection, prediction: int) -> list[str]:
    row = one(
        conn,
        "SELECT assets, market_impact FROM prediction_inputs WHERE prediction_id = %s",
        [prediction],
    )
    assets, impact = row["assets"], row["market_impact"]
    named = assets if isinstance(assets, list) else []
    said = impact if isinstance(impact, Mapping) else {}
    return [
        f"{asset} {word}" if isinstance(word := said.get(str(asset)), str) else str(asset)
        for asset in named
    ]


def without_repeats(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Keep the first and the last of lines that differ only in their times, and say how many."""
    groups: dict[tuple[str, str], list[int]] = {}
    for n, row in enumerate(rows):
        if row["at"] is not None:
            key = (row["subject"], _MOMENT.sub("", row["story"]))
            groups.setdefault(key, []).append(n)
    repeated = [found for found in groups.values() if len(found) > _MOST_REPEATS]
    gone = {n for found in repeated for n in found[1:-1]}
    counts = {found[-1]: len(found) for found in repeated}
    return [
        {**row, "story": f"{row['story']} ({counts[n]} times)" if n in counts else row["story"]}
        for n, row in enumerate(rows)
        if n not in gone
    ]


def sources(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines that say where prices came from: payloads, answers, providers."""
    return [
        dict(row)
        for row in rows
        if row["subject"].split()[0] in {"payload", "answer", "provider"}
        or "(from " in row["story"]
        or re.match(r"done: \S+ gave ", row["story"])
    ]


def states(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the states of a prediction's outcomes."""
    found = Counter(
        state[1]
        for row in rows
        if row["subject"].startswith("outcome ") and (state := _STATE.match(row["story"]))
    )
    return dict(found.most_common())


def waits(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is waited for, and until when; lines of several symbols that say the same are one."""
    now = dt.datetime.now(dt.UTC)
    names = {
        row["subject"]: found[1]
        for row in rows
        if (found := re.match(r"written for (\S+ \S+?)(,|$)", row["story"]))
    }
    merged: dict[tuple[str, Any], list[str]] = {}
    for row in rows:
        kind, at = row["subject"].split()[0], row["at"]
        is_state = kind == "outcome" and _STATE.match(row["story"]) and row["story"] != "complete"
        is_now = kind in {"event", "prediction", "provider"} and (at is None or at > now)
        if is_state or is_now or kind == "outcomes":
            subject = names.get(row["subject"], row["subject"])
            until = at if at is not None and at > now else None
            # The columns of a screen say the rest.
            story = (
                row["story"].removesuffix(", computed again then").replace("g_prices", "g prices")
            )
            merged.setdefault((story, until), []).append(subject)
    return [
        {"subject": _together(subjects), "story": story, "at": until}
        for (story, until), subjects in merged.items()
    ]


def _together(subjects: Sequence[str]) -> str:
    """Name several subjects of one kind: `outcome AAPL, MSFT`."""
    kind = subjects[0].split()[0]
    names = [subjects[0], *(subject.removeprefix(f"{kind} ") for subject in subjects[1:])]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
