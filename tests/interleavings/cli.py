"""`./dev explore`: run many orders, and print the shortest of those that fail."""

# ruff: noqa: T201 - what a command prints

import argparse
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import count, cycle

from market.universe import sessions
from sql import embedded
from sql.database import Database
from sql.schema import migrate
from tests.interleavings import orders
from tests.interleavings.explore import Explorer, Ran
from tests.interleavings.safeguards import SAFEGUARDS
from tests.interleavings.scenes import PAIRS, SCENES
from tests.interleavings.workers import quiet
from tests.interleavings.world import world_of
from tests.support.db import copy_of, drop, server_folder

_SERVER = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
}


def main(arguments: list[str]) -> int:
    """Explore; returns 0 where everything held, 1 where something did not."""
    asked = _parser().parse_args(arguments)
    names = asked.pair or ([SAFEGUARDS[asked.without].scene] if asked.without else list(SCENES))
    seed = asked.seed if asked.seed is not None else str(secrets.randbelow(10**6))
    with _database() as url, world_of(url) as world, ExitStack() as stack:
        out = SAFEGUARDS[asked.without].take_out(world) if asked.without else nullcontext()
        stack.enter_context(out)
        explorer = Explorer(world, inside=asked.inside, without=asked.without)
        if asked.order is not None:
            ran = explorer.given_order(names[0], seed, orders.read(asked.order), asked.left_out)
            print(ran)
            return 1 if ran.violation else 0
        print(f"seed {seed}, scenes: {', '.join(names)}", flush=True)
        try:
            return _explore(explorer, names, seed, asked)
        except KeyboardInterrupt:
            print(f"{explorer.count} orders, the last one not to its end: all hold")
            return 130


def _explore(explorer: Explorer, names: list[str], seed: str, asked: argparse.Namespace) -> int:
    started, told = time.monotonic(), time.monotonic()
    for ran in _runs(explorer, names, seed, asked):
        if ran.violation is not None:
            print(f"order {explorer.count} fails, {ran.command()}")
            print("the shortest that fails in the same way:", flush=True)
            print(explorer.shortest(ran))
            return 1
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{explorer.count} orders, {told - started:.0f} s, all hold", flush=True)
        if asked.seconds and time.monotonic() - started > asked.seconds:
            break
    print(f"{explorer.count} orders in {time.monotonic() - started:.0f} s: all hold")
    return 0


def _runs(
    explorer: Explorer, names: list[str], seed: str, asked: argparse.Namespace
) -> Iterator[Ran]:
    if asked.all:
        for name in names:
            if name in PAIRS:
                yield from explorer.all_orders(name)
        return
    for number, name in zip(count(), cycle(names), strict=False):
        if asked.orders and number >= asked.orders:
            return
        yield explorer.random_order(name, f"{seed}.{number}")


@contextmanager
def _database() -> Iterator[str]:
    """A migrated database on a server of its own, or on TEST_DATABASE_URL."""
    with ExitStack() as stack:
        given = os.environ.get("TEST_DATABASE_URL")
        if given is None:
            folder = stack.enter_context(server_folder())
            given = stack.enter_context(embedded.use(folder, settings=_SERVER))
        url = copy_of(given)
        with quiet(), Database(url) as database:
            migrate.migrate(database)
            sessions.ensure(database)
        yield url
        drop(given, url)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev explore", description=__doc__)
    parser.add_argument("--pair", action="append", choices=SCENES, help="a scene; may be repeated")
    parser.add_argument("--seed", help="what the random orders come from; printed")
    parser.add_argument("--orders", type=int, default=0, help="end after so many (0: no end)")
    parser.add_argument("--seconds", type=float, default=0, help="end after so long (0: no end)")
    parser.add_argument("--all", action="store_true", help="all orders there are, of the pairs")
    parser.add_argument("--inside", action="store_true", help="with gates inside SQL functions too")
    parser.add_argument("--order", help="this order alone, as a failure prints it")
    parser.add_argument("--left-out", action="append", default=[], help="who does not take part")
    parser.add_argument("--without", choices=SAFEGUARDS, help="with this safeguard taken out")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
