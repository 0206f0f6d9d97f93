"""Retry until available: what is logged while the reason stays, and when it changes."""

import psycopg
from structlog.testing import capture_logs

from worker.retry import until_available
from worker.shutdown import Shutdown


def test_a_reason_is_said_once_and_again_when_it_changes() -> None:
    reasons = ["refused", "refused", "starting up", "refused"]

    def action() -> str:
        if reasons:
            raise psycopg.OperationalError(reasons.pop(0))
        return "done"

    with capture_logs() as logs:
        assert until_available(Shutdown(), "trying", action) == "done"
    said = [entry["error"] for entry in logs if entry["event"].startswith("the database is away")]
    assert said == [f"OperationalError: {each}" for each in ("refused", "starting up", "refused")]
