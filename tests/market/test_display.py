"""The screen of rows: what is shown at which width, and what never happens to a value."""

import datetime as dt
import io
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from market.cli.display import Column, View, changed
from market.cli.display.cells import length, relative, size, text_of
from market.cli.display.options import Form, Output
from market.cli.display.screen import screen

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
_LONG = "the provider says that it does not know the symbol, and that it never did"

VIEW = View(
    columns=[
        Column("symbol", rank=0),
        Column("state", rank=0),
        Column("bars", "bars", rank=1),
        Column("close", "close USD", rank=2, kind="price"),
        Column("newest", rank=2),
        Column("reason", rank=1, least=12),
        Column("calendar", rank=4),
    ],
    sort=lambda row: row["state"] == "active",
    summary="1 of 3 tickers needs attention.",
    next=["python -m market ticker-registry --status invalid"],
)


def row(symbol: str, state: str, bars: int, reason: str | None = None) -> dict[str, Any]:
    """A row as a command has it."""
    return {
        "symbol": symbol,
        "state": state,
        "bars": bars,
        "close": 1234.5,
        "newest": dt.date(2026, 5, bars % 28 + 1),
        "reason": reason,
        "calendar": "XNYS",
        "counts": {"stored": bars},
        "asked": None,
    }


ROWS = [row("AAPL", "active", 250), row("TSLA", "invalid", 3, _LONG), row("MSFT", "active", 12500)]


def lines(
    width: int, rows: list[dict[str, Any]] = ROWS, view: View = VIEW, output: Output | None = None
) -> list[str]:
    """The lines of the screen, without what is blank at their end."""
    file = io.StringIO()
    output = output or Output()
    page = screen(rows, list(ROWS[0]), view, output, width)
    Console(file=file, width=1000 if output.wide else width, highlight=False).print(page)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_the_sentence_comes_first_and_the_next_command_last() -> None:
    got = lines(80)
    assert got[0] == "1 of 3 tickers needs attention."
    assert got[1].split() == ["symbol", "state", "bars", "newest", "reason"]
    assert got[2].startswith("TSLA")  # what needs attention
    assert got[-1] == "next: python -m market ticker-registry --status invalid"


def test_what_is_equal_is_said_once_and_what_is_empty_not_at_all() -> None:
    text = "\n".join(lines(120))
    assert "all: close USD 1,234.50, calendar XNYS" in text
    assert "asked" not in text


def test_columns_give_way_by_rank_and_are_named() -> None:
    narrow = "\n".join(lines(40))
    assert "not shown: newest, counts (-o wide)" in narrow
    assert "2026-05" not in narrow
    assert "12,500" in narrow
    assert "invalid" in narrow


def test_wide_shows_everything_unshortened() -> None:
    text = "\n".join(lines(40, output=Output(Form.WIDE)))
    assert _LONG in text
    assert "stored 12500" in text
    assert "not shown" not in text


def test_chosen_columns_are_shown_in_their_order_and_no_others() -> None:
    got = lines(80, output=Output(columns=("bars", "symbol")))
    assert got[1].split() == ["bars", "symbol"]
    assert got[2].split() == ["3", "TSLA"]


def test_a_single_row_is_a_record() -> None:
    got = lines(60, rows=ROWS[1:2])
    assert got[1].split() == ["symbol", "TSLA"]
    assert " ".join(" ".join(got).split()).count("that it never did") == 1


def test_without_room_for_the_first_columns_rows_are_records() -> None:
    wide = [row("A" * 20, "unresolvable", n) for n in (1, 2)]
    got = [line for line in lines(24, rows=wide, view=View(VIEW.columns)) if line]
    assert got[2].split()[:2] == ["symbol", "A" * 12] or "symbol" in "\n".join(got)
    assert all(len(line) <= 24 for line in got)


def test_without_rows_there_is_a_sentence() -> None:
    assert lines(80, rows=[], view=View(empty="no ticker")) == ["no ticker"]


