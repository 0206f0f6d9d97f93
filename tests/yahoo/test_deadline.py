"""A network that swallows everything: a fetch ends in its time, cookie and crumb included."""

import subprocess
import sys
from pathlib import Path

from tests.support.db import Conn
from tests.support.process import ROOT, environment
from tests.support.waiting import until
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
yahoo._ready()
print("ready", flush=True)
lanes = [threading.Thread(target=lambda: kinds.append(yahoo.fetch(request).kind)) for _ in range(4)]
for lane in lanes:
    lane.start()
for lane in lanes:
    lane.join()
print(*kinds, flush=True)
yahoo._seconds = 0.0009
hurried = {yahoo.fetch(request).kind for _ in range(100)}
print("hurried", *hurried, flush=True)
sys.stdin.readline()
yahoo._seconds = 15.0
answer = yahoo.fetch(request)
print(answer.kind, answer.payload.status, len(answer.payload.body) > 100, answer.payload.url, flush=True)
"""


def test_a_network_that_swallows_everything_is_down_within_the_time_of_a_fetch(
    yahoo: Yahoo, conn: Conn, tmp_path: Path
) -> None:
    yahoo.listings["ACME"] = steady(trading_days(conn))
    yahoo.cut("hang")
    said = tmp_path / "said"
    with (
        said.open("w") as file,
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, f"{LAST}"],
            env=environment("", **yahoo.environment),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=file,
            text=True,
        ) as process,
    ):
        try:
            until("it is ready", lambda: "ready\n" in said.read_text(), 60)
            # yfinance's own timeout for the first of its requests is half a minute.
            until("all are down", lambda: "down down down down\n" in said.read_text(), 25)
            # What is left for a request may be less than curl's unit of time, never no limit.
            until("hurried too", lambda: "hurried down\n" in said.read_text(), 25)
            yahoo.cut("up")
            process.communicate("\n", timeout=60)
            kind, status, is_whole, url = said.read_text().splitlines()[-1].split(" ", 3)
            assert (kind, status, is_whole) == ("ok", "200", "True")
            assert url.startswith("https://query2.finance.yahoo.com/v8/finance/chart/ACME?period1=")
            assert "crumb" not in url
        finally:
            process.kill()
