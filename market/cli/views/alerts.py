"""Screens of alerts."""

from collections import Counter
from collections.abc import Sequence

from market.cli.display import Column, View
from market.cli.display.view import Row
from market.cli.views.words import MARKET, count, counted

_STATES = ("open", "silenced", "resolved")


def listing(rows: Sequence[Row], *, everything: bool) -> View:
    """View of alerts, open ones first."""
    states = Counter(row["state"] for row in rows)
    said = counted([(states[state], state) for state in _STATES])
    return View(
        [
            Column("rule", rank=0),
            Column("subject", rank=0),
            Column("state", rank=0, kind="state"),
            Column("text", rank=0, wrap=True, least=20),
            Column("opened_at", "opened", rank=1, kind="when"),
            Column("last_sent_at", "last message", rank=3, kind="when"),
            Column("mend", "to mend it", rank=2, wrap=True, least=20),
            Column("count", "times", rank=5),
            Column("silenced_until", "silenced until", rank=3, kind="when"),
            Column("silence_reason", "why silenced", rank=4),
        ],
        sort=lambda row: (_STATES.index(row["state"]), row["rule"], row["subject"]),
        summary=f"{count(len(rows), 'alert')}: {said}." if rows else "",
        next=_remedies(rows),
        empty="No alert." if everything else "No alert is open.",
        record=False,
    )


def _remedies(rows: Sequence[Row]) -> list[str]:
    """Return a command that mends an open alert, and how to silence one."""
    mends = [row["mend"] or "" for row in rows if row["state"] == "open"]
    commands = [mend.split(";")[0] for mend in mends if mend.startswith("python")][:1]
    silence = f"{MARKET} alerts silence RULE SUBJECT --until MOMENT --reason WHY"
    return [*commands, silence] if mends else []
