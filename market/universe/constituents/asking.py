"""One request to a source over HTTP, within the limits that all workers share.

The source has a row in `reckoner_providers` like a provider of prices: pace, pauses, breaker.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from market.providers import limits
from market.providers.base import Answer, Kind, Limited
from market.providers.http import Reply
from market.universe.constituents.columns import NoMembersError
from market.universe.constituents.listed import Index, Listed, Member, Wait
from sql.database import Database
from sql.redaction import one_line

T = TypeVar("T")
Take = Callable[[list[Member]], Answer]


@dataclass(frozen=True)
class Website:
    """A source without prices, and so without a symbol to try it by. canary: it is remote."""

    name: str
    canary: str | None = ""


def ask(
    database: Database,
    provider: Limited,
    index: Index,
    wait: Wait,
    fetch: Callable[[Take], Answer],
) -> Listed:
    """Acquire a place, fetch once, and note the answer in the provider's limits.

    fetch: given a function that takes the members, returns the answer. No transaction is open
    during the fetch. Raises psycopg.Error.
    """
    found: list[Member] = []

    def take(members: list[Member]) -> Answer:
        found[:] = members
        return Answer(Kind.OK if members else Kind.EMPTY, message="" if members else "no members")

    paused = limits.acquire(database, provider, 1, wait)
    if paused:
        return Listed(Kind.THROTTLED, message=paused.reason)
    answer = limits.guarded_fetch(lambda: [fetch(take)], 1)[0]
    with database.transaction() as conn:
        limits.note(conn, provider, f"members of {index.name}", answer)
    return Listed(answer.kind, tuple(found), answer.message, answer.payload)


def reading(read: Callable[[], list[Member]], take: Take) -> Answer:
    """Take what a document has; one without members is a bad answer, with the reason."""
    try:
        return take(read())
    except NoMembersError as error:
        return Answer(Kind.BAD_ANSWER, message=one_line(str(error)))


def refused(reply: Reply, absent: str) -> Answer | None:
    """Read a refusal by its status. None of these pauses the source, whose other lists may be there.

    absent: what a list that does not exist is called.
    """
    if reply.status in {404, 410}:
        return Answer(Kind.EMPTY, message=f"HTTP {reply.status}: {absent}")
    if reply.status in {401, 402, 403}:
        return Answer(Kind.PLAN, message=f"HTTP {reply.status}: {reply.start}", abstains=True)
    return None
