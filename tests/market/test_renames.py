"""Renames know their date and their provider: one that keeps old tickers is asked for the old one."""

import datetime as dt

import pytest

from market.providers import Action, Answer, Bar, Kind, Payload, Request
from market.providers.renames import Name, joined, parts
from tests.market.desk import Desk
from tests.market.spellings import rule
from tests.support.clock import day, utc
from tests.support.db import Conn, value
from tests.support.market import outcome, ticker
from tests.support.providers import FakeProvider, serving

RENAMED = day("2022-06-09")
NOW = utc("2022-07-29 22:00")
FLAT = serving(lambda _: 100.0)


def keeping(request: Request) -> Answer:
    """Bars of FB before the rename and of META since; METV had the name META before."""
    price = {"FB": 100.0, "META": 110.0}.get(request.symbol)
    if price is None:
        return Answer(Kind.UNKNOWN, message="No data found")
    return serving(lambda date: price if (date < RENAMED) == (request.symbol == "FB") else 9.0)(
        request
    )


def spans(provider: FakeProvider) -> list[tuple[str, bool, bool]]:
    """Each request: its name, and whether it has days before the rename, and since."""
    return [
        (each.symbol, each.sessions[0] < RENAMED, each.sessions[-1] >= RENAMED)
        for each in provider.asked
    ]


@pytest.mark.parametrize("symbol", ["FB", "META", "NASDAQ:FB"])
def test_old_days_are_asked_under_the_old_name(url: str, conn: Conn, symbol: str) -> None:
    """The request straddles the rename: two requests, one answer."""
    provider = FakeProvider("polygon", keeping)
    desk = Desk(url, provider)
    number = desk.predict(NOW, symbol, "2022-06-07 15:00+00")
    (told,) = desk.turn(NOW)
    assert spans(provider) == [("FB", True, False), ("META", False, True)]
    assert told["result"] == "fetched"
    row = outcome(conn, number, symbol)
    assert (row["price_at_prediction"], row["price_t1"], row["price_t3"]) == (100.0, 100.0, 110.0)
    assert row["is_complete"]
    closes = conn.execute(
        "SELECT DISTINCT date < %s AS before, close FROM market_prices", [RENAMED]
    ).fetchall()
    assert {(each["before"], each["close"]) for each in closes} == {(True, 100.0), (False, 110.0)}


def test_others_have_all_days_under_the_new_name(url: str) -> None:
    provider = FakeProvider("remote", FLAT)
    desk = Desk(url, provider)
    desk.predict(NOW, "FB", "2022-06-07 15:00+00")
    desk.turn(NOW)
    assert spans(provider) == [("META", True, True)]


def test_days_before_the_rename_alone_are_asked_once(url: str, conn: Conn) -> None:
    provider = FakeProvider("polygon", keeping)
    now = utc("2022-05-16 22:00")
    desk = Desk(url, provider)
    number = desk.predict(now, "FB", "2022-03-01 15:00+00")
    desk.turn(now)
    assert spans(provider) == [("FB", True, False)]
    assert outcome(conn, number, "FB")["price_t30"] == 100.0
    # The registry has the name of today.
    assert ticker(conn, "FB")["provider_symbol"] == "META"


@pytest.mark.parametrize("symbol", ["CBS", "PSKY"])
def test_every_name_of_a_company_is_asked_for_its_days(url: str, symbol: str) -> None:
    provider = FakeProvider("polygon", FLAT)
    desk = Desk(url, provider)
    now = utc("2025-09-05 22:00")
    desk.predict(now, symbol, "2019-11-01 15:00+00")
    desk.turn(now)
    assert [each.symbol for each in provider.asked] == ["CBS", "VIAC", "PARA", "PSKY"]
    dates = [(each.sessions[0], each.sessions[-1]) for each in provider.asked]
    assert [first for first, _ in dates][1:] == [
        day("2019-12-05"),
        day("2022-02-17"),
        day("2025-08-07"),
    ]


