"""The backends of workers, and ending them."""

from tests.chaos.world import World
from tests.support.db import value

BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'reckoner worker'"
    " AND datname = current_database()"
)

# The last statement of an ear; what others ask in a transaction ends with a COMMIT.
LISTENING = (
    " AND (query LIKE 'LISTEN%' OR query ~ 'doorbell_(arm|disarm)'"
    " OR (state = 'idle' AND query LIKE '%outbox_next_at(%'))"
)


def terminate(world: World, query: str) -> int:
    """Terminate the backends that a query names; returns how many there were."""
    kill = f"SELECT count(pg_terminate_backend(pid)) FROM ({query}) b"  # noqa: S608 - constants
    return int(value(world.conn, kill))
