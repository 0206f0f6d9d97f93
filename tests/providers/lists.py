"""Lists of members as FMP, Wikipedia and CSV files have them, for the tests of constituents."""

import itertools
from collections.abc import Sequence
from html import escape
from string import ascii_uppercase
from typing import Any

Row = Sequence[str]

# 503 symbols, two of them classes of shares.
SYMBOLS = [
    "BRK-B",
    "BF-B",
    *(
        "".join(pair)
        for pair in itertools.islice(itertools.product(ascii_uppercase, repeat=2), 501)
    ),
]


def rows(symbols: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Symbol, name, sector and industry of each, as the sources write symbols: BRK.B."""
    return [
        (each.replace("-", "."), f"{each.title()} Company, Inc.", "Industrials", "Machinery")
        for each in symbols
    ]


def fmp(symbols: Sequence[str]) -> list[dict[str, Any]]:
    """FMP's rows."""
    return [
        {
            "symbol": symbol.replace(".", "-"),
            "name": name,
            "sector": sector,
            "subSector": industry,
            "headQuarter": "Omaha, NE",
            "dateFirstAdded": "2010-02-16",
            "cik": "0001067983",
            "founded": "1839",
        }
        for symbol, name, sector, industry in rows(symbols)
    ]


def table(header: Row, body: Sequence[Row]) -> str:
    """A table as MediaWiki writes one: links in cells, footnotes in headers."""
    head = "".join(f"<th>{cell}<sup>[2]</sup>\n</th>" for cell in header)
    lines = "".join(
        "<tr>" + "".join(f'<td><a href="/wiki/x">{cell}</a>\n</td>' for cell in row) + "</tr>\n"
        for row in body
    )
    return f'<table class="wikitable sortable"><tbody><tr>{head}</tr>\n{lines}</tbody></table>'


HEADER = ("Symbol", "Security", "GICS Sector", "GICS Sub-Industry")


def members_table(symbols: Sequence[str], header: Row = HEADER) -> str:
    """The S&P 500's table; a header `Security` or `Company` gets the name, and so on."""
    kinds = {"Symbol": 0, "Ticker": 0, "Security": 1, "Company": 1, "GICS Sector": 2}
    places = [kinds.get(name, 3) for name in header]
    return table(header, [[escape(row[place]) for place in places] for row in rows(symbols)])


# The other tables of the page: an infobox, and changes with two columns of tickers.
INFOBOX = table(
    ("", ""), [("Foundation", "1957"), ("Operator", "S&amp;P Dow Jones"), ("Symbol", "^GSPC")]
)
CHANGES = (
    '<table><tr><th rowspan="2">Date</th><th colspan="2">Added</th><th colspan="2">Removed</th></tr>'
    "<tr><th>Ticker</th><th>Security</th><th>Ticker</th><th>Security</th></tr>"
    + "".join(
        f"<tr><td>May {n % 28 + 1}, 2020</td><td>X{each}</td><td>X</td><td>Y{each}</td><td>Y</td></tr>"
        for n, each in enumerate(SYMBOLS)
    )
    + "</table>"
)


def page(*parts: str) -> str:
    """A page of these parts."""
    text = "<p>The <b>S&amp;P 500</b> has 503 components.</p>".join(parts)
    head = '<head><meta charset="UTF-8"><title>List</title></head>'
    return f'<!DOCTYPE html>\n<html lang="en">{head}<body>{text}</body></html>'


def csv(symbols: Sequence[str]) -> str:
    """A CSV file."""
    lines = [
        f'{each.lower()},"{name}",{sector},{industry}'
        for each, name, sector, industry in rows(symbols)
    ]
    return "\n".join(["symbol,name,sector,industry", *lines]) + "\n"
