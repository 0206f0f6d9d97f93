"""What fills cost: ranges and outcomes beside them, numbers by hand, intervals, the command."""

import csv
import datetime as dt
import io
import json
import math
from typing import Any

import numpy as np
import pytest

from market.evaluation import executions
from market.evaluation.blocks import Blocks, median_interval
from market.evaluation.method import MIN_BLOCKS
from sql.database import Database
from tests.support.db import Conn
from tests.support.inline_cli import inline, on_terminal
from tests.support.market import insert_prediction, process, put_bars, sessions, set_fetched


def fill(conn: Conn, order: str, **values: Any) -> None:
    """One fill of 10 shares at 100, expected at 100, in a session of March 2024."""
    row = {
        "order_id": order, "symbol": "AAPL", "side": "buy", "quantity": 10, "expected_price": 100,
        "fill_price": 100, "filled_at": "2024-03-05 15:00Z", **values,
    }  # fmt: skip
    names = ", ".join(row)
    query = f"INSERT INTO execution_feedback ({names}) VALUES ({', '.join(['%s'] * len(row))})"  # noqa: S608
    conn.execute(query.encode(), list(row.values()))


def bar(conn: Conn, symbol: str, day: str, low: float, high: float) -> None:
    put_bars(conn, symbol, {dt.date.fromisoformat(day): high})
    conn.execute(
        "UPDATE market_prices SET low = %s WHERE symbol = %s AND date = %s", [low, symbol, day]
    )


def costs_of(conn: Conn, order: str, horizon: str = "t7") -> dict[str, Any]:
    row = conn.execute(
        "SELECT * FROM execution_costs(p_horizon => %s) WHERE order_id = %s", [horizon, order]
    ).fetchone()
    assert row is not None
    return row


def test_the_place_in_the_sessions_own_range(conn: Conn) -> None:
    conn.execute(
        "INSERT INTO ticker_registry (symbol, calendar) VALUES ('AAPL', 'XNYS'), ('BTC-USD', '24/7')"
    )
    bar(conn, "AAPL", "2024-03-05", 98, 102)
    bar(conn, "BTC-USD", "2024-03-04", 10, 20)
    bar(conn, "BTC-USD", "2024-03-05", 100, 200)
    places: dict[str, tuple[dict[str, Any], float | None, float | None]] = {
        "low": ({"fill_price": 98}, 0, 0),
        "high": ({"fill_price": 102}, 1, 1),
        "sell": ({"fill_price": 101, "side": "sell"}, 0.75, 0.25),
        "beyond": ({"fill_price": 104}, 1.5, 1.5),
        # Closing auctions print after the close at 21:00; an hour later nothing of the session does.
        "auction": ({"filled_at": "2024-03-05 21:04Z"}, 0.5, 0.5),
        "late": ({"filled_at": "2024-03-05 22:00Z"}, None, None),
        "sunday": ({"filled_at": "2024-03-03 15:00Z"}, None, None),
        "no bar": ({"filled_at": "2024-03-06 15:00Z"}, None, None),
        "unknown": ({"symbol": "MSFT"}, None, None),
        # A coin's session begins at midnight, and is not the one that has just ended.
        "coin": ({"symbol": "BTC-USD", "fill_price": 150, "filled_at": "2024-03-05 00:02Z"}, 0.5, 0.5),
    }  # fmt: skip
    for order, (values, _, _) in places.items():
        fill(conn, order, **values)
    found = {
        order: (row["range_position"], row["range_cost"])
        for order in places
        for row in [costs_of(conn, order)]
    }
    assert found == {order: (position, cost) for order, (_, position, cost) in places.items()}


def test_a_later_split_moves_the_bars_and_not_the_fills(conn: Conn) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('AAPL', 'XNYS')")
    bar(conn, "AAPL", "2024-03-05", 24.5, 25.5)  # 98 to 102 before four shares were made of one
    conn.execute(
        "INSERT INTO corporate_actions VALUES ('AAPL', '2024-06-10', 'split', 4, 'csv', now(), now()),"
        " ('AAPL', '2024-01-10', 'split', 3, 'csv', now(), now()),"
        " ('AAPL', '2024-05-10', 'dividend', 0.5, 'csv', now(), now())"
    )
    fill(conn, "A", fill_price=98)
    row = costs_of(conn, "A")
    assert (row["session_low"], row["session_high"]) == pytest.approx((98, 102))
    assert row["range_position"] == 0


