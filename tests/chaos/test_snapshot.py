"""A reader that holds a snapshot while events pass: nothing that they leave can be cleaned away."""

import contextlib
from collections.abc import Iterator

from tests.chaos.safeguards import BOTH, promised, take_out
from tests.chaos.world import World, tell
from tests.support.db import Conn, connect, value
from tests.support.waiting import until

EVENTS = 50_000
# Index entries of ready events that all claims read, for each event that passed. From the
# beginning of the index every claim of 500 would read each event before it: 50 and more.
MOST_READ = 25


@contextlib.contextmanager
def held_snapshot(url: str) -> Iterator[None]:
    """A transaction that has read the outbox and does not end."""
    with connect(url) as reader, reader.transaction():
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM outbox")
        yield


@BOTH
def test_claims_behind_a_held_snapshot_do_not_read_what_passed(world: World, kept: bool) -> None:
    if not kept:
        take_out(world.conn, "claim_cursor")
    world.start_ready()
    with held_snapshot(world.url):
        # Words that are no tickers: events that cost nothing but their way through the queue.
        world.conn.execute(
            "INSERT INTO predictions (assets) SELECT '[\"no ticker\"]' FROM generate_series(1, %s)",
            [EVENTS],
        )
        passed = "SELECT count(*) FROM outbox_history WHERE topic = 'prediction'"
        until("all events passed", lambda: world.ask(passed) == EVENTS, 240)
        # A worker that now sleeps wakes for the next one, and finds it at once.
        world.conn.execute("INSERT INTO predictions (assets) VALUES ('[\"one more\"]')")
        until("one more", lambda: world.ask(passed) == EVENTS + 1)
        read = until("the statistics are told", lambda: index_reads(world.conn)) / EVENTS
    tell(f"{read:.1f} entries of the index read per event behind a held snapshot")
    with promised(kept):
        assert read < MOST_READ


def index_reads(conn: Conn) -> int:
    """Entries that scans of the ready events' index returned; backends tell at their leisure."""
    query = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'outbox_ready'"
    return int(value(conn, query))
