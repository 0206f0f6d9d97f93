"""symbol_rules are looked up, not tried one after the other: with the same answers."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.market.spellings import SPELLINGS, rule
from tests.support.db import Conn, value

# What the rules mean: every one of them is tried, the first that matches the whole symbol counts. One
# that is a provider's own, or has dates, comes first among those of its priority.
_MEANING = """
SELECT s.n, nullif(regexp_replace(s.symbol, '^(?:' || r.pattern || ')$', r.provider_symbol), s.symbol), r.calendar
FROM unnest(%s::text[]) WITH ORDINALITY s(symbol, n)
CROSS JOIN (SELECT %s::text AS provider, coalesce(%s::date, (reckoner_now() AT TIME ZONE 'UTC')::date) AS day) w
CROSS JOIN LATERAL (SELECT * FROM symbol_rules r WHERE s.symbol ~ ('^(?:' || r.pattern || ')$')
                        AND coalesce(r.provider = w.provider, r.provider IS NULL)
                        AND w.day >= coalesce(r.valid_from, '-infinity') AND w.day < coalesce(r.valid_until, 'infinity')
                    ORDER BY r.priority DESC, r.provider IS NULL,
                             r.valid_from IS NULL AND r.valid_until IS NULL, r.pattern LIMIT 1) r ORDER BY s.n