def test_the_outcome_of_its_prediction_stands_beside_a_fill(conn: Conn, database: Database) -> None:
    days = sessions(conn, "2024-01-02", "2024-06-28")
    put_bars(conn, "AAPL", {day: 100.0 + n for n, day in enumerate(days)})
    set_fetched(conn, "AAPL", days[0], days[-1])
    moment = f"{days[10]} 15:00Z"
    number = insert_prediction(conn, ["AAPL"], {"AAPL": "bearish"}, moment=moment)
    process(database, number)
    fill(conn, "bought", prediction_id=number, filled_at=moment, fill_price=110)
    fill(conn, "sold", prediction_id=number, filled_at=moment, side="sell")
    fill(conn, "other symbol", prediction_id=number, symbol="MSFT")
    fill(conn, "no such prediction", prediction_id=number + 1)

    row = costs_of(conn, "bought", "t1")
    assert (row["sentiment"], row["outcome_state"], row["correct"]) == (
        "bearish",
        "complete",
        False,
    )
    assert row["return_pct"] == pytest.approx(100 / 110)
    for order in ("other symbol", "no such prediction"):
        assert costs_of(conn, order)["outcome_state"] is None

    with database.transaction() as work:
        rows = executions.read(work, horizon="t1")
    [one] = executions.costs(rows)
    assert (one.fills, one.predicted, one.known, one.right) == (4, 4, 2, 0)
    # The same return in the direction of the two orders: nothing is left.
    assert one.return_bps == pytest.approx(0)
    by_side = {each.group: each.return_bps for each in executions.costs(rows, "side")}
    assert by_side == {"buy": pytest.approx(1e4 / 110), "sell": pytest.approx(-1e4 / 110)}


def squeezed(text: str) -> str:
    return " ".join(text.split())


def made(**values: Any) -> dict[str, Any]:
    """A row as `read` returns it."""
    return {
        "symbol": "AAPL", "side": "buy", "venue": None, "currency": "USD", "month": "2024-03",
        "day": dt.date(2024, 3, 5), "prediction_id": None, "slippage_bps": None, "slippage_cost": None,
        "commission": None, "expected_value": None, "range_cost": None, "return_pct": None, "correct": None,
        **values,
    }  # fmt: skip


def test_the_numbers_of_a_group_by_hand() -> None:
    [one] = executions.costs(
        [
            made(slippage_bps=10.0, slippage_cost=1.0, expected_value=1000.0, commission=0.5, range_cost=0.2),
            made(slippage_bps=-4.0, slippage_cost=-1.2, expected_value=3000.0, range_cost=1.25),
            made(slippage_bps=30.0, slippage_cost=3.0, expected_value=1000.0, correct=True, return_pct=2.0),
            made(commission=0.25, correct=False, side="sell", return_pct=3.0),
        ]
    )  # fmt: skip
    assert (one.fills, one.priced, one.mean_bps, one.median_bps) == (4, 3, 12, 10)
    assert (one.slippage_cost, one.commission, one.cost) == pytest.approx((2.8, 0.75, 3.55))
    assert one.weighted_bps == pytest.approx(2.8 / 5000 * 1e4)
    assert (one.ranged, one.range_cost, one.outside) == (2, 0.725, 1)
    assert (one.known, one.right, one.return_bps) == (2, 0.5, -50)
    # One week is not enough for an interval, however many fills it has.
    assert (one.weeks, one.interval) == (1, "none")
    assert math.isnan(one.mean_low_bps)


def test_money_of_several_currencies_is_not_summed() -> None:
    rows = [
        made(slippage_cost=1.0, commission=1.0, expected_value=100.0),
        made(slippage_cost=70.0, expected_value=9000.0, currency="JPY"),
        made(slippage_bps=1.0, currency=None),
    ]
    [one] = executions.costs(rows)
    assert one.currency == "mixed"
    assert all(math.isnan(each) for each in (one.slippage_cost, one.cost, one.weighted_bps))
    assert [(each.group, each.currency) for each in executions.costs(rows, "currency")] == [
        ("JPY", "JPY"),
        ("USD", "USD"),
        ("not given", "not given"),
    ]
    [unknown] = executions.costs(rows[2:])
    assert math.isnan(unknown.cost)


