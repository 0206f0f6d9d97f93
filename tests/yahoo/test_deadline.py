"""A network that swallows everything: a fetch ends in its time, cookie and crumb included."""

import subprocess
import sys

from tests.support import ROOT, Conn, environment
from tests.yahoo.listings import steady
from tests.yahoo.scenes import LAST, trading_days
from tests.yahoo.server import Yahoo

# Several lanes at once, because yfinance fetches its cookie under one lock; then, when the
# network is back, once more with the same transport.
SCRIPT = """
import datetime, sys, threading
from market.providers import Request
from market.providers.yahoo import Yahoo

day = datetime.date.fromisoformat(sys.argv[1])
yahoo = Yahoo(seconds=1.5)
request = Request("ACME", day, day, [day])
kinds = []
lanes = [threading.Thread(target=lambda: kinds.append(yahoo.fetch(request).kind)) for _ in range(4)]
for lane in lanes:
    lane.start()
for lane in lanes:
    lane.join()
print(*kinds, flush=True)
sys.stdin.readline()
yahoo._seconds = 15.0
print(yahoo.fetch(request).kind, flush=True)
"""


def test_a_network_that_swallows_everything_is_down_within_the_time_of_a_fetch(
    yahoo: Yahoo, conn: Conn
) -> None:
    yahoo.listings["ACME"] = steady(trading_days(conn))
    yahoo.cut("hang")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, f"{LAST}"],
        env=environment("", **yahoo.environment),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "down down down down\n"
        # Nobody waited for the server to give up: it still holds the connections.
        assert not yahoo.released.is_set()
        yahoo.cut("up")
        assert process.communicate("\n", timeout=60)[0] == "ok\n"
    finally:
        process.kill()
        process.wait()
