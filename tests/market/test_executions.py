"""Fills of orders: the table, the function that stores them, files of them."""

import datetime as dt
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from market import executions
from sql.database import Database
from sql.errors import InvalidInput
from tests.support.backends import backends, until_waiting
from tests.support.db import Conn, shared_database, value
from tests.support.inline_cli import inline, on_terminal

GOOD: dict[str, Any] = {
    "order_id": "A-1",
    "symbol": "AAPL",
    "side": "buy",
    "quantity": 10,
    "expected_price": 100,
    "fill_price": 100.5,
    "filled_at": "2024-03-05T15:00:00Z",
}
HEADER = "order_id,symbol,side,quantity,expected_price,fill_price,filled_at"


@pytest.fixture(scope="module")
def shared(server_url: str, template: str) -> Any:
    """One database for tests whose orders have names of their own, or that store nothing."""
    with shared_database(server_url, template) as conn:
        yield conn


def add(conn: Conn, *fills: Any) -> dict[str, Any]:
    row = conn.execute("SELECT * FROM executions_add(%s)", [Jsonb(list(fills))]).fetchone()
    assert row is not None
    return row


def reasons(conn: Conn, *fills: Any) -> list[str]:
    """Why fills are refused, each with its line."""
    row = add(conn, *fills)
    assert row["added"] == 0
    return [f"{each['line']}: {each['reason']}" for each in row["errors"]]


def stored(conn: Conn, order: str = "A-1") -> dict[str, Any]:
    row = conn.execute("SELECT * FROM execution_feedback WHERE order_id = %s", [order]).fetchone()
    assert row is not None
    return row


# By hand: a buy above and a sell below the expected price cost, the other two gain.
@pytest.mark.parametrize(
    ("side", "expected", "fill", "bps", "money"),
    [
        ("buy", 100, 100.5, 50, 5),
        ("buy", 100, 99.5, -50, -5),
        ("sell", 100, 99.5, 50, 5),
        ("sell", 100, 100.5, -50, -5),
        ("buy", 250, 250, 0, 0),
        ("sell", 80, 78, 250, 20),
    ],
)
def test_slippage_is_positive_where_it_costs_the_side(
    shared: Conn, side: str, expected: float, fill: float, bps: float, money: float
) -> None:
    order = f"{side}-{expected}-{fill}"
    prices = {"side": side, "expected_price": expected, "fill_price": fill}
    assert add(shared, GOOD | prices | {"order_id": order})["added"] == 1
    assert stored(shared, order)["slippage_bps"] == pytest.approx(bps)
    cost = "SELECT slippage_cost FROM execution_costs() WHERE order_id = %s"
    assert value(shared, cost, [order]) == pytest.approx(money)


PRICES = st.floats(1e-90, 1e90) | st.decimals("0.0001", "100000", places=4).map(float)


@settings(max_examples=150)
@given(side=st.sampled_from(["buy", "sell"]), expected=PRICES, fill=PRICES)
def test_slippage_is_that_of_exact_arithmetic(
    shared: Conn, side: str, expected: float, fill: float
) -> None:
    with shared.transaction(force_rollback=True):
        prices = {"side": side, "expected_price": expected, "fill_price": fill}
        assert add(shared, GOOD | prices | {"order_id": "any"})["refused"] == 0
        found = stored(shared, "any")["slippage_bps"]
    change = (Fraction(fill) - Fraction(expected)) / Fraction(expected)
    exact = float(10_000 * (change if side == "buy" else -change))
    # Close prices lose digits in their difference, relative to themselves and not to it.
    assert found == pytest.approx(exact, rel=1e-12, abs=1e-10)


def test_without_an_expected_price_there_is_no_slippage(shared: Conn) -> None:
    add(shared, {**GOOD, "order_id": "unexpected", "expected_price": None})
    assert stored(shared, "unexpected")["slippage_bps"] is None


