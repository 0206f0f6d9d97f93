"""docs/sql.md, from the comments above functions and views in sql/functions/."""

import json
import re
from collections.abc import Mapping
from functools import cache

from tests.reference.markdown import head, table
from tests.support.process import ROOT

_ANSWER = """\
Everything that Reckoner knows is rows, and these views and functions are what people use: `psql` needs
nothing else. All of them are in the schema `public`. Functions that change rows wake a sleeping worker.
Everything else in `sql/functions/` is called by the worker and may change. `market db roles` makes roles
that may call them ([roles](roles.md))."""

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "See the queue": (
        "outbox_status",
        "outbox_stuck",
        "worker_status",
        "reckoner_health",
        "processing_stages",
        "explain_prediction",
        "prediction_horizons",
        "explain_ticker",
        "explain_event",
    ),
    "Change the queue": (
        "outbox_requeue",
        "outbox_requeue_prediction",
        "outbox_requeue_ticker",
        "outbox_requeue_dead",
        "outbox_park",
        "outbox_cancel",
    ),
    "Change a ticker": ("ticker_set_status", "ticker_remap"),
    "Sessions": ("session_correction",),
    "The universe": (
        "tracked_symbols",
        "tracked_new",
        "tracked_register",
        "index_members",
        "index_status",
        "index_refresh",
    ),
    "Providers": (
        "provider_status",
        "provider_quota_status",
        "provider_limits",
        "provider_resume",
    ),
    "Work by the clock": (
        "schedule_status",
        "task_status",
        "job_runs",
        "explain_schedule",
        "explain_run",
        "schedule_create",
        "schedule_update",
        "schedule_delete",
        "schedule_pause",
        "schedule_resume",
        "schedule_skip_next",
        "schedule_run_now",
        "schedule_preview",
        "schedule_export",
        "schedule_import",
        "run_task",
        "run_cancel",
    ),
    "Prices": (
        "our_bars",
        "price_stats",
        "symbol_stats",
        "price_freshness",
        "validation_report",
        "price_data",
        "price_history_daily",
        "intraday_tracked",
        "intraday_partitions",
        "job_progress",
        "job_symbols",
        "job_fetches",
    ),
    "Snapshots": (
        "market_analysis_cache",
        "market_analysis_history",
        "snapshot_history_record",
        "snapshot_history_prune",
    ),
    "Fills": ("executions_add", "execution_costs"),
    "Coverage": ("coverage", "coverage_symbol", "coverage_symbols", "coverage_stale"),
    "Reports": (
        "our_outcomes",
        "outcome_facts",
        "accuracy_by_group",
        "accuracy_by_confidence",
        "event_paths",
        "reckoner_benchmark",
    ),
    "Alerts": ("alert_status", "alert_silence", "alert_unsilence", "alert_resolve"),
    "Outcome webhooks": (
        "subscription_status",
        "subscription_create",
        "subscription_requeue",
        "subscription_delete",
    ),
    "Attaching": ("outcomes_duplicates",),
}
_FILES = ROOT / "sql" / "functions"
_CREATED = re.compile(r"^CREATE OR REPLACE (FUNCTION|VIEW) (\w+)", re.MULTILINE)


def page() -> str:
    """Return the page of the views and functions for people, with their comments."""
    lines = head("SQL for operators and analysts", _ANSWER, "the comments in `sql/functions/`")
    for title, names in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += _entry(name)
    return "\n".join(lines)


def _entry(name: str) -> list[str]:
    for path in sorted(_FILES.glob("*.sql")):
        text = path.read_text()
        for match in _CREATED.finditer(text):
            if match[2] == name:
                comment = _comment(text, match.start()) or _comment(text, text.index("SET LOCAL"))
                what = [f"### {name}", "", *_recorded(name, text), *_prose(comment)]
                if match[1] == "VIEW":
                    return [*what, *_columns(name, text)]
                return [*what, "```sql", _signature(text[match.end() :], name), "```", ""]
    raise ValueError(f"sql/functions/ has no {name}: mend SECTIONS in tests/reference/functions.py")


def _comment(text: str, end: int) -> list[str]:
    """The lines of the comment that ends just before a place."""
    lines: list[str] = []
    for line in reversed(text[:end].splitlines()):
        if not line.startswith("--"):
            break
        lines.insert(0, line.removeprefix("--").removeprefix(" "))
    return lines


def _recorded(view: str, text: str) -> list[str]:
    """What COMMENT ON VIEW says."""
    found = re.search(rf"^COMMENT ON VIEW {view} IS '((?:[^']|'')*)'", text, re.MULTILINE)
    return [found[1].replace("''", "'"), ""] if found else []


def _prose(comment: list[str]) -> list[str]:
    """A comment as Markdown: what is indented is code."""
    lines: list[str] = []
    code = False
    for line in comment:
        if line.startswith("  ") != code:
            lines += ["```sql"] if not code else ["```"]
            code = not code
        lines.append(line.strip() if code else line.replace("<", "&lt;"))
    return [*lines, *(["```"] if code else []), ""]


def _signature(rest: str, name: str) -> str:
    """The call and the result, on a line each where they are long."""
    body = re.search(r"\bLANGUAGE\b|\bAS \$", rest)
    if body is None:
        raise ValueError(f"{name}: no body found")
    arguments, returns, result = rest[: body.start()].partition("RETURNS")
    call, given = f"{name}{_spaced(arguments)}", f"{returns} {_spaced(result)}"
    return f"{call} {given}" if len(call) + len(given) < 100 else f"{call}\n    {given}"


def _spaced(text: str) -> str:
    words = " ".join(re.sub(r"--.*", "", text).split())
    return words.replace("( ", "(").replace(" )", ")")


def _columns(view: str, text: str) -> list[str]:
    """A view's columns: with their comments in a table where there are any, else in a line."""
    comments = dict(
        re.findall(rf"^COMMENT ON COLUMN {view}\.(\w+) IS '((?:[^']|'')*)'", text, re.MULTILINE)
    )
    names = _views()[view]
    if not comments:
        return [f"Columns: {', '.join(f'`{name}`' for name in names)}.", ""]
    rows = [(f"`{name}`", comments.get(name, "").replace("''", "'")) for name in names]
    return table(("column", "meaning"), rows)


@cache
def _views() -> dict[str, list[str]]:
    """Each view's columns, as the catalogue has them."""
    catalogue = json.loads((ROOT / "sql" / "schema" / "catalogue.json").read_text())["items"]
    return {each["name"]: each["detail"]["columns"] for each in catalogue if each["kind"] == "view"}
