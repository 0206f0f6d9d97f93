"""The fixtures are what they claim to be: three living generations, each with rows of all kinds."""

import pytest

from tests.attach import databases
from tests.attach.databases import Generation
from tests.support.db import Conn, connect, value


def types(conn: Conn, table: str) -> dict[str, str]:
    rows = conn.execute(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = %s",
        [table],
    )
    return {row["column_name"]: row["data_type"] for row in rows}


def test_every_generation_loads_with_rows_of_every_kind(owners_url: str, generation: str) -> None:
    with connect(owners_url) as conn:
        assert value(conn, "SELECT count(*) FROM predictions") == 300
        statuses = conn.execute(
            "SELECT analysis_status AS s, count(*) AS n FROM predictions GROUP BY 1"
        )
        found = {row["s"]: row["n"] for row in statuses}
        assert found["completed"] > 150
        assert {"pending", "bypassed", "error"} < found.keys()
        assets = conn.execute("SELECT DISTINCT assets::text AS a FROM predictions")
        assert {None, "null", '"TSLA"', '["aapl"]'} < {row["a"] for row in assets}
        assert value(conn, "SELECT count(DISTINCT status) FROM ticker_registry") == 3
        assert value(conn, "SELECT count(DISTINCT coalesce(is_complete::text, 'NULL'))"
                           " FROM prediction_outcomes") == 3  # fmt: skip
        assert value(conn, "SELECT count(*) FROM market_prices WHERE source = 'yfinance'") > 2000
        assert databases.duplicates(conn) == (databases.DUPLICATES if generation == "older" else {})
        for table in databases.columns(conn):
            assert value(conn, f'SELECT count(*) FROM "{table}"') > 0, table  # noqa: S608


@pytest.mark.parametrize(
    ("generation", "table", "expected"),
    [
        ("older", "predictions", {"assets": "json", "market_impact": "json"}),
        ("newer", "predictions", {"assets": "jsonb", "market_impact": "jsonb"}),
        ("mixed", "predictions", {"assets": "json", "market_impact": "jsonb"}),
        ("older", "predictions", {"created_at": "timestamp without time zone"}),
        ("newer", "predictions", {"post_timestamp": "timestamp with time zone"}),
        ("newer", "signals", {"published_at": "timestamp without time zone"}),
        ("mixed", "signals", {"published_at": "timestamp with time zone"}),
    ],
)
def test_generations_differ_in_the_types_of_their_columns(
    make_generation: Generation, generation: str, table: str, expected: dict[str, str]
) -> None:
    with connect(make_generation(generation)) as conn:
        assert expected.items() <= types(conn, table).items()


def test_generations_differ_in_what_is_unique(make_generation: Generation) -> None:
    pair = ("prediction_outcomes", "prediction_id", "symbol")
    found = {}
    for generation in databases.GENERATIONS:
        with connect(make_generation(generation)) as conn:
            found[generation] = (
                databases.unique_on(conn, *pair),
                databases.unique_on(conn, "ticker_registry", "symbol"),
                databases.unique_on(conn, "market_prices", "symbol", "date"),
            )
    assert found == {"older": (0, 2, 1), "newer": (1, 1, 1), "mixed": (0, 1, 1)}


def test_generations_do_not_supply_times(owners_url: str) -> None:
    with connect(owners_url) as conn:
        required = conn.execute(
            "SELECT table_name AS t FROM information_schema.columns WHERE table_schema = 'public'"
            " AND column_name IN ('created_at', 'updated_at') AND is_nullable = 'NO'"
            " AND column_default IS NULL GROUP BY 1 HAVING count(*) = 2"
        )
        assert {"predictions", *databases.SHARED} < {row["t"] for row in required}