# What each CHECK answers to another program's INSERT.
@pytest.mark.parametrize(
    ("column", "bad", "check"),
    [
        ("order_id", " ", "order_id_is_1_to_200_characters"),
        ("symbol", "aapl", "symbol_is_upper_case"),
        ("side", "short", "side_is_buy_or_sell"),
        ("quantity", 0, "quantity_is_above_zero"),
        ("quantity", "NaN", "quantity_is_above_zero"),
        ("expected_price", "Infinity", "expected_price_is_above_zero"),
        ("fill_price", -1, "fill_price_is_above_zero"),
        ("fill_price", "NaN", "fill_price_is_above_zero"),
        ("commission", "NaN", "commission_is_finite"),
        ("adv", -1, "adv_is_not_negative"),
        ("volatility", "Infinity", "volatility_is_not_negative"),
        ("spread_bps", "-Infinity", "spread_bps_is_finite"),
        ("execution_time_ms", -1, "execution_time_ms_is_not_negative"),
        ("filled_at", "infinity", "filled_at_is_1900_to_2199"),
    ],
)
def test_an_insert_by_another_program_gets_a_clear_error(
    shared: Conn, column: str, bad: Any, check: str
) -> None:
    row = {**GOOD, "order_id": "theirs", column: bad}
    query = (
        f"INSERT INTO execution_feedback ({', '.join(row)})"  # noqa: S608 - our own names
        f" VALUES ({', '.join(['%s'] * len(row))})"
    )
    with pytest.raises(psycopg.errors.CheckViolation) as error:
        shared.execute(query.encode(), list(row.values()))
    assert error.value.diag.constraint_name == check


def test_another_program_inserts_and_reads_its_slippage(conn: Conn) -> None:
    bps = conn.execute(
        "INSERT INTO execution_feedback (order_id, symbol, side, quantity, expected_price, fill_price, filled_at)"
        " VALUES ('X', 'BRK-B', 'sell', 0.5, 400, 399, now()) RETURNING slippage_bps, created_at IS NOT NULL AS dated"
    ).fetchone()
    assert bps == {"slippage_bps": 25, "dated": True}
    with pytest.raises(psycopg.errors.GeneratedAlways):
        conn.execute("UPDATE execution_feedback SET slippage_bps = 0")


def test_a_role_that_only_writes_fills(conn: Conn) -> None:
    """The rights that docs/execution.md names are enough for the table and for the function."""
    with conn.transaction(force_rollback=True):
        conn.execute("CREATE ROLE fills_of_a_test")
        conn.execute("GRANT INSERT ON execution_feedback TO fills_of_a_test")
        conn.execute("SET LOCAL ROLE fills_of_a_test")
        conn.execute(
            "INSERT INTO execution_feedback (order_id, symbol, side, quantity, fill_price, filled_at)"
            " VALUES ('X', 'AAPL', 'buy', 1, 1, now())"
        )
        conn.execute("RESET ROLE")
        conn.execute("GRANT SELECT ON execution_feedback TO fills_of_a_test")
        names = conn.execute(
            "SELECT oid::regprocedure::text AS name FROM pg_proc WHERE proname LIKE 'execution%'"
        )
        for row in names.fetchall():
            conn.execute(f"GRANT EXECUTE ON FUNCTION {row['name']} TO fills_of_a_test".encode())
        conn.execute("SET LOCAL ROLE fills_of_a_test")
        assert add(conn, GOOD)["added"] == 1


