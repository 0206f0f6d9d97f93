"""The csv provider: what a file may look like, and which answer each kind of file gets."""

import hashlib
from pathlib import Path

import pytest

from market.prices.validation import validate
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


SAME = {"2026-06-11": 1234.5, "2026-06-12": 1240.25}


@pytest.mark.parametrize(
    "text",
    [
        # yfinance's, with the exchange's midnight
        (
            "Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits\n"
            "2026-06-11 00:00:00-04:00,1,1300,1,1234.5,1200,1e6,0.0,0.0\n"
            "2026-06-12 00:00:00-04:00,1,1300,1,1240.25,1206,1e6,0.0,31.0\n"
        ),
        # its wide form
        (
            "Price,Close,High,Low,Open,Volume\nTicker,X,X,X,X,X\nDate,,,,,\n"
            "2026-06-11,1234.5,1300,1,1,5\n2026-06-12,1240.25,1300,1,1,5\n"
        ),
        # a data frame's index without a name
        ",open,high,low,close,volume\n2026-06-11,1,1300,1,1234.5,5\n2026-06-12T00:00:00Z,1,1300,1,1240.25,5\n",
        # Nasdaq's page
        (
            "Date,Close/Last,Volume,Open,High,Low\n"
            '06/11/2026,"$1,234.50","1,234,567",$1,"$1,300.00",$1\n'
            '06/12/2026,"$1,240.25",59144470,$1,"$1,300.00",$1\n'
            "06/15/2026,,,,,\n"
        ),
        # investing.com's
        (
            '"Date","Price","Open","High","Low","Vol.","Change %"\n'
            '"Jun 12, 2026","1,240.25","1.00","1,300.00","1.00","59.14M","0.47%"\n'
            '"Jun 11, 2026","1,234.50","1.00","1,300.00","1.00","-","0.47%"\n'
        ),
        # a spreadsheet's, in Germany
        (
            "Datum;Open;High;Low;Close;Volume\n"
            "11.06.2026;1,0;1.300,0;1,0;1.234,50;1.234.567\n12.06.2026;1;1.300,00;1;1.240,25;5\n"
        ),
        (
            "DATE\tOPEN\tHIGH\tLOW\tCLOSE\tVOLUME\n2026/06/11\t1\t1300\t1\t1234.5\tnan\n"
            "2026/06/12\t1\t1300\t1\t1240.25\t5\n"
        ),
        # thousands without quotes, where only they can be meant
        "date,open,high,low,close,volume\n2026-06-11,1,1300,1,1234.5,1,234,567\n2026-06-12,1,1300,1,1240.25,5\n",
        "date|open|high|low|close|adj_close|volume\n20260611|1|1300|1|1234.5|-5|NaN\n12-Jun-2026|1|1300|1|1240.25||5\n",
    ],
    ids=["yfinance", "wide", "index", "nasdaq", "investing", "german", "tabs", "loose", "pipes"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_as_people_have_them(tmp_path: Path, text: str, encoding: str) -> None:
    answer = ask(tmp_path, text.encode(encoding), month="2026-06")
    assert answer.kind is Kind.OK, answer.message
    assert closes(answer) == SAME
    # Whatever else is there is a field that validation leaves out, or was a line of a form's own.
    assert all(line.startswith("line ") for line in answer.rejected)
    days = [bar.date for bar in answer.bars]
    found = validate(answer.bars, days, actions=answer.actions, unreadable=())
    assert [bar.close for bar in found.bars] == list(SAME.values())
    assert found.rejected == []
    assert found.actions == []  # prices beside Yahoo's `Stock Splits` are adjusted already


@pytest.mark.parametrize(
    ("text", "volumes"),
    [
        ('"1,234,567"', 1234567),
        ("1,234,567", 1234567),
        ("1.5K", 1500),
        ("1234567.0", 1234567),
        ("", None),
        ("N/A", None),
        ("nan", -1),
        ("many", -1),
    ],
)
def test_volumes_as_people_write_them(tmp_path: Path, text: str, volumes: int | None) -> None:
    answer = ask(tmp_path, lines(f"2024-01-02,1,1,1,1,{text}"))
    assert [bar.volume for bar in answer.bars] == [volumes]


@pytest.mark.parametrize("field", ["open", "high", "low", "volume", "adjusted_close", "dividend"])
@pytest.mark.parametrize("text", ["nan", "oops", "-7", "inf"])
def test_a_field_that_cannot_be_costs_no_bar(tmp_path: Path, field: str, text: str) -> None:
    header = HEADER + ",adjusted_close,dividend"
    good = dict(
        zip(header.split(","), ["2024-01-02", "10", "11", "9", "10", "5", "10", ""], strict=True)
    )
    answer = ask(tmp_path, lines(",".join((good | {field: text}).values()), header=header))
    found = validate(answer.bars, [day("2024-01-02")], actions=answer.actions)
    assert [bar.close for bar in found.bars] == [10.0]
    assert (answer.rejected, found.rejected) == ([], [])
    assert len([*found.notes, *found.flags]) >= 1
    if field != "dividend":
        assert getattr(found.bars[0], field) is None


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["2024-01-02,1,1,1,oops,1"], "line 2: a close of 'oops'"),
        (["03/04/2024,1,1,1,1,1"], "line 2: '03/04/2024': day or month first?"),
        (["2024-01-02,1,1,1,1,1,2,3"], "line 2: 8 values for 6 columns"),
        (["2024-01-02,1,1,1,,1", "yesterday,1,1,1,1,1"], "line 2: a close of '', and 1 more"),
    ],
)
def test_a_file_of_which_nothing_can_be_read_is_not_empty(
    tmp_path: Path, rows: list[str], reason: str
) -> None:
    answer = ask(tmp_path, lines(*rows))
    assert answer.kind is Kind.BAD_ANSWER
    assert answer.message == f"ACME.csv: {reason}"


@pytest.mark.parametrize(
    ("dates", "read"),
    [
        (["13/01/2024", "02/01/2024"], ["2024-01-13", "2024-01-02"]),
        (["01/13/2024", "01/02/2024"], ["2024-01-13", "2024-01-02"]),
        (["13/01/2024", "01/13/2024"], []),  # both, and none
        (["01/02/2024", "02/02/2024"], []),
    ],
)
def test_the_rest_of_the_file_tells_which_is_the_day(
    tmp_path: Path, dates: list[str], read: list[str]
) -> None:
    answer = ask(tmp_path, lines(*(f"{date},1,1,1,1,1" for date in dates)))
    assert sorted(closes(answer)) == sorted(read)
    assert (answer.kind is Kind.OK) == bool(read)


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