def in_weeks(weeks: int, fills: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Fills whose slippage has a mean and median of 5, and shares half its variance with its week's."""
    week = rng.normal(0, 6, weeks)
    return [
        made(day=dt.date(2024, 1, 1) + dt.timedelta(days=7 * n), slippage_bps=float(5 + week[n] + noise))
        for n in range(weeks)
        for noise in rng.normal(0, 6, fills)
    ]  # fmt: skip


def test_intervals_know_that_fills_of_a_week_depend_on_each_other() -> None:
    """The true value is inside in 95 of 100 samples; taking fills for independent, in 60."""
    rng = np.random.default_rng(7)
    inside = {"mean": 0, "median": 0, "naive": 0}
    for _ in range(100):
        rows = in_weeks(30, 10, rng)
        [one] = executions.costs(rows)
        assert (one.weeks, one.interval) == (30, "bootstrap")
        inside["mean"] += one.mean_low_bps <= 5 <= one.mean_high_bps
        inside["median"] += one.median_low_bps <= 5 <= one.median_high_bps
        values = np.array([row["slippage_bps"] for row in rows])
        inside["naive"] += abs(values.mean() - 5) <= 1.96 * values.std() / math.sqrt(len(values))
    assert inside["mean"] >= 90
    assert inside["median"] >= 90
    assert inside["naive"] <= 75


def test_the_median_of_equal_values_has_no_width_and_of_none_is_not_known() -> None:
    blocks = Blocks(np.arange(MIN_BLOCKS, dtype=np.int64), MIN_BLOCKS)
    same = median_interval(np.full(MIN_BLOCKS, 3.0), blocks)
    assert (same.mean, same.low, same.high) == (3, 3, 3)
    none = median_interval(np.zeros(0), Blocks(np.zeros(0, dtype=np.int64), 0))
    assert math.isnan(none.mean)


def test_the_command(conn: Conn, url: str) -> None:
    empty = on_terminal(url, "market", "execution-report", "--by", "venue")
    assert empty.returncode == 0
    assert "No fill matches; python -m market import-fills FILE stores some." in squeezed(
        empty.stdout
    )
    assert inline(url, "market", "execution-report").stdout.startswith(
        "group\tfills\tpriced\tmean_bps"
    )

    conn.execute("INSERT INTO ticker_registry (symbol, currency) VALUES ('AAPL', 'USD')")
    for n in range(12):
        venue = "XNAS" if n % 2 else None
        day = dt.date(2024, 1, 2) + dt.timedelta(days=7 * n)
        fill(
            conn,
            f"A{n}",
            venue=venue,
            filled_at=f"{day} 15:00Z",
            fill_price=100 + n / 100,
            commission=1,
        )
    done = on_terminal(url, "market", "execution-report", "--by", "venue", width=120)
    assert done.returncode == 0, done.stderr
    assert "12 fills cost +5.50 bps on average (95 %: +3." in squeezed(done.stdout)
    assert "18.60 USD with fees" in squeezed(done.stdout)

    rows = json.loads(inline(url, "market", "execution-report", "--by", "venue", "--json").stdout)
    assert [(row["group"], row["fills"], row["mean_bps"]) for row in rows] == [
        ("XNAS", 6, pytest.approx(6)),
        ("not given", 6, pytest.approx(5)),
    ]
    assert rows[0]["mean_low_bps"] is None  # six weeks
    months = inline(
        url, "market", "execution-report", "--by", "month", "--since", "2024-02-01", "--until", "2024-02-29",
        "-s", "aapl", "-o", "csv",
    )  # fmt: skip
    assert [row["group"] for row in csv.DictReader(io.StringIO(months.stdout))] == ["2024-02"]

    wrong = inline(
        url, "market", "execution-report", "--since", "2024-02-01", "--until", "2024-01-01"
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
