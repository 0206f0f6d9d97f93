"""A process that sleeps, wakes, and says when: the two floors that `wake` is measured by.

`claim`: through the worker's own doorbell and claim, to the claimed row in the hand; nothing is
done with it. `notify`: LISTEN and nothing else. Each moment is a line, in seconds of
time.perf_counter, which all processes of a machine share.
"""

import select
import sys
import time

import psycopg

from sql.database import Database
from sql.logs import configure
from sql.settings import LogSettings
from worker.listening.doorbell import Doorbell
from worker.queue import outbox

CHANNEL = "bench"


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _claim(url: str, times: int) -> None:
    with Database(url, name="bench", size=2) as database:
        doorbell = Doorbell(database, url)
        doorbell.probe()
        _say("ready")
        while times:
            doorbell.arm()
            doorbell.sleep(10)
            claims = outbox.claim(database, "prediction", "sleeper", 500, 60)
            moment = time.perf_counter()
            doorbell.disarm()
            if claims:
                times -= 1
                _say(moment)
        doorbell.close()


def _notify(url: str, times: int) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"LISTEN {CHANNEL}".encode())
        _say("ready")
        while times:
            select.select([conn.fileno()], [], [])
            for _ in conn.notifies(timeout=0):
                times -= 1
                _say(time.perf_counter())


if __name__ == "__main__":
    configure(LogSettings(log_level="WARNING"))
    {"claim": _claim, "notify": _notify}[sys.argv[2]](sys.argv[1], int(sys.argv[3]))