BAD = [
    ({"order_id": None}, "order_id is missing"),
    ({"order_id": " "}, "order_id is missing"),
    ({"order_id": "x" * 201}, "order_id has more than 200 characters"),
    ({"order_id": {"a": 1}}, 'order_id is not a text: {"a": 1}'),
    ({"symbol": None}, "symbol is missing"),
    ({"symbol": "not one"}, "not a symbol: not one"),
    ({"symbol": "../X"}, "not a symbol: ../X"),
    ({"symbol": True}, "not a symbol: true"),
    ({"side": None}, "side is missing"),
    ({"side": "hold"}, "side is hold, not buy or sell"),
    ({"quantity": None}, "quantity is missing"),
    ({"quantity": 0}, "quantity is 0, not above zero"),
    ({"quantity": "-3"}, "quantity is -3, not above zero"),
    ({"quantity": "NaN"}, "quantity is not a number: NaN"),
    ({"quantity": "1,000"}, "quantity is not a number: 1,000"),
    ({"fill_price": None}, "fill_price is missing"),
    ({"fill_price": ""}, "fill_price is missing"),
    ({"fill_price": "Infinity"}, "fill_price is not a number: Infinity"),
    ({"fill_price": "1e400"}, "fill_price is not a number: 1e400"),
    ({"fill_price": "1e-400"}, "fill_price is not a number: 1e-400"),
    ({"fill_price": [1]}, "fill_price is not a number: [1]"),
    ({"expected_price": 0}, "expected_price is 0, not above zero"),
    ({"expected_price": "nan"}, "expected_price is not a number: nan"),
    ({"commission": "free"}, "commission is not a number: free"),
    ({"adv": -1}, "adv is -1, below zero"),
    ({"volatility": "-0.5"}, "volatility is -0.5, below zero"),
    ({"execution_time_ms": -1}, "execution_time_ms is -1, below zero"),
    ({"prediction_id": "P7"}, "prediction_id is not an id: P7"),
    ({"prediction_id": 1.5}, "prediction_id is not an id: 1.5"),
    ({"prediction_id": 10**19}, "prediction_id is not an id: 10000000000000000000"),
    ({"prediction_id": 9999999999999999999}, "prediction_id is not an id: 9999999999999999999"),
    ({"filled_at": None}, "filled_at is missing"),
    ({"filled_at": "2199-01-01T00:00Z"}, "filled_at is in the future: 2199-01-01T00:00Z"),
    *(
        ({"filled_at": text}, f"filled_at is not a time like 2026-03-05T15:00:00Z: {text}")
        for text in ("2024-03-05", "2023-02-29T10:00", "2024-04-31T10:00", "2024-03-05T24:00", "today", "1709650800")
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "why"), BAD, ids=[why for _, why in BAD])
def test_a_bad_fill_is_refused_with_its_reason(
    shared: Conn, changed: dict[str, Any], why: str
) -> None:
    assert reasons(shared, GOOD | {"order_id": "bad"} | changed) == [f"1: {why}"]


def test_every_bad_fill_is_named_and_nothing_is_stored(conn: Conn) -> None:
    bad = {"order_id": "A-2", "side": "hold", "quantity": 0, "filled_at": "now"}
    second = (
        "symbol is missing; side is hold, not buy or sell; quantity is 0, not above zero;"
        " fill_price is missing; filled_at is not a time like 2026-03-05T15:00:00Z: now"
    )
    assert reasons(conn, GOOD, bad, 7, {"line": 90, **GOOD, "fill_price": None}) == [
        f"2: {second}",
        "3: is not a fill: an object with order_id, symbol, side and more",
        "90: fill_price is missing",
    ]
    assert value(conn, "SELECT count(*) FROM execution_feedback") == 0
    # Of many, the first: a file of another kind does not fill the screen.
    row = add(conn, *[{"line": n} for n in range(1, 101)])
    assert (row["refused"], len(row["errors"]), row["errors"][49]["line"]) == (100, 50, 50)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="fills are a list"):
        conn.execute("SELECT executions_add('7')")


def test_values_are_read_as_people_write_them(conn: Conn) -> None:
    texts = {
        "symbol": " aapl ",
        "side": "SELL",
        "quantity": "1e1",
        "fill_price": " 100.50 ",
        "prediction_id": "12.0",
        "venue": " XNAS ",
        "filled_at": "2024-03-05 10:00:00.25-05",
        "market_conditions": {"vix": 14.5},
    }
    assert add(conn, GOOD | texts)["refused"] == 0
    row = stored(conn)
    assert (row["symbol"], row["side"], row["quantity"]) == ("AAPL", "sell", 10)
    assert (row["fill_price"], row["prediction_id"], row["venue"]) == (100.5, 12, "XNAS")
    assert row["filled_at"] == dt.datetime(2024, 3, 5, 15, 0, 0, 250_000, tzinfo=dt.UTC)
    assert row["market_conditions"] == {"vix": 14.5}
    # A time without a zone is UTC, whatever the session has.
    conn.execute("SET TimeZone = 'Asia/Tokyo'")
    add(conn, GOOD | {"order_id": "A-2", "filled_at": "2024-02-29T15:00"})
    assert stored(conn, "A-2")["filled_at"] == dt.datetime(2024, 2, 29, 15, tzinfo=dt.UTC)
    # One fill need not be a list.
    assert (
        value(conn, "SELECT added FROM executions_add(%s)", [Jsonb(GOOD | {"order_id": "A-3"})])
        == 1
    )


