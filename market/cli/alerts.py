"""`market alerts …`: what is wrong, since when, and who is told; each verb is a function of 69_alerts.sql."""

import datetime as dt
from typing import Annotated, Any

import typer

from market.cli.console import JsonOption, application, command_database
from market.cli.display import emit
from market.cli.runs import actor
from market.cli.views import alerts as views
from sql.errors import InvalidInput, translated
from sql.rows import fetch_rows

app = application("Alerts: what is wrong, since when, and who is told.", no_args_is_help=True)

Rule = Annotated[str, typer.Argument(metavar="RULE", help="As `list` shows it.")]
Subject = Annotated[
    str | None, typer.Argument(metavar="SUBJECT", help="As `list` shows it; all without it.")
]
_SELECT = "SELECT * FROM alert_status"


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Those that are resolved too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the alerts that are open.

    Examples: `python -m market alerts list`, `python -m market alerts list --all -o wide`.
    """
    with command_database() as database, database.transaction() as conn:
        rows = fetch_rows(conn, f"{_SELECT} WHERE %s OR state <> 'resolved'", [everything])
    emit(rows, views.listing(rows, everything=everything), as_json=as_json)


@app.command("silence")
def silence(
    rule: Rule,
    until: Annotated[
        str, typer.Option("--until", help="Its end, a moment like 2026-07-08T12:00Z.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why, for those who look at it later.")],
    subject: Subject = None,
    as_json: JsonOption = False,
) -> None:
    """Silence alerts until a time: they open and resolve, and no message says so.

    Examples: `python -m market alerts silence provider_quota fmp --until 2026-07-09
    --reason 'the plan is renewed then'`,
    `python -m market alerts silence run_failed --until 2026-07-08T12:00Z --reason 'a new disk'`.
    """
    _verb(
        "SELECT alert_silence(%s, %s, %s, %s, %s)",
        [rule, subject, _moment(until), reason, actor()],
        rule,
        subject,
        as_json=as_json,
    )


@app.command("unsilence")
def unsilence(rule: Rule, subject: Subject = None, as_json: JsonOption = False) -> None:
    """End a silence before its time.

    Examples: `python -m market alerts unsilence provider_quota fmp`,
    `python -m market alerts unsilence run_failed`.
    """
    _verb("SELECT alert_unsilence(%s, %s)", [rule, subject], rule, subject, as_json=as_json)


@app.command("resolve")
def resolve(rule: Rule, subject: Subject = None, as_json: JsonOption = False) -> None:
    """Resolve open alerts now; what is still wrong opens again within a minute.

    Examples: `python -m market alerts resolve run_failed nightly`,
    `python -m market alerts resolve events_dead`.
    """
    _verb("SELECT alert_resolve(%s, %s)", [rule, subject], rule, subject, as_json=as_json)


def _verb(query: str, given: list[Any], rule: str, subject: str | None, *, as_json: bool) -> None:
    """Run a verb's function, then show the alerts that it is about."""
    with command_database() as database, database.transaction() as conn, translated():
        conn.execute(query.encode(), given)
        about = f"{_SELECT} WHERE rule = %s AND (%s::text IS NULL OR subject = %s)"
        rows = fetch_rows(conn, about, [rule, subject, subject])
    emit(rows, views.listing(rows, everything=True), as_json=as_json)


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"--until {text}: not a moment like 2026-07-08T12:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