def test_an_old_name_that_nobody_has_costs_only_its_days(url: str, conn: Conn) -> None:
    provider = FakeProvider(
        "polygon", lambda asked: FLAT(asked) if asked.symbol == "META" else Answer(Kind.UNKNOWN)
    )
    desk = Desk(url, provider)
    number = desk.predict(NOW, "META", "2022-06-09 15:00+00")
    (told,) = desk.turn(NOW)
    assert told["result"] == "fetched"
    assert value(conn, "SELECT min(date) FROM market_prices") == RENAMED
    assert outcome(conn, number, "META")["price_t30"] == 100.0


def test_a_fault_of_one_part_is_that_of_the_answer(url: str, conn: Conn) -> None:
    provider = FakeProvider(
        "polygon", lambda asked: FLAT(asked) if asked.symbol == "FB" else Answer(Kind.BAD_ANSWER)
    )
    desk = Desk(url, provider)
    desk.predict(NOW, "META", "2022-06-07 15:00+00")
    (told,) = desk.turn(NOW)
    assert told["result"] == "failed"
    assert value(conn, "SELECT count(*) FROM market_prices") == 0


def test_shares_that_were_exchanged_are_not_one_series(url: str, conn: Conn) -> None:
    """AK Steel's holders got 0.4 shares of Cleveland-Cliffs: its prices are not the same share's."""
    provider = FakeProvider(
        "remote", lambda asked: serving(lambda _: 2.0 if asked.symbol == "AKS" else 5.0)(asked)
    )
    now = utc("2020-06-01 22:00")
    desk = Desk(url, provider)
    before = desk.predict(now, "AKS", "2020-03-10 15:00+00")
    since = desk.predict(now, "AKS", "2020-03-16 15:00+00")
    desk.turn(now)
    assert [each.symbol for each in provider.asked] == ["AKS", "CLF"]
    row = outcome(conn, before, "AKS")
    assert (row["price_at_prediction"], row["return_t7"]) == (None, None)
    assert outcome(conn, since, "AKS")["return_t30"] == 0.0


# What operators write.


def test_a_pattern_may_have_several_rules(conn: Conn) -> None:
    rule(conn, "OLD", "NEW")
    rule(conn, "OLD", "OLD.P", provider="polygon")
    rule(conn, "OLD", "OLDER", provider="polygon", until="2020-01-01")
    rule(conn, "OLD", "OLDEST", until="2000-01-01")
    found = conn.execute(
        "SELECT pattern, kind, literal FROM symbol_rules WHERE literal = 'OLD' ORDER BY pattern"
    ).fetchall()
    assert [row["pattern"] for row in found] == [
        "OLD",
        "OLD(?#polygon)",
        "OLD(?#polygon, until 2020-01-01)",
        "OLD(?#until 2000-01-01)",
    ]
    assert {row["kind"] for row in found} == {"exact"}
    # The same again is the same key, and a script may say that it does not mind.
    for pattern, provider in (("OLD", None), ("OLD", "polygon")):
        done = conn.execute(
            "INSERT INTO symbol_rules (pattern, provider_symbol, provider) VALUES (%s, 'X', %s)"
            " ON CONFLICT (pattern) DO NOTHING",
            [pattern, provider],
        )
        assert done.rowcount == 0
    conn.execute(
        "UPDATE symbol_rules SET valid_until = '2021-01-01' WHERE provider_symbol = 'OLDER'"
    )
    assert value(conn, "SELECT pattern FROM symbol_rules WHERE provider_symbol = 'OLDER'") == (
        "OLD(?#polygon, until 2021-01-01)"
    )
    conn.execute(
        "UPDATE symbol_rules SET valid_until = NULL, pattern = 'ELSE' WHERE provider_symbol = 'OLDEST'"
    )
    assert (
        value(conn, "SELECT pattern FROM symbol_rules WHERE provider_symbol = 'OLDEST'") == "ELSE"
    )


def test_a_rule_of_one_provider_counts_for_it_alone(url: str, conn: Conn) -> None:
    desk_providers = [
        FakeProvider("fmp", Answer(Kind.EMPTY)),
        FakeProvider("twelve_data", FLAT),
    ]
    desk = Desk(url, *desk_providers)
    rule(conn, "HUSH", "HUSH.A", provider="fmp")
    desk.predict(NOW, "HUSH", "2022-06-07 15:00+00")
    desk.turn(NOW)
    assert [[each.symbol for each in one.asked] for one in desk_providers] == [["HUSH.A"], ["HUSH"]]