"""
_LOOKUP = (
    "SELECT n, provider_symbol, calendar FROM symbols_named(%s::text[], %s, %s::date)"
    " WHERE matched ORDER BY n"
)

# An operator's rows of every kind, and some that only look like one that can be looked up.
OPERATORS: dict[str, str] = {
    "TWTR": "exact",
    r"BRK\.B": "exact",
    r"\^SPZ": "exact",
    "A-B": "exact",
    r".+\.XX": "suffix",
    r"(.+)\.YY": "suffix",
    ".+=Z": "suffix",
    "WSE:([A-Z]+)": "prefix",
    "WSE:[A-Z]{3}": "prefix",
    "WSE:(?:A|B)(C|D)": "prefix",
    "X:AB|CD": "pattern",
    "X:?AB": "pattern",
    "X:*": "pattern",
    "X:([A-Z]|[(])|CD": "pattern",
    "A.B": "pattern",
    "A|B": "pattern",
    "AB?": "pattern",
    "AB*": "pattern",
    "AB+": "pattern",
    "A{2}": "pattern",
    ".*.L": "pattern",
    r".+\.L?": "pattern",
    r".+\.L|AB": "pattern",
    r".\.L": "pattern",
    r"\.L": "exact",
    r"(.+)\.(L|K)": "pattern",
    r"\mAB": "pattern",
    r"A\dB": "pattern",
    "(AB)": "pattern",
    "ab": "pattern",
    "": "pattern",
}
PARTS = [
    "", "A", "B", "AB", "CD", "ABB", "FB", "BRK", "^SPZ", "TWTR", "X:", "WSE:", "LON:", "KRX:", "NYSE:", "BINANCE:",
    "VOD", "005930", "BTC", "USD", "USDT", ".", ".L", ".XX", ".YY", "=Z", "=F", "-", "/", "A-B", ".TWO", ".TW", ".DE",
]  # fmt: skip


# Dates and providers of an operator's rows, beside those of a migration.
WHEN: list[tuple[str | None, str | None, str | None]] = [
    ("polygon", None, "2022-06-09"),
    ("polygon", "2022-06-09", None),
    ("fmp", None, None),
    (None, "2020-01-01", "2023-01-01"),
    (None, "2023-01-01", None),
]


def same(
    conn: Conn, symbols: Sequence[str], provider: str | None = None, date: str | None = None
) -> list[tuple[Any, ...]]:
    """What both say of these symbols."""
    values = [list(symbols), provider, date]
    lookup, meaning = (
        [tuple(row.values()) for row in conn.execute(query, values).fetchall()]
        for query in (_LOOKUP.encode(), _MEANING.encode())
    )
    assert lookup == meaning
    return lookup


@pytest.fixture
def operators(conn: Conn) -> Conn:
    """A database in which an operator wrote all of these."""
    for n, pattern in enumerate(OPERATORS):
        template = r"\1!" if pattern.startswith("(") else "NEW" if n % 3 else None
        rule(conn, pattern, template, calendar="XLON" if n % 2 else None, priority=n % 5 * 20)
    for n, pattern in enumerate([*OPERATORS, "FB", r"BRK\.B", "X:.*"]):
        provider, since, until = WHEN[n % len(WHEN)]
        template = f"{provider}{n}" if n % 4 else None
        rule(
            conn,
            pattern,
            template,
            priority=n % 5 * 20,
            provider=provider,
            since=since,
            until=until,
        )
    return conn


def test_how_a_pattern_is_written_says_how_it_is_looked_up(operators: Conn) -> None:
    rows = operators.execute(
        "SELECT pattern, kind, literal FROM symbol_rules WHERE note LIKE 'an operator%'"
    ).fetchall()
    kinds = {row["pattern"]: (row["kind"], row["literal"]) for row in rows}
    assert {pattern: kinds[pattern][0] for pattern in OPERATORS} == OPERATORS
    # A comment in the expression changes neither kind nor literal.
    for pattern, found in kinds.items():
        plain = pattern.partition("(?#")[0]
        assert found == kinds.get(plain, found), pattern
    assert sum("(?#" in pattern for pattern in kinds) == len(OPERATORS) + 3


def test_few_rules_are_tried(conn: Conn) -> None:
    """PostgreSQL keeps 32 compiled expressions: a 33rd makes every one of them be compiled again."""
    rows = conn.execute("SELECT kind, count(*) AS n FROM symbol_rules GROUP BY kind").fetchall()
    kinds = {row["kind"]: row["n"] for row in rows}
    assert kinds["pattern"] <= 9
    assert kinds["exact"] + kinds["suffix"] >= 40


def test_the_spellings_are_looked_up_alike(conn: Conn) -> None:
    found = same(conn, [symbol for symbol, *_ in SPELLINGS])
    assert len(found) > len(SPELLINGS) / 2


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(
            lambda parts: "".join(parts)[:20]
        ),
        min_size=1,
        max_size=200,
    ),
    st.sampled_from([None, "polygon", "fmp", "yahoo"]),
    st.sampled_from([None, "2019-12-31", "2020-01-01", "2022-06-08", "2022-06-09", "2024-05-16"]),
)
def test_a_lookup_finds_what_trying_them_all_finds(
    operators: Conn, symbols: list[str], provider: str | None, date: str | None
) -> None:
    same(operators, symbols, provider, date)


def test_a_rule_that_changes_is_looked_up_as_it_is_then(conn: Conn) -> None:
    conn.execute("UPDATE symbol_rules SET pattern = 'F.' WHERE pattern = 'FB'")
    assert same(conn, ["FB", "FC", "META"]) == [(1, "META", None), (2, "META", None)]
    conn.execute("UPDATE symbol_rules SET pattern = 'FC' WHERE pattern = 'F.'")
    assert same(conn, ["FB", "FC"]) == [(2, "META", None)]
    conn.execute("DELETE FROM symbol_rules")
    assert same(conn, ["FC"]) == []
    assert value(conn, "SELECT symbol_calendar('VOD.L')") == "?.L"


def test_thousands_of_new_symbols_are_registered_in_one_statement(conn: Conn) -> None:
    """In one statement rules are read a few times, and not once a symbol."""
    symbols = [f"N{n}.{'L' if n % 2 else 'XX'}" for n in range(5_000)]
    reads = (
        "SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables"
        " WHERE relname = 'symbol_rules'"
    )
    with conn.transaction():
        conn.execute(
            "SELECT registry_register(%s::text[], %s::integer[])", [symbols, [None] * len(symbols)]
        )
        assert value(conn, reads) <= 10
    rows = conn.execute(
        "SELECT calendar, count(*) AS n FROM ticker_registry GROUP BY calendar"
    ).fetchall()
    assert {row["calendar"]: row["n"] for row in rows} == {"XLON": 2_500, "?.XX": 2_500}
