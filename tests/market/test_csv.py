"""The csv provider: what a file may look like, and which answer each kind of file gets."""

import hashlib
from pathlib import Path

import pytest

from market.providers import Answer, Kind, Payload
from tests.market.csv_text import HEADER, ask, lines
from tests.support.clock import day


def closes(answer: Answer) -> dict[str, float | None]:
    return {bar.date.isoformat(): bar.close for bar in answer.bars}


def test_plain_rows(tmp_path: Path) -> None:
    answer = ask(tmp_path, lines("2024-01-02,10,12,9,11,1000", "2024-01-03,11,13,10,12.5,2000"))
    assert answer.kind is Kind.OK
    assert answer.rejected == []
    first = answer.bars[0]
    assert first[:5] == (day("2024-01-02"), 10.0, 12.0, 9.0, 11.0)
    assert first.volume == 1000
    assert first.adjusted_close is None  # nothing is known of dividends
    assert (first.has_split, first.has_dividend) == (False, False)
    assert closes(answer) == {"2024-01-02": 11.0, "2024-01-03": 12.5}


def test_the_bytes_come_with_the_answer(tmp_path: Path) -> None:
    for text in (lines("2024-01-02,10,12,9,11,1000"), "no header\n", b"\xff\xfe"):
        answer = ask(tmp_path, text)
        raw = text if isinstance(text, bytes) else text.encode()
        assert answer.payload == Payload("ACME.csv", None, raw)
        assert answer.payload.sha256 == hashlib.sha256(raw).hexdigest()
    assert ask(tmp_path, None, symbol="OTHER").payload is None


def test_any_order_comes_out_ascending(tmp_path: Path) -> None:
    answer = ask(
        tmp_path,
        lines("2024-01-04,3,3,3,3,1", "2024-01-02,1,1,1,1,1", "2024-01-03,2,2,2,2,1"),
    )
    assert list(closes(answer).values()) == [1.0, 2.0, 3.0]


def test_only_the_range_is_given(tmp_path: Path) -> None:
    answer = ask(
        tmp_path,
        lines(*(f"{date},1,1,1,1,1" for date in ("2023-12-29", "2024-01-02", "2024-02-01"))),
    )
    assert list(closes(answer)) == ["2024-01-02"]


def test_of_a_duplicated_date_the_later_line_counts(tmp_path: Path) -> None:
    answer = ask(tmp_path, lines("2024-01-02,1,1,1,1,1", "2024-01-02,2,2,2,2,1"))
    assert closes(answer) == {"2024-01-02": 2.0}


@pytest.mark.parametrize(
    "broken",
    [
        "2024-01-03,1,1,1,,1",  # no close
        "2024-01-03,1,1,1,abc,1",
        "2024-01-03,1,1,1,nan,1",
        "2024-01-03,1,1,1,inf,1",
        "2024-01-03,1,1,1,1e999,1",
        "2024-01-03",
        "03/01/2024,1,1,1,1,1",
        ",1,1,1,1,1",
        "2024-02-30,1,1,1,1,1",
        "some words",
    ],
)
def test_a_row_that_cannot_be_a_bar_is_counted_and_the_rest_used(
    tmp_path: Path, broken: str
) -> None:
    answer = ask(tmp_path, lines("2024-01-02,1,1,1,1,1", broken, "2024-01-04,2,2,2,2,1"))
    assert answer.kind is Kind.OK
    assert closes(answer) == {"2024-01-02": 1.0, "2024-01-04": 2.0}
    assert len(answer.rejected) == 1
    assert "line 3" in answer.rejected[0]


def test_a_broken_line_does_not_take_a_good_one_of_its_date_along(tmp_path: Path) -> None:
    answer = ask(tmp_path, lines("2024-01-02,1,1,1,1,1", "2024-01-02,1,1,1,oops,1"))
    assert closes(answer) == {"2024-01-02": 1.0}
    assert len(answer.rejected) == 1


def test_missing_open_high_low_and_volume_are_unknown(tmp_path: Path) -> None:
    answer = ask(tmp_path, lines("2024-01-02,,,,5,"))
    assert answer.bars[0][:7] == (day("2024-01-02"), None, None, None, 5.0, None, None)


