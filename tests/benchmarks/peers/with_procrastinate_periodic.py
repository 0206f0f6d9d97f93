"""procrastinate's periodic tasks: one worker defers them, as in its documentation.

Called with a URL, a number of tasks, and their cron line with seconds; runs until it is killed.
"""

import asyncio
import logging
import sys

import procrastinate


async def _nothing(timestamp: int) -> None:
    pass


async def _run(url: str, number: int, cron: str) -> None:
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=12)
    app = procrastinate.App(connector=connector)
    for n in range(number):
        app.periodic(cron=cron)(app.task(name=f"nothing_{n}")(_nothing))
    async with app.open_async():
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await app.run_worker_async(concurrency=10, install_signal_handlers=False)


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # its logs would cost it time
    asyncio.run(_run(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
