"""Reading what explain tells: rows in order, their lines, and lines in an expected order."""

from collections.abc import Sequence
from typing import Any

from market.providers import Answer, Kind
from tests.support.db import Conn
from tests.support.providers import serving

Story = list[dict[str, Any]]
PRICES = serving(lambda day: 100.0 + day.toordinal() % 7)
BROKEN = Answer(Kind.BAD_ANSWER, message="no column close")


def story(conn: Conn, what: str, argument: object) -> Story:
    """What explain_prediction, explain_ticker or explain_event says; times never go back."""
    rows = conn.execute(f"SELECT * FROM explain_{what}(%s)".encode(), [argument]).fetchall()  # noqa: S608
    times = [row["at"] for row in rows if row["at"] is not None]
    assert times == sorted(times)
    assert all(row["at"] is None for row in rows[len(times) :])
    return rows


def lines(rows: Story, subject: str = "") -> list[str]:
    """The lines of one subject, or all."""
    return [row["story"] for row in rows if row["subject"].startswith(subject)]


def in_order(texts: Sequence[str], *beginnings: str) -> None:
    """Each of these begins a line, one after the other, with anything in between."""
    rest = iter(texts)
    for beginning in beginnings:
        assert any(text.startswith(beginning) for text in rest), (beginning, texts)
