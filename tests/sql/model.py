"""The queue as a few lines of Python, for test_stateful.py to compare the real one with."""

from dataclasses import dataclass, field

from tests.support.queue import Row


@dataclass
class Event:
    """What the model knows of a live event."""

    topic: str
    key: str
    status: str = "pending"
    attempts: int = 0
    crashes: int = 0
    worker: str | None = None

    def reset(self) -> None:
        """As new."""
        self.status, self.attempts, self.crashes, self.worker = "pending", 0, 0, None


@dataclass
class Model:
    """What must be live and what must have ended, after each step."""

    live: dict[int, Event] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    claims: list[Row] = field(default_factory=list)

    def waiting(self, key: str) -> int | None:
        """The event of a symbol that is not in processing."""
        found = [
            n
            for n, e in self.live.items()
            if (e.topic, e.key) == ("ticker", key) and e.status != "processing"
        ]
        return found[0] if found else None

    def end(self, number: int, verdict: str) -> None:
        del self.live[number]
        self.ended[number] = verdict

    def put_back(self, number: int, status: str, *, attempts: int = 0, crashes: int = 0) -> str:
        """An event leaves processing, into its waiting twin if it has one; returns what became."""
        event = self.live[number]
        event.attempts += attempts
        event.crashes += crashes
        twin = self.waiting(event.key) if event.topic == "ticker" else None
        if twin is None:
            event.status, event.worker = status, None
            return status
        other = self.live[twin]
        other.attempts = max(other.attempts, event.attempts)
        other.crashes = max(other.crashes, event.crashes)
        if status != "pending" and other.status != "dead":
            other.status = status
        self.end(number, "cancelled")
        return "merged"

    def holds(self, claimed: Row) -> bool:
        """Whether this token is the event's newest, and the event is still in processing."""
        newest = max(c["lease"] for c in self.claims if c["id"] == claimed["id"])
        event = self.live.get(claimed["id"])
        return event is not None and event.status == "processing" and claimed["lease"] == newest

    def picked(self, pick: int) -> Row | None:
        """Any claim that ever was, stale or not."""
        return self.claims[pick % len(self.claims)] if self.claims else None

    def ready(self, due: list[int], topic: str | None, *, suspect: bool) -> list[int]:
        """Ids that may be claimed now, of those whose time has come."""
        busy = {(e.topic, e.key) for e in self.live.values() if e.status == "processing"}
        return [
            number
            for number in due
            if (event := self.live[number]).status in ("pending", "failed")
            and topic in (None, event.topic)
            and (event.crashes > 0) == suspect
            and (event.topic, event.key) not in busy
        ]

    def taken(self, worker: str, rows: list[Row]) -> None:
        """A worker claimed; every token is newer than all before."""
        for row in rows:
            assert row["lease"] > max([c["lease"] for c in self.claims], default=0)
            self.claims.append(row)
            event = self.live[row["id"]]
            event.status, event.worker = "processing", worker

    def redriven(self, number: int) -> None:
        """An operator sets a live event to pending."""
        event = self.live[number]
        if event.status == "processing" and event.topic == "ticker" and self.waiting(event.key):
            return  # its twin does the work
        event.reset()

    def in_processing(self, worker: str | None = None) -> list[int]:
        """The events of a worker, or of all."""
        return [
            n for n, e in sorted(self.live.items())
            if e.status == "processing" and worker in (None, e.worker)
        ]  # fmt: skip

    def one_live(self, pick: int) -> int | None:
        return sorted(self.live)[pick % len(self.live)] if self.live else None
