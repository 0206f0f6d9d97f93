"""`market import-holdings`: a file is the whole of its accounts, and a bad line stops all of it."""

from pathlib import Path

import pytest

from tests.support.cli import error_line
from tests.support.db import Conn, value
from tests.support.inline_cli import inline

FILE = "Symbol,Quantity,Account\naapl,10,ira\nBRK.B,2.5,ira\nTSLA,-3,other\n"


def held(conn: Conn) -> list[tuple[str, str, float]]:
    rows = conn.execute("SELECT account, symbol, quantity::float8 AS q FROM holdings ORDER BY 1, 2")
    return [(row["account"], row["symbol"], row["q"]) for row in rows]


def written(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "positions.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_file_is_the_whole_of_the_accounts_that_it_names(
    url: str, conn: Conn, tmp_path: Path
) -> None:
    conn.execute(
        "INSERT INTO holdings (symbol, quantity, account) VALUES ('AAPL', 4, 'ira'), ('SOLD', 1, 'ira'),"
        " ('BRK-B', 2.5, 'ira'), ('STAYS', 7, 'main')"
    )
    done = inline(url, "market", "import-holdings", written(tmp_path, FILE))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "account\tsymbol\tbefore\tafter\tchange",
        "ira\tAAPL\t4\t10\tchanged",
        "ira\tBRK-B\t2.5\t2.5\tsame",
        "ira\tSOLD\t1\t\tremoved",
        "other\tTSLA\t\t-3\tadded",
    ]
    assert held(conn) == [
        ("ira", "AAPL", 10.0), ("ira", "BRK-B", 2.5), ("main", "STAYS", 7.0), ("other", "TSLA", -3.0),
    ]  # fmt: skip
    rows = conn.execute("SELECT symbol, reasons FROM tracked_symbols ORDER BY 1").fetchall()
    assert [row["symbol"] for row in rows] == ["AAPL", "BRK-B", "STAYS", "TSLA"]
    assert all(row["reasons"] == ["held"] for row in rows)
    assert value(conn, "SELECT count(*) FROM outbox WHERE topic = 'ticker' AND priority = -10") == 4


def test_keep_adds_and_changes_only(url: str, conn: Conn, tmp_path: Path) -> None:
    conn.execute("INSERT INTO holdings (symbol, quantity, account) VALUES ('SOLD', 1, 'ira')")
    done = inline(url, "market", "import-holdings", written(tmp_path, FILE), "--keep")
    assert "ira\tSOLD\t1\t1\tsame" in done.stdout
    assert ("ira", "SOLD", 1.0) in held(conn)


def test_a_dry_run_says_the_same_and_changes_nothing(url: str, conn: Conn, tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    dry = inline(url, "market", "import-holdings", path, "--dry-run")
    assert held(conn) == []
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 0
    assert inline(url, "market", "import-holdings", path).stdout == dry.stdout


def test_what_did_not_change_keeps_its_time(url: str, conn: Conn, tmp_path: Path) -> None:
    conn.execute("INSERT INTO holdings VALUES ('AAPL', 10, 'ira', '2020-01-01')")
    inline(url, "market", "import-holdings", written(tmp_path, FILE))
    assert value(conn, "SELECT updated_at::date::text FROM holdings WHERE symbol = 'AAPL'") == "2020-01-01"  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "ticker;shares\nAAPL;10\n",
        "\ufeffSYMBOL\tQty\r\nAAPL\t10\r\n\r\n",
        'Symbol|Description|Position\nAAPL|"Apple | Inc."|10\n',
    ],
)
def test_files_of_several_programs(url: str, conn: Conn, tmp_path: Path, text: str) -> None:
    done = inline(url, "market", "import-holdings", written(tmp_path, text), "--account", "x")
    assert done.returncode == 0, done.stderr
    assert held(conn) == [("x", "AAPL", 10.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbol,quantity\nAAPL,10\nApple Inc.,3\n", "line 3: 'Apple Inc.' is not a symbol"),
        ("symbol,quantity\nAAPL,ten\n\nTSLA,\n", "line 2: 'ten' is not a quantity; line 4: '' is not a quantity"),
        ("symbol,quantity\nAAPL,nan\nTSLA,1e400\n", "line 2: 'nan' is not a quantity of anything; line 3: '1e400'"),
        ("symbol,quantity\nAAPL\n", "line 2: 1 values, 2 are needed"),
        ("symbol,quantity\nBRK.B,1\nTSLA,2\nbrk-b,3\n", "line 4: BRK-B of main is in line 2 too"),
        ("symbol,quantity\n" + "?,1\n" * 9, "line 6: '?' is not a symbol and 4 more"),
        ("symbol,quantity\n=cmd|'/C calc'!A0,1\n", "line 2: \"=cmd|'/C calc'!A0\" is not a symbol"),
        ('symbol,quantity\n"AAPL,1\n', "unexpected end of data"),
        ("symbol,quantity\n", "has no line below its header"),
        ("", "is empty"),
        ("symbol,name\nAAPL,Apple\n", "line 1 names no column quantity: it has symbol, name"),
        ("symbol,ticker,quantity\nA,B,1\n", "line 1 has 2 columns for symbol"),
        ("symbol,quantity\n" + "A" * 200_000 + ",1\n", "field larger than field limit"),
        (f"symbol,quantity,account\nA,1,{'x' * 101}\n", "line 2: an account of more than 100 characters"),
    ],
    ids=lambda each: each[:30],
)  # fmt: skip
def test_a_bad_line_is_named_and_nothing_is_imported(
    url: str, conn: Conn, tmp_path: Path, text: str, said: str
) -> None:
    conn.execute("INSERT INTO holdings (symbol, quantity) VALUES ('OLD', 1)")
    done = inline(url, "market", "import-holdings", written(tmp_path, text))
    line = error_line(done, 1)
    assert said in line
    assert line.endswith("nothing was imported")
    assert held(conn) == [("main", "OLD", 1.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [(b"\xff\xfe\x00", "not a text file (UTF-8)"), (b"symbol,quantity\nA\0,1\n", "a byte 0")],
)
def test_a_file_that_is_no_text(url: str, tmp_path: Path, text: bytes, said: str) -> None:
    assert said in error_line(inline(url, "market", "import-holdings", written(tmp_path, text)), 2)


def test_no_file(url: str, tmp_path: Path) -> None:
    done = inline(url, "market", "import-holdings", str(tmp_path / "none.csv"))
    assert "No such file" in error_line(done, 2)


def test_quantities_are_numbers_and_not_nan(conn: Conn) -> None:
    for quantity in ("NaN", "Infinity", "-Infinity"):
        with pytest.raises(Exception, match="holdings_quantity"):
            conn.execute("INSERT INTO holdings (symbol, quantity) VALUES ('A', %s)", [quantity])