def test_a_fractional_volume_is_rounded(tmp_path: Path) -> None:
    assert ask(tmp_path, lines("2024-01-02,1,1,1,1,1234.6")).bars[0].volume == 1235


def test_the_files_own_adjusted_close_is_used(tmp_path: Path) -> None:
    answer = ask(
        tmp_path,
        lines(
            "2024-01-02,10,10,10,10,1,9.5,",
            "2024-01-03,10,10,10,10,1,,",
            "2024-01-04,10,10,10,10,1,10,1",
            header=HEADER + ",adjusted_close,dividend",
        ),
    )
    # Where the file leaves one out, it follows from the dividends.
    assert [bar.adjusted_close for bar in answer.bars] == [9.5, 9.0, 10.0]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + lines("2024-01-02,1,1,1,1,1").encode(),
        lines("2024-01-02,1,1,1,1,1").replace("\n", "\r\n"),
        lines("2024-01-02,1,1,1,1,1", header="Date, Open ,HIGH,Low,Close,Volume"),
        lines("2024-01-02,1,1,1,1,1,x", header=HEADER + ",remark"),
        lines('"2024-01-02","1","1","1","1","1"'),
        lines("2024-01-02,1,1,1,1,1", "", ""),
        lines("1,2024-01-02,1,1,1,1", header="volume,date,open,high,low,close"),
    ],
    ids=["BOM", "CRLF", "header's case", "more columns", "quotes", "blank lines", "column order"],
)
def test_files_as_programs_write_them(tmp_path: Path, text: str | bytes) -> None:
    answer = ask(tmp_path, text)
    assert closes(answer) == {"2024-01-02": 1.0}
    assert answer.rejected == []


@pytest.mark.parametrize("column", HEADER.split(","))
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    header = ",".join(name for name in HEADER.split(",") if name != column)
    answer = ask(tmp_path, lines("1,1,1,1,1", header=header))
    assert answer.kind is Kind.BAD_ANSWER
    assert f"no column {column}" in answer.message
    assert "ACME.csv" in answer.message


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    assert ask(tmp_path, "").kind is Kind.BAD_ANSWER


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    answer = ask(tmp_path, b"\xff\xfe\x00date")
    assert answer.kind is Kind.BAD_ANSWER
    assert "ACME.csv" in answer.message


def test_a_header_alone_is_empty(tmp_path: Path) -> None:
    assert ask(tmp_path, HEADER + "\n").kind is Kind.EMPTY


def test_an_empty_range_is_empty_and_not_unknown(tmp_path: Path) -> None:
    assert ask(tmp_path, lines("2022-01-03,1,1,1,1,1")).kind is Kind.EMPTY


def test_a_missing_file_is_an_unknown_symbol(tmp_path: Path) -> None:
    answer = ask(tmp_path, None)
    assert answer.kind is Kind.UNKNOWN
    assert "ACME.csv" in answer.message


def test_a_missing_folder_says_nothing_about_the_symbol(tmp_path: Path) -> None:
    answer = ask(tmp_path / "not mounted", None)
    assert answer.kind is Kind.DOWN
    assert "MARKET_CSV_DIR" in answer.message


def test_a_folder_in_the_files_place_says_nothing_about_the_symbol(tmp_path: Path) -> None:
    (tmp_path / "ACME.csv").mkdir()
    assert ask(tmp_path, None).kind is Kind.DOWN


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("^GSPC", "%5EGSPC.csv"),
        ("CL=F", "CL%3DF.csv"),
        ("BTC-USD", "BTC-USD.csv"),
        ("BRK.B", "BRK.B.csv"),
        ("BTC/USD", "BTC%2FUSD.csv"),
        ("X:BTCUSD", "X%3ABTCUSD.csv"),
    ],
)
def test_the_files_name_is_the_symbol_url_quoted(tmp_path: Path, symbol: str, name: str) -> None:
    answer = ask(tmp_path, lines("2024-01-02,1,1,1,1,1"), symbol, name)
    assert answer.kind is Kind.OK