def test_the_same_fill_again_is_no_change_and_other_values_are_refused(conn: Conn) -> None:
    assert add(conn, GOOD)["added"] == 1
    before = stored(conn)
    again = add(conn, GOOD | {"quantity": "10.00", "filled_at": "2024-03-05T16:00:00+01:00"})
    assert (again["added"], again["unchanged"], again["refused"]) == (0, 1, 0)
    assert reasons(conn, GOOD | {"order_id": "A-9"}, GOOD | {"fill_price": 101, "commission": 1}) == [
        "2: the order is stored with other values: commission none, here 1, fill_price 100.5, here 101"
    ]  # fmt: skip
    assert stored(conn) == before
    assert value(conn, "SELECT count(*) FROM execution_feedback") == 1


def test_an_order_twice_in_one_list(conn: Conn) -> None:
    row = add(conn, GOOD, GOOD | {"order_id": "B"}, GOOD)
    assert (row["fills"], row["added"], row["unchanged"]) == (3, 2, 1)
    third = [GOOD | {"order_id": "C", "quantity": quantity} for quantity in (1, 1, 2)]
    assert reasons(conn, *third) == [
        "3: the order is on line 1 with other values: quantity 1, here 2"
    ]
    # A line that is bad for itself is not what the others are compared with.
    assert reasons(conn, third[0] | {"side": "?"}, third[1]) == ["1: side is ?, not buy or sell"]


def test_two_imports_of_one_order_at_once(conn: Conn, url: str) -> None:
    """The later one compares with what the earlier one has written meanwhile, and undoes its own."""
    with backends(url, 2) as (first, second):
        add(first.conn, GOOD)
        fills = [GOOD | {"order_id": "A-0"}, GOOD | {"fill_price": 7}]
        later = second.start(lambda work: add(work, *fills))
        until_waiting(conn, second, first)
        first.end("COMMIT")
        row = later.result(30)
    assert [each["reason"] for each in row["errors"]] == [
        "the order is stored with other values: fill_price 100.5, here 7"
    ]
    orders = conn.execute("SELECT order_id FROM execution_feedback").fetchall()
    assert orders == [{"order_id": "A-1"}]


def test_the_function_is_no_join_of_the_list_with_itself(conn: Conn) -> None:
    """Ten thousand fills: quadratic, this took minutes."""
    fills = [GOOD | {"order_id": str(n)} for n in range(10_000)]
    conn.execute("SET statement_timeout = '60s'")
    assert add(conn, *fills)["added"] == 10_000
    assert add(conn, *fills)["unchanged"] == 10_000


