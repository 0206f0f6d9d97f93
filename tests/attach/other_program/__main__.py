"""The other program: it writes predictions, tickers, prices and outcomes, and knows nothing of us.

Run as a process: `python -m tests.attach.other_program DATABASE_URL --symbols AAPL,TSLA
--seconds 15`. Three of its services work side by side as threads, each with a connection of its
own and with the plain statements that an ORM sends: look, then INSERT, then COMMIT, without ON
CONFLICT. It looks at the columns once, as an ORM's models know them, and fills those that its
generation has.

At its end it prints one line of JSON: `counts` per kind of statement, `errors` (kind, sqlstate,
message), `unique`: how often its INSERT met a row of the same key that somebody had written
after it looked, per kind; `slowest`: the slowest transaction in seconds, per kind.
"""

import argparse
import datetime as dt
import sys
import threading

from tests.attach.other_program.base import Program, Service
from tests.attach.other_program.services import Analyzer, OutcomeCalculator, PriceCollector


def main() -> int:
    """Run all services until the time is up; returns the exit code, 1 when one of them died."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url")
    parser.add_argument("--symbols", required=True, help="comma-separated")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--now", type=dt.datetime.fromisoformat, default=dt.datetime.now(dt.UTC))
    parser.add_argument("--prices-from", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--pause", type=float, default=0.02, help="mean seconds between steps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until-eof", action="store_true", help="not before standard input ends")
    options = parser.parse_args()
    program = Program(options)
    died: list[str] = []

    def guarded(service: Service) -> None:
        try:
            service.run()
        except Exception as error:
            died.append(f"{type(service).__name__}: {error!r}")
            raise

    services = [
        kind(program, number)
        for number, kind in enumerate((Analyzer, PriceCollector, OutcomeCalculator))
    ]
    threads = [threading.Thread(target=guarded, args=[service]) for service in services]
    for thread in threads:
        thread.start()
    if options.until_eof:
        sys.stdin.read()
    program.dismissed.set()
    for thread in threads:
        thread.join()
    sys.stdout.write(program.log.line() + "\n")
    sys.stderr.write("".join(f"{line}\n" for line in died))
    return 1 if died else 0


if __name__ == "__main__":
    sys.exit(main())
