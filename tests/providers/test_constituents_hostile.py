"""Whatever a page or a file holds: members, or one error that says why, within bounds."""

import csv
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.universe.constituents import csv_lists, pages, wikipedia
from market.universe.constituents.columns import NoMembersError
from market.universe.constituents.listed import Index
from tests.providers.lists import SYMBOLS, members_table, page

INDEX = Index("SMALL", 1, 3)

TAGS = st.sampled_from(
    [
        "<table>",
        "</table>",
        "<tr>",
        "</tr>",
        "<td>",
        "<th>Symbol",
        "<td rowspan=3>A",
        "<td colspan=99999999999>B",
        "<td colspan=-1>C",
        "<td rowspan=x>",
        "<br>",
        "<sup>1</sup>",
        "<!--",
        "-->",
        "<style>",
        "&#0;",
        "<td>A\x00B",
    ]
)
WORDS = st.text(max_size=5).map(escape) | st.sampled_from(["A", "BRK.B", "NYSE: AA", "\x1b[31m"])
PAGES = st.lists(TAGS | WORDS, max_size=60).map("".join)


@given(text=PAGES)
def test_whatever_a_page_holds(text: str) -> None:
    body = text.encode(errors="surrogatepass")
    for grid in pages.grids(body):
        assert all(len(row) <= 200 for row in grid)
    try:
        members = wikipedia.members(body, INDEX)
    except NoMembersError:
        return
    assert 1 <= len({each.symbol for each in members}) <= 3


@given(body=st.binary(max_size=300) | PAGES.map(lambda text: text.encode(errors="surrogatepass")))
def test_whatever_a_file_holds(body: bytes) -> None:
    for text in (body, b"symbol,name\n" + body):
        try:
            members = csv_lists.members(text)
        except (ValueError, csv.Error):
            continue
        assert all(len(each.symbol) <= 12 for each in members)


def test_tables_in_tables_do_not_multiply_their_text() -> None:
    deep = "<table><tr><td>" * 200 + "x" * 1_000_000
    grids = pages.grids(f"<html><body>{deep}</body></html>".encode())
    assert sum(len(cell) for grid in grids for row in grid for cell in row) < 2_000_000


@pytest.mark.parametrize("number", [1, 600])
def test_a_page_has_bounds(number: int) -> None:
    tables = members_table(SYMBOLS[:2]) * number
    if number == 1:
        assert len(pages.grids(page(tables).encode())) == 1
        return
    with pytest.raises(ValueError, match="more than 200,000 cells or 500 tables"):
        pages.grids(page(tables).encode())
    with pytest.raises(ValueError, match="a page of more than 6,291,456 bytes"):
        pages.grids(b"x" * 7_000_000)
