"""The page of `watch`: readable at 80 columns and 24 lines, with more rows where there is room.

Texts of the database are never markup, and their control and invisible characters become blanks, so
that no row can send a command to the terminal.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from market.horizons import HORIZONS
from sql import rows as exact
from sql.visible import blanked

Page = dict[str, Any]
Rows = list[dict[str, Any]]

# The most rows of a kind that are read; those that fit are drawn.
MAX_ROWS = 30
# Fixed lines: title, note, four headings, the queue's two rows, three gaps.
_FIXED_LINES = 11
# Shown also while there is no event of them; other topics once there is one.
_TOPICS = ("prediction", "ticker")
_STATUSES = ("pending", "processing", "failed", "dead")
# A worker takes a new event at once; one that waits longer is late, or waits for a provider.
_LATE_SECONDS = 300


def draw(page: Page | None, lost: str | None, size: ConsoleDimensions) -> RenderableType:
    """Draw the page for a terminal of this size. lost: why it is not fresh."""
    if page is None:
        return Text(blanked(lost or ""), style="bold red")
    workers, events, outcomes = page["workers"], page["events"], page["outcomes"]
    free = max(size.height - _FIXED_LINES, 3)
    # A heading, the rows, a gap.
    n_late = min(len(page["late"]), max(free // 3, 1))
    free = max(free - (n_late + 2 if n_late else 0), 3)
    n_workers = min(max(len(workers), 1), max(free // 4, 1))
    n_events = max(1, (free - n_workers + 1) // 2)
    n_outcomes = max(1, free - n_workers - n_events)
    return Group(
        Text.assemble(("Reckoner", "bold"), f"  {page['now']} UTC", no_wrap=True),
        _note(page, lost),
        *([_table(_late(page["late"], n_late)), Text()] if n_late else []),
        _table(queue(page)),
        Text(),
        _table(_workers(workers, n_workers)),
        Text(),
        _table(_events(events[:n_events])),
        Text(),
        _table(_outcomes(outcomes[:n_outcomes])),
    )


# What a pipe gets of the page, exactly, besides the queue: also the header of a table without rows.
_COLUMNS = {
    "late": ("topic", "key", "is_late", "age", "next", "why"),
    "workers": ("name", "mode", "in_flight", "alive", "asleep", "seen", "age"),
    "events": ("at", "topic", "key", "verdict", "took", "result"),
    "outcomes": (
        "prediction_id",
        "symbol",
        "sentiment",
        "entry_session",
        *(f"{what}_{horizon}" for horizon in HORIZONS for what in ("return", "correct")),
        "state",
    ),
}


def tables(page: Page) -> dict[str, exact.Rows]:
    """Return the page for a pipe: its tables, with durations in seconds."""
    rows = queue(page, lambda seconds: seconds)
    found = {"queue": exact.Rows(rows, tuple(rows[0]))}
    for kind, columns in _COLUMNS.items():
        rows = [{name: row[name] for name in columns} for row in page[kind]]
        found[kind] = exact.Rows(rows, columns)
    return found


def queue(page: Page, duration: Callable[[float | None], Any] | None = None) -> Rows:
    """Return a row for each topic: events by status, the oldest, the pace.

    duration: what becomes of seconds, without it words.
    """
    duration = duration or _duration
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in page["queue"]:
        found[row["topic"]][row["status"]] = row
    rows = []
    for topic in [*_TOPICS, *sorted(found.keys() - set(_TOPICS))]:
        by_status = found[topic]
        ages = [row["oldest"] for row in by_status.values() if row["oldest"] is not None]
        etas = [row["eta"] for row in by_status.values() if row["eta"] is not None]
        done = [row["done_last_hour"] for row in by_status.values()]
        rows.append(
            {
                "queue": topic,
                **{name: by_status.get(name, {}).get("count", 0) for name in _STATUSES},
                "oldest": duration(max(ages, default=None)),
                "done/h": max(done, default=0),
                "eta": duration(max(etas, default=None)),
            }
        )
    return rows


def _late(late: Rows, most: int) -> Rows:
    """Return the events that are late, wait or are dead, the late and the oldest first."""
    rows = [
        {
            "late": f"{row['topic']} {row['key']}",
            "age": _duration(row["age"]),
            "next": "" if row["next"] is None else f"in {_duration(row['next'])}",
            "why": row["why"],
        }
        for row in late
    ]
    return _fitting(rows, most)


def _fitting(rows: Rows, most: int) -> Rows:
    """Return the rows that fit; the last one then says how many more there are."""
    if len(rows) <= most or most < 2:
        return rows[:most]
    first, *others = rows[0]
    more = f"and {len(rows) - most + 1}{'+' if len(rows) == MAX_ROWS else ''} more"
    return [*rows[: most - 1], {first: more, **dict.fromkeys(others, "")}]


def _workers(workers: Rows, most: int) -> Rows:
    rows = [
        {
            "worker": row["name"],
            "state": _state(row),
            "in flight": row["in_flight"],
            "seen ago": _duration(row["seen"]),
            "up": _duration(row["age"]),
        }
        for row in workers
    ]
    names = ("worker", "state", "in flight", "seen ago", "up")
    none = {**dict.fromkeys(names, ""), "worker": "none: python -m worker"}
    return _fitting(rows, most) or [none]


def _state(worker: Mapping[str, Any]) -> str:
    return "dead?" if not worker["alive"] else "asleep" if worker["asleep"] else str(worker["mode"])


def _events(events: Rows) -> Rows:
    return [
        {
            "at": row["at"],
            "event": f"{row['topic']} {row['key']}",
            "verdict": row["verdict"],
            "took": _duration(row["took"]),
            "result": _result(row["result"]),
        }
        for row in events
    ]


def _result(result: Any) -> str:
    """Describe what a finished event did, in a few words."""
    if not isinstance(result, dict):
        return "" if result is None else str(result)
    if "reason" in result:
        return str(result["reason"])
    if isinstance(states := result.get("outcomes"), dict):
        words = [f"{count} {state.replace('_', ' ')}" for state, count in states.items()]
        found = result.get("skipped", ())
        listed = len(found) if isinstance(found, dict | list | tuple) else found
        skipped = result.get("skipped_count", listed)
        return ", ".join([*words, *([f"{skipped} skipped"] if skipped else [])])
    words = [str(result.get("outcome", ""))]
    words += [
        f"{result[key]} {key}" for key in ("inserted", "updated", "outcomes") if result.get(key)
    ]
    return ", ".join(words)


def _outcomes(outcomes: Rows) -> Rows:
    return [
        {
            "id": row["prediction_id"],
            "symbol": row["symbol"],
            "says": _SAYS.get(row["sentiment"], ""),
            "entry": row["entry_session"],
            **{
                f"T+{n} %": _move(row[f"return_t{n}"], row[f"correct_t{n}"])
                for n in HORIZONS.values()
            },
            "state": str(row["state"] or "").replace("_", " "),
        }
        for row in outcomes
    ]


_SAYS = {"bullish": "bull", "bearish": "bear", "neutral": "flat"}


def _move(value: float | None, correct: bool | None) -> str:
    if value is None:
        return "·"
    return f"{value:+.1f}{'' if correct is None else ' ✓' if correct else ' ✗'}"


def _note(page: Page, lost: str | None) -> Text:
    if lost:
        return Text(blanked(lost), style="bold red", no_wrap=True, overflow="ellipsis")
    paused = "; ".join(
        f"{row['name']} is paused for {_duration(row['seconds'])}: {row['reason']}"
        for row in page["paused"]
    )
    behind = late_words(page)
    return Text(
        blanked("; ".join(filter(None, [behind, paused]))),
        style="bold red" if behind else "yellow",
        no_wrap=True,
        overflow="ellipsis",
    )


def late_words(page: Page) -> str:
    """Say what is late, the gravest first; empty where nothing is."""
    counts = {
        name: sum(row["count"] for row in page["queue"] if row["status"] == name)
        for name in _STATUSES
    }
    oldest = max(
        (row["oldest"] or 0 for row in page["queue"] if row["status"] == "pending"), default=0
    )
    open_ = counts["pending"] + counts["processing"] + counts["failed"]
    found = {
        f"{counts['dead']:,} dead": counts["dead"] > 0,
        f"no worker for {open_:,} events": open_ > 0
        and not any(row["alive"] for row in page["workers"]),
        f"{counts['failed']:,} failed, to be tried again": counts["failed"] > 0,
        f"one waits for {_duration(oldest)}": oldest > _LATE_SECONDS,
    }
    words = [text for text, is_so in found.items() if is_so]
    return f"LATE: {', '.join(words)}" if words else ""


_STYLES = {
    "✓": "green",
    "✗": "red",
    "dead?": "bold red",
    "cancelled": "yellow",
    "none:": "bold red",
}
_DURATIONS = {"seen ago", "up", "age", "next", "took", "oldest", "eta"}
_RIGHT = {*_STATUSES, *_DURATIONS, "in flight", "done/h"}
_WIDE = {"result", "worker", "state", "why"}
_MOST_LETTERS = 20


def _table(rows: Rows) -> RenderableType:
    if not rows:
        return Text("nothing yet", style="dim")
    # With a reason the page's whole width, of which the reason gets what the others leave.
    reasoned = "why" in rows[0]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=reasoned)
    for name in rows[0]:
        right = name in _RIGHT or name.startswith("T+")
        longest = max(len(name), *(len(blanked(str(row[name] or ""))) for row in rows))
        table.add_column(
            Text(name, style="dim"),
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if name == "why" else None,
            # On a narrow terminal these columns shrink.
            min_width=None if name in _WIDE else min(longest, _MOST_LETTERS),
        )
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: Any) -> Text:
    text = blanked("" if value is None else str(value))
    style = next((style for sign, style in _STYLES.items() if sign in text), "")
    return Text(text, style=style)


def _duration(seconds: float | None) -> str:
    """Format seconds as `12 s`, `3 min`, `5 h` or `4 d`."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms" if seconds > 0 else "0 s"
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.0f} d"
