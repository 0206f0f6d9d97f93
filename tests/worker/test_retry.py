"""Retry until available: what is logged while the reason stays, and when it changes."""

import psycopg
from structlog.testing import capture_logs

from worker.retry import AWAY, until_available
from worker.shutdown import Shutdown


def test_a_reason_is_said_once_and_again_when_it_changes() -> None:
    reasons = ["refused", "refused", "starting up", "refused"]

    def action() -> str:
        if reasons:
            raise psycopg.OperationalError(reasons.pop(0))
        return "done"

    seen: list[Exception] = []

    def once_away(error: Exception) -> str | None:
        """The database is away when it is asked first, and back when it is asked again."""
        seen.append(error)
        return AWAY if seen.count(error) == 1 else None

    with capture_logs() as logs:
        assert until_available(Shutdown(), "trying", action, once_away, tries=9) == "done"
    said = [entry["error"] for entry in logs if entry["event"] == AWAY]
    assert said == [f"OperationalError: {each}" for each in ("refused", "starting up", "refused")]