def test_a_rule_with_a_date_alone_counts_for_every_provider(url: str, conn: Conn) -> None:
    rule(conn, "OLD", "NEW", since="2022-06-09")
    provider = FakeProvider("remote", FLAT)
    desk = Desk(url, provider)
    number = desk.predict(NOW, "OLD", "2022-06-07 15:00+00")
    desk.turn(NOW)
    assert spans(provider) == [("OLD", True, False), ("NEW", False, True)]
    assert outcome(conn, number, "OLD")["is_complete"]


def test_a_name_in_the_registry_counts_on_all_days(url: str, conn: Conn) -> None:
    conn.execute(
        "INSERT INTO ticker_registry (symbol, provider_symbol, calendar) VALUES ('CBS', 'FB.OLD', 'XNYS')"
    )
    conn.execute("DELETE FROM outbox")
    provider = FakeProvider("polygon", FLAT)
    desk = Desk(url, provider)
    desk.predict(NOW, "CBS", "2022-01-07 15:00+00")
    desk.turn(NOW)
    assert [each.symbol for each in provider.asked] == ["FB.OLD"]


def test_a_rule_that_ends_before_it_begins_is_refused(conn: Conn) -> None:
    with pytest.raises(Exception, match="symbol_rules_valid"):
        rule(conn, "OLD", "NEW", since="2022-06-09", until="2022-06-09")


# The parts and their answers, without a database.

DAYS = [dt.date(2024, 1, n) for n in range(1, 9)]


def name(provider: str | None, first: int, last: int, word: str) -> Name:
    return Name(provider, DAYS[first], DAYS[last], word)


def test_a_request_is_split_where_the_name_changes() -> None:
    request = Request("NEW", DAYS[1], DAYS[6], DAYS[1:7])
    names = [
        name(None, 0, 3, "NEW"),
        name(None, 4, 7, "NEW"),
        name("p", 0, 3, "OLD"),
        name("p", 4, 7, "NEW"),
    ]
    assert parts(request, "other", names) == [request]
    assert parts(request, "p", []) == [request]
    assert parts(request, "p", names) == [
        Request("OLD", DAYS[1], DAYS[3], DAYS[1:4]),
        Request("NEW", DAYS[4], DAYS[6], DAYS[4:7]),
    ]
    # No session of the old name's days is wanted.
    late = Request("NEW", DAYS[3], DAYS[6], DAYS[5:7])
    assert parts(late, "p", names) == [Request("NEW", DAYS[4], DAYS[6], DAYS[5:7])]


def test_answers_are_joined_in_order_with_what_they_were_read_from() -> None:
    def answer(days: list[dt.date], close: float, word: str) -> Answer:
        bars = [Bar(date, close, close, close, close) for date in days]
        actions = [Action(days[0], "dividend", 1.0)]
        payload = Payload(f"https://p/{word}", 200, word.encode())
        return Answer(Kind.OK, bars, actions=actions, payload=payload, currency="USD")

    old, new = (
        Request("OLD", DAYS[0], DAYS[3], DAYS[:4]),
        Request("NEW", DAYS[4], DAYS[7], DAYS[4:]),
    )
    # An answer may hold days of the other name: they are that of another company.
    whole = joined([(old, answer(DAYS[:6], 100.0, "old")), (new, answer(DAYS[4:], 120.0, "new"))])
    assert [bar.date for bar in whole.bars] == DAYS
    assert [bar.close for bar in whole.bars] == [100.0] * 4 + [120.0] * 4
    assert [action.date for action in whole.actions] == [DAYS[0], DAYS[4]]
    assert whole.payload is not None
    assert (whole.payload.url, whole.payload.body) == ("https://p/new https://p/old", b"new\nold")
    assert joined([(old, Answer(Kind.UNKNOWN)), (new, Answer(Kind.EMPTY))]).kind is Kind.EMPTY
    only = joined([(old, answer(DAYS[:4], 100.0, "old")), (new, Answer(Kind.EMPTY))])
    assert [bar.date for bar in only.bars] == DAYS[:4]