def test_a_change_is_before_and_after_in_one_column() -> None:
    change = changed("state", "state_before", "state_after", rank=0)
    rows = [
        {"symbol": "FB", "state_before": "active", "state_after": "inactive"},
        {"symbol": "META", "state_before": "active", "state_after": "active"},
    ]
    page = screen(rows, list(rows[0]), View([Column("symbol", rank=0), change]), Output(), 40)
    file = io.StringIO()
    Console(file=file, width=40).print(page)
    assert [line.split() for line in file.getvalue().splitlines()] == [
        ["symbol", "state"],
        ["FB", "active", "\u2192", "inactive"],
        ["META", "active"],
    ]


def test_folded_rows_are_named_and_wide_shows_them() -> None:
    view = View(VIEW.columns, fold=lambda row: row["symbol"] if row["state"] == "active" else None)
    got = lines(80, view=view)
    assert got[-1] == "also: AAPL, MSFT (-o wide)"
    assert "TSLA" in got[0]  # a single row is a record
    assert sum("active" in line for line in lines(80, view=view, output=Output(Form.WIDE))) == 2


_TEXT = st.text(alphabet=string.ascii_letters + " -.\u6f22", max_size=60)


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "symbol": st.text(alphabet=string.ascii_uppercase, min_size=1, max_size=20),
                "state": st.sampled_from(["active", "invalid", "awaiting_prices"]),
                "bars": st.integers(0, 10**9),
                "close": st.none() | st.floats(allow_nan=True, allow_infinity=True),
                "newest": st.none() | st.dates(),
                "reason": st.none() | _TEXT,
                "calendar": st.sampled_from(["XNYS", "24/7"]),
                "counts": st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3),
            }
        ),
        max_size=6,
    ),
    width=st.integers(60, 200),
)
def test_no_line_is_longer_than_the_screen_and_no_value_is_cut(
    rows: list[dict[str, Any]], width: int
) -> None:
    got = lines(width, rows=rows)
    console = Console(width=width)
    assert all(console.measure(line).maximum <= width for line in got if line)
    text = "\n".join(got)
    assert not set("{}[]") & set(text)
    for each in rows:
        assert each["symbol"] in text
        assert each["state"] in text
    header = next((line for line in got if line.startswith("symbol")), "")
    assert "\u2026" not in header


@pytest.mark.parametrize(
    ("distance", "wanted"),
    [
        (dt.timedelta(), "now"),
        (dt.timedelta(seconds=-45), "45 s ago"),
        (dt.timedelta(minutes=-90), "90 min ago"),
        (dt.timedelta(hours=2), "in 2 h"),
        (dt.timedelta(days=-9), "9 d ago"),
        (dt.timedelta(days=-400), "2025-04-27"),
    ],
)
def test_times_are_relative(distance: dt.timedelta, wanted: str) -> None:
    assert relative(NOW + distance, NOW) == wanted
    assert relative((NOW + distance).replace(tzinfo=None), NOW) == wanted


def test_values_become_text() -> None:
    assert text_of({"a": 1, "b": {"c": 2.5}}, "pairs", NOW) == "a 1, b c 2.5"
    assert text_of(list(range(9)), "list", NOW) == "0, 1, 2, 3, 4, 5, 3 more"
    assert text_of(0.000012345, "price", NOW) == "1.234e-05"
    assert text_of(-2.345678, "percent", NOW) == "-2.35"
    assert text_of("a\x1b[31mb\nc", "text", NOW) == "a\\x1b[31mb c"
    assert text_of(float("nan"), "count", NOW) == "nan"
    assert length(dt.timedelta(milliseconds=12)) == "12 ms"
    assert [size(n) for n in (0, 999, 1500, 2.5e9, 3e15)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 GB",
        "3000.0 TB",
    ]


def test_a_wrapped_column_continues_below_itself_and_is_not_cut() -> None:
    view = View([Column("symbol", rank=0), Column("reason", rank=0, least=20, wrap=True)])
    got = lines(40, rows=ROWS[:2], view=view)
    assert all(len(line) <= 40 for line in got)
    assert " ".join(line[8:].strip() for line in got[2:4]) in _LONG
    assert "\u2026" not in "".join(got)


def test_notes_are_below_the_rows_and_stay_without_any() -> None:
    view = View(notes=["ok: a, b"], summary="Healthy.", next=["run"])
    assert lines(80, rows=[], view=view) == ["Healthy.", "ok: a, b", "next: run"]
    assert lines(80, view=view)[-2:] == ["ok: a, b", "next: run"]