def test_a_csv_file_is_imported_and_again_without_change(
    conn: Conn, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "fills.csv"
    file.write_text(
        f"\ufeff{HEADER},Market Conditions,Broker\n"
        'A-1,AAPL,BUY,10,100,100.5,2024-03-05T15:00:00Z,"{""vix"": 14}",IB\n'
        "\n"
        'A-2,brk-b,sell,1,,399,2024-03-05 15:00:00,"calm,\nmostly",IB\n'
    )
    dry = json.loads(inline(url, "market", "import-fills", str(file), "--dry-run", "--json").stdout)
    assert (dry[0]["added"], dry[0]["dry_run"]) == (2, True)
    assert value(conn, "SELECT count(*) FROM execution_feedback") == 0

    done = inline(url, "market", "import-fills", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        {
            "fills": 2, "added": 2, "unchanged": 0, "refused": 0, "errors": [], "ignored": ["broker"],
            "before": 0, "after": 2, "dry_run": False,
        }
    ]  # fmt: skip
    assert stored(conn)["market_conditions"] == {"vix": 14}
    assert stored(conn, "A-2")["market_conditions"] == "calm,\nmostly"

    again = on_terminal(url, "market", "import-fills", str(file))
    assert again.returncode == 0
    assert "0 of 2 fills stored, 2 known already" in again.stdout
    assert "not columns of fills, left out: broker" in again.stdout


def test_a_file_with_bad_lines_stores_nothing_and_names_each(
    conn: Conn, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "fills.csv"
    file.write_text(
        f"{HEADER}\n"
        "A-1,AAPL,buy,10,100,100.5,2024-03-05T15:00:00Z\n"
        "A-2,AAPL,buy,0,100,100.5,2024-03-05T15:00:00Z\n"
        "A-3,AAPL,buy,1,100,100.5,2024-03-05T15:00:00Z,1,2\n"
        '"A\x1b[2J4",AAPL,hold,1,100,100.5,2024-03-05T15:00:00Z\n'
        "A-1,AAPL,buy,11,100,100.5,2024-03-05T15:00:00Z\n"
    )
    done = on_terminal(url, "market", "import-fills", str(file), width=200)
    assert done.returncode == 1
    for line in (
        "4 of 5 fills refused, nothing stored",
        "line 3, order A-2: quantity is 0, not above zero",
        "line 4: has 9 cells, and the header 7",
        "line 5, order A\\x1b[2J4: side is hold, not buy or sell",
        "line 6, order A-1: the order is on line 2 with other values: quantity 10, here 11",
    ):
        assert line in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == (
        "error: 4 of 5 fills are refused and nothing is stored: correct these lines of fills.csv and"
        " import it again\n"
    )
    assert value(conn, "SELECT count(*) FROM execution_feedback") == 0


def test_json_lines_are_imported(conn: Conn, database: Database, tmp_path: Path) -> None:
    file = tmp_path / "fills.jsonl"
    lines = [
        json.dumps(GOOD),
        "",
        json.dumps(GOOD | {"order_id": "B\0\ud800", "line": 9, "fault": 1}),
    ]
    file.write_text("\n".join(lines))
    with database.transaction() as work:
        done = executions.add(work, executions.read(file))
    assert (done.added, done.before, done.after, done.ignored) == (2, 0, 2, [])
    assert stored(conn, "B\ufffd?")["slippage_bps"] == 50

    bad = ["{", "[]", "7", '{"order_id": "C", "quantity": NaN, "fill_price": 1e999}', "[" * 100_000]
    file.write_text("\n".join([lines[0], *bad]))
    with database.transaction() as work:
        done = executions.add(work, executions.read(file))
    assert [(each["line"], each["reason"][:64]) for each in done.errors] == [
        (2, "is not JSON: Expecting property name enclosed in double quotes"),
        (3, "is not a fill: one JSON object a line"),
        (4, "is not a fill: one JSON object a line"),
        (5, "symbol is missing; side is missing; quantity is not a number: na"),
        (6, "is not JSON: nested too deep"),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("order_id,symbol\nA,B\n", "the header lacks side, quantity, fill_price, filled_at"),
        (f"{HEADER},Side\n", "the header has twice side"),
        (f'{HEADER}\n"{"x" * 200_000}"\n', "line 2: field larger than field limit (131072)"),
    ],
)
def test_a_file_that_is_not_one_of_fills(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "fills.csv"
    file.write_text(text)
    with pytest.raises(InvalidInput, match="fills") as error:
        executions.read(file)
    assert why in str(error.value)


def test_a_file_without_fills_or_without_a_file(url: str, tmp_path: Path) -> None:
    file = tmp_path / "fills.csv"
    file.write_text(f"{HEADER}\n")
    done = on_terminal(url, "market", "import-fills", str(file))
    assert done.returncode == 0
    assert "Nothing to do: fills.csv has no fill" in done.stdout
    gone = inline(url, "market", "import-fills", str(tmp_path / "none.csv"))
    assert (gone.returncode, gone.stdout) == (2, "")
    assert "No such file" in gone.stderr
