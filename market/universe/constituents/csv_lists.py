"""CSV lists: a file of each index in a folder, or below a URL (`INDEX_CSV_DIR`)."""

import csv
import io
from pathlib import Path
from urllib.parse import quote

import httpx

from market.files import read_inside
from market.providers.base import Answer, Kind, Payload
from market.providers.csv_text import decode
from market.providers.http import Client
from market.universe.constituents import columns
from market.universe.constituents.asking import Take, Website, ask, reading, refused
from market.universe.constituents.columns import NoMembersError
from market.universe.constituents.listed import Index, Listed, Member, Wait
from sql.database import Database
from sql.redaction import one_line

_MOST_BYTES = 2**21
_MOST_ROWS = 20_000
_SEPARATORS = ",;\t|"


class CsvFolder:
    """Files in a folder."""

    name = "csv"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, index: Index) -> bool:
        """Whether the index has a file's name."""
        return index.csv is not None

    def fetch(self, database: Database, index: Index, wait: Wait) -> Listed:  # noqa: ARG002 - a file needs neither
        """Read the members of an index."""
        name = index.csv or ""
        try:
            body = read_inside(self._folder, name, _MOST_BYTES)
        except FileNotFoundError:
            return Listed(Kind.EMPTY, message=f"no file {name} in {self._folder}")
        except OSError as error:
            return Listed(Kind.BAD_ANSWER, message=one_line(f"{name}: {error.strerror}"))
        payload = Payload(name, None, body)
        try:
            return Listed(Kind.OK, members(body), payload=payload)
        except (ValueError, csv.Error) as error:
            return Listed(Kind.BAD_ANSWER, message=one_line(f"{name}: {error}"), payload=payload)


class CsvUrl:
    """Files below a URL."""

    name = "csv"

    def __init__(self, http: httpx.Client, base_url: str) -> None:
        self._client = Client(http, base_url, "")
        self._provider = Website("index_csv")

    def has(self, index: Index) -> bool:
        """Whether the index has a file's name."""
        return index.csv is not None

    def fetch(self, database: Database, index: Index, wait: Wait) -> Listed:
        """Fetch the members of an index."""

        def fetch(take: Take) -> Answer:
            return self._client.fetch(
                f"/{quote(index.csv or '', safe='')}",
                {},
                lambda reply: refused(reply, "no such file"),
                lambda reply: reading(lambda: members(reply.body), take),
            )

        return ask(database, self._provider, index, wait, fetch)


def members(body: bytes) -> list[Member]:
    """Read the members of a file whose first row names its columns; raises ValueError, csv.Error.

    Symbols may be in lower case.
    """
    if len(body) > _MOST_BYTES:
        raise NoMembersError(f"is larger than {_MOST_BYTES:,} bytes")
    text = decode(body)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(_SEPARATORS, key=first.count)
    grid: list[list[str]] = []
    for row in csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True
    ):
        if any(cell.strip() for cell in row):
            grid.append(row)
        if len(grid) > _MOST_ROWS:
            raise NoMembersError(f"more than {_MOST_ROWS:,} rows")
    return columns.read(grid, any_case=True)
