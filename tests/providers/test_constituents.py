"""Members from FMP, Wikipedia and CSV: a source that is wrong changes nothing, and the next is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import market.providers.http as http_module
from market.settings import MarketSettings
from market.universe.constituents.refresh import Refresh, refresh
from market.universe.constituents.sources import build
from sql.database import Database
from tests.providers import lists
from tests.providers.lists import CHANGES, INFOBOX, SYMBOLS, csv, fmp, members_table, page
from tests.providers.vendor import Asked, Said, Vendor
from tests.providers.words import KEY
from tests.support.db import Conn, value
from tests.support.market import provider_row

GOOD_PAGE = Said(page(INFOBOX, members_table(SYMBOLS), CHANGES))
# In FMP's own words: the endpoint is not in the plan, for keys of today and for older ones.
NEW_KEY = Said(
    "Restricted Endpoint: This endpoint is not available under your current subscription please visit our"
    " subscription page to upgrade your plan at https://site.financialmodelingprep.com/pricing-plans",
    402,
)
OLD_KEY = Said(
    {
        "Error Message": "Legacy Endpoint : Due to Legacy endpoints being no longer supported - This endpoint is"
        " only available for legacy users who have valid subscriptions prior August 31, 2025."
    },
    403,
)
NO_AGENT = Said(
    "Please set a user-agent and respect our robot policy https://w.wiki/4wJS. See also T400119.\n",
    403,
    {"Content-Type": "text/plain"},
)
NO_TABLE = "wikipedia: bad_answer no table with a column of 490 to 510 symbols"
HTTP_200 = "bad_answer HTTP 200"
ODD = "503 texts that are no symbols"
WIDE = page(f"<table>{'<tr><td colspan=999999999>x</td></tr>' * 6000}</table>")
GZIP = {"Content-Encoding": "gzip"}
OTHERS = [f"X{each}" for each in SYMBOLS]
NAMES = [f"{each.title()} Company, Inc." for each in SYMBOLS]


@dataclass
class World:
    """The sources, and what each says. csv: the files by name; None: INDEX_CSV_DIR is not set."""

    database: Database
    conn: Conn
    vendor: Vendor
    folder: Path
    fmp: Said = NEW_KEY
    wikipedia: Said = GOOD_PAGE
    csv: Mapping[str, str | bytes] | None = field(default_factory=dict)
    key: str | None = KEY
    place: str | None = None

    def refresh(self, index: str = "SP500", **options: Any) -> Refresh:
        """Refresh an index from the sources that the settings give."""
        for name, text in (self.csv or {}).items():
            body = text if isinstance(text, bytes) else text.encode()
            (self.folder / name).write_bytes(body)
        self.vendor.says = self._says
        settings = MarketSettings(
            fmp_api_key=SecretStr(self.key) if self.key else None,
            fmp_base_url=self.vendor.url,
            wikipedia_base_url=self.vendor.url,
            index_csv_dir=self.place or (None if self.csv is None else str(self.folder)),
        )
        return refresh(self.database, build(settings), index, lambda _: None, **options)

    def _says(self, asked: Asked) -> Said:
        if asked.path.startswith("/stable/"):
            return self.fmp
        if asked.path.endswith(".csv"):
            text = (self.csv or {}).get(asked.path.rpartition("/")[2])
            return Said(status=404) if text is None else Said(text)
        # Wikimedia's rule: an agent that says nothing is refused.
        agent = asked.headers.get("user-agent", "")
        return self.wikipedia if agent.startswith("Reckoner/") and "https://" in agent else NO_AGENT

    @property
    def members(self) -> set[str]:
        """The members of the S&P 500."""
        return {
            row["symbol"] for row in self.conn.execute("SELECT symbol FROM index_members('SP500')")
        }


@pytest.fixture
def world(database: Database, conn: Conn, vendor: Vendor, tmp_path: Path) -> World:
    """The S&P 500 is known, and FMP refuses."""
    conn.execute(
        "INSERT INTO index_constituents (index_name, symbol) SELECT 'SP500', unnest(%s::text[])",
        [SYMBOLS],
    )
    folder = tmp_path / "lists"
    folder.mkdir()
    return World(database, conn, vendor, folder)


@pytest.mark.parametrize(
    ("said", "note"),
    [
        (NEW_KEY, "fmp: plan HTTP 402: Restricted Endpoint: This endpoint is not available"),
        (OLD_KEY, "fmp: plan HTTP 403: Legacy Endpoint : Due to Legacy endpoints"),
        (
            Said({"Error Message": "Invalid API KEY. Please retry"}, 401),
            "fmp: plan HTTP 401: Invalid API KEY",
        ),
        (
            Said({"Error Message": "Limit Reach . Please upgrade"}, 429),
            "fmp: throttled HTTP 429: Limit Reach",
        ),
        (
            Said({"Error Message": "Something went wrong"}),
            "fmp: bad_answer HTTP 200: Something went wrong",
        ),
        (Said([]), "fmp: empty no members"),
        (Said({"sp500": []}), "fmp: bad_answer HTTP 200, another form"),
        (Said("<html>maintenance</html>"), "fmp: bad_answer HTTP 200, another form"),
        (Said(status=503), "fmp: down HTTP 503"),
        (Said(manner="reset"), "fmp: down "),
        (Said(fmp(SYMBOLS), manner="half"), "fmp: down "),
        (Said(fmp(SYMBOLS[:12])), "fmp: 12 symbols, 490 to 510 are expected"),
        (
            Said([{"ticker": each} for each in SYMBOLS]),
            f"fmp: {HTTP_200}: ValueError: another form: item 0: no 'symbol'",
        ),
        (
            Said([{"symbol": each} for each in NAMES]),
            f"fmp: bad_answer the field 'symbol' has {ODD}, such as 'Brk-B Company, Inc.'",
        ),
        (Said([{"symbol": {"x": 1}}] * 503), "fmp: bad_answer HTTP 200: ValueError: another form"),
        (
            Said(fmp(OTHERS)),
            "fmp: 503 members would leave (AA, AB, AC, AD, AE ...), more than 10: --yes tak",
        ),
    ],
    ids=lambda each: "" if isinstance(each, Said) else each[:40],
)
def test_wikipedia_is_used_where_fmp_gives_no_list(world: World, said: Said, note: str) -> None:
    world.fmp = said
    done = world.refresh()
    assert (done.result, done.provider_used, done.fallback_used) == ("refreshed", "wikipedia", True)
    assert [each[: len(note)] for each in done.notes] == [note]
    assert KEY not in str(done.notes)
    assert (done.counters["inactivated"], done.counters["inserted"]) == (0, 0)
    assert world.members == set(SYMBOLS)
    assert value(world.conn, "SELECT failure FROM index_status WHERE name = 'SP500'") is None


@pytest.mark.parametrize(
    ("said", "note"),
    [
        (
            NO_AGENT,
            "wikipedia: plan HTTP 403: Please set a user-agent and respect our robot policy",
        ),
        (Said(""), NO_TABLE),
        (Said(page()), NO_TABLE),
        (
            Said(page(INFOBOX, CHANGES)),
            f"{NO_TABLE}; there are: 505 rows with 2 columns of symbols: Date, Ticker, Security, Ticker",
        ),
        (Said(page(members_table(SYMBOLS[:12]))), f"{NO_TABLE}; there are: 12 symbols"),
        (
            Said(page(members_table(SYMBOLS, ("Stock code", "Security")))),
            f"{NO_TABLE}; there are: 504 rows with no column of symbols: Stock code",
        ),
        (
            Said(page(lists.table(("Symbol", "Name"), [(each, each) for each in NAMES]))),
            f"{NO_TABLE}; there are: 504 rows with the column 'Symbol' has {ODD}",
        ),
        (
            Said(page(members_table(SYMBOLS), members_table(OTHERS))),
            "wikipedia: bad_answer 2 tables with 490 to 510 symbols that differ",
        ),
        (Said(status=404), "wikipedia: empty HTTP 404: no such page"),
        (Said(status=301, headers={"Location": "/wiki/Other"}), "wikipedia: bad_answer HTTP 301"),
        (Said("Too many requests", 429), "wikipedia: throttled HTTP 429"),
        (Said("upstream connect error", 503), "wikipedia: down HTTP 503"),
        (Said(WIDE), f"wikipedia: {HTTP_200}: ValueError: a table of more than 200,000 cells"),
        (
            Said(b"\x1f\x8b\x08", headers=GZIP),
            "wikipedia: bad_answer ValueError: the compressed body has no end",
        ),
    ],
    ids=lambda each: "" if isinstance(each, Said) else each[:60],
)
def test_a_csv_list_is_used_where_wikipedia_gives_none(world: World, said: Said, note: str) -> None:
    world.wikipedia = said
    world.csv = {"SP500.csv": csv(SYMBOLS)}
    done = world.refresh()
    assert (done.result, done.provider_used, done.fallback_used) == ("refreshed", "csv", True)
    assert done.notes[0].startswith("fmp: plan HTTP 402")
    assert done.notes[1][: len(note)] == note
    assert (done.counters["inactivated"], done.counters["inserted"]) == (0, 0)
    assert world.members == set(SYMBOLS)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("", "csv: bad_answer SP500.csv: no column of symbols: no rows"),
        ("name,sector\nApple,Tech\n", "csv: bad_answer SP500.csv: no column of symbols: name, sector"),
        ("symbol,ticker\nA,B\n", "csv: bad_answer SP500.csv: 2 columns of symbols: symbol, ticker"),
        (csv(SYMBOLS[:12]), "csv: 12 symbols, 490 to 510 are expected"),
        (b"\xff\xfe\x00", "csv: bad_answer SP500.csv: "),
        ("symbol\n" + "A" * 300_000, "csv: bad_answer SP500.csv: field larger than field limit"),
        ("symbol\n" + "A\n" * 30_000, "csv: bad_answer SP500.csv: more than 20,000 rows"),
        ("symbol\n" + "A\n" * 2_000_000, "csv: bad_answer SP500.csv: is larger than 2,097,152 bytes"),
        (None, "csv: empty no file SP500.csv in "),
    ],
    ids=lambda each: each[:50] if isinstance(each, str) and each.startswith("csv: ") else "",
)  # fmt: skip
def test_where_no_source_has_a_list_nothing_changes_and_the_state_says_why(
    world: World, text: str | bytes | None, note: str
) -> None:
    world.wikipedia = NO_AGENT
    world.csv = {} if text is None else {"SP500.csv": text}
    before = world.conn.execute("SELECT * FROM index_constituents").fetchall()
    done = world.refresh()
    assert not done.is_done
    assert done.notes[-1].startswith(note)
    assert world.conn.execute("SELECT * FROM index_constituents").fetchall() == before
    failure = value(world.conn, "SELECT failure FROM index_status WHERE name = 'SP500'")
    assert failure.startswith("fmp: plan HTTP 402: Restricted Endpoint")
    health = "SELECT message FROM reckoner_health() WHERE name = 'constituents' AND state = 'warn'"
    assert "SP500 cannot be refreshed since" in value(world.conn, health)


def test_fmp_is_first_and_nobody_else_is_asked(world: World) -> None:
    world.fmp = Said(fmp([*SYMBOLS[:-2], "NEWA", "NEWB"]) * 2)  # each is there twice
    done = world.refresh()
    assert (done.provider_used, done.fallback_used, done.notes) == ("fmp", False, [])
    assert done.counters == {
        "fetched": 503, "inserted": 2, "reactivated": 0, "inactivated": 2, "registered": 505,
        "members_before": 503, "members_after": 503,
    }  # fmt: skip
    assert [asked.path for asked in world.vendor.log] == ["/stable/sp500-constituent"]
    assert [asked.query for asked in world.vendor.log] == [{"apikey": KEY}]
    row = world.conn.execute(
        "SELECT * FROM index_members('SP500') WHERE symbol = 'BRK-B'"
    ).fetchone()
    assert row is not None
    assert (row["name"], row["sector"], row["industry"], row["source"]) == (
        "Brk-B Company, Inc.", "Industrials", "Machinery", "fmp",
    )  # fmt: skip
    kept = world.conn.execute("SELECT id, provider, class, url FROM provider_payloads").fetchall()
    assert [(each["id"], each["provider"], each["class"]) for each in kept] == [
        (done.payload, "fmp", "ok")
    ]
    assert KEY not in kept[0]["url"]


@pytest.mark.parametrize(
    "parts",
    [
        (members_table(SYMBOLS), INFOBOX, CHANGES),
        (INFOBOX, CHANGES, members_table(SYMBOLS)),
        (CHANGES, INFOBOX, members_table(SYMBOLS), members_table(SYMBOLS)),
        (INFOBOX, members_table(SYMBOLS, ("Security", "Ticker", "GICS Sector", "GICS Sub-Industry"))),
        (INFOBOX, members_table(SYMBOLS, ("Company", "CIK", "Ticker"))),
        # A part of another table.
        (f"<table><tr><td>{members_table(SYMBOLS)}</td></tr></table>", INFOBOX),
    ],
    ids=["moved up", "moved down", "twice", "names first", "names first, others gone", "in a cell"],
)  # fmt: skip
def test_the_table_is_known_by_its_columns_and_its_symbols(
    world: World, parts: Sequence[str]
) -> None:
    world.wikipedia = Said(page(*parts))
    done = world.refresh()
    assert (done.provider_used, done.counters["inactivated"], done.counters["inserted"]) == (
        "wikipedia", 0, 0,
    )  # fmt: skip
    assert world.members == set(SYMBOLS)
    name = "SELECT name FROM index_members('SP500') WHERE symbol = 'BF-B'"
    assert value(world.conn, name) == "Bf-B Company, Inc."


def test_the_page_is_asked_for_with_our_agent_and_by_its_title(world: World) -> None:
    world.refresh()
    assert world.vendor.log[-1].path == "/wiki/List_of_S&P_500_companies"
    assert world.vendor.log[-1].headers["user-agent"].startswith("Reckoner/")


def test_spans_footnotes_exchanges_markup_and_escapes(world: World) -> None:
    body = "".join(
        f"<tr><td>{each}</td><td>NYSE:&#160;{each}<sup>[3]</sup></td></tr>" for each in SYMBOLS[3:]
    )
    world.wikipedia = Said(
        page(
            "<table><tr><th>Company</th><th>Symbol</th><th>Sector</th></tr>"
            '<tr><th scope="row"><b>Berk&shy;shire</b> &lt;script&gt;\x1b[31m\n<br>Hathaway</th>'
            '<td>brk.b<!-- x --></td></tr><tr><td>Brown<td rowspan="1">BF.B<tr><td>A<td>AA'
            f"{body}<tr><td colspan=3>a note</td></tr></table>"
        ).replace("brk.b", "BRK.B")
    )
    assert world.refresh().provider_used == "wikipedia"
    assert world.members == set(SYMBOLS)
    name = value(world.conn, "SELECT name FROM index_members('SP500') WHERE symbol = 'BRK-B'")
    assert name.replace("\u00ad", "").replace("\x1b", "") == "Berkshire <script>[31m Hathaway"


def test_the_nasdaq_100_may_have_103_members_and_the_dow_has_30(world: World) -> None:
    world.wikipedia = Said(page(members_table(SYMBOLS[:103], ("Ticker", "Company")), INFOBOX))
    assert world.refresh("nasdaq100").counters["members_after"] == 103
    world.wikipedia = Said(page(members_table(SYMBOLS[:30], ("Company", "Symbol"))))
    assert world.refresh("DOW30").counters["members_after"] == 30
    world.wikipedia = Said(page(members_table(SYMBOLS[:29], ("Company", "Symbol"))))
    assert world.refresh("DOW30").result == "failed"


def test_a_slow_server_is_left_and_the_next_one_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "_ANSWER_SECONDS", 0.3)
    world.fmp = Said(fmp(SYMBOLS), manner="drip")
    done = world.refresh()
    assert done.provider_used == "wikipedia"
    assert done.notes == ["fmp: down ReadTimeout: no end after 0.3 s"]


def test_a_huge_body_is_not_read_to_its_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "MOST_BYTES", 200_000)
    world.fmp = Said(fmp(SYMBOLS) * 100)
    world.wikipedia = Said(page("x" * 500_000))
    world.csv = {"SP500.csv": csv(SYMBOLS)}
    done = world.refresh()
    assert done.provider_used == "csv"
    assert ["no end after 200000 bytes" in each for each in done.notes] == [True, True]


def test_a_plan_that_lacks_the_list_does_not_pause_daily_bars_and_a_wrong_key_does(
    world: World,
) -> None:
    world.refresh()
    assert provider_row(world.conn, "fmp")["paused_until"] is None
    world.fmp = Said({"Error Message": "Invalid API KEY."}, 401)
    world.refresh()
    assert provider_row(world.conn, "fmp")["paused_until"] is not None
    asked = len(world.vendor.log)
    assert world.refresh().notes[0].startswith("fmp: throttled fmp is paused: plan: HTTP 401")
    assert [each.path for each in world.vendor.log[asked:]] == ["/wiki/List_of_S&P_500_companies"]


def test_a_refusal_of_one_page_does_not_pause_the_others(world: World) -> None:
    world.wikipedia = NO_AGENT
    assert not world.refresh().is_done
    world.wikipedia = GOOD_PAGE
    assert world.refresh().provider_used == "wikipedia"


def test_requests_count_in_the_quota_of_fmp(world: World) -> None:
    used = "SELECT used FROM provider_quota_status WHERE name = 'fmp' AND per = 'day'"
    before = value(world.conn, used) or 0
    world.refresh()
    assert value(world.conn, used) == before + 1


def test_without_a_key_wikipedia_is_the_first_and_no_fallback(world: World) -> None:
    world.key = None
    done = world.refresh()
    assert (done.provider_used, done.fallback_used, done.notes) == ("wikipedia", False, [])


def test_csv_lists_below_a_url(world: World) -> None:
    world.place = f"{world.vendor.url}/lists/"
    world.wikipedia = NO_AGENT
    world.csv = {"SP500.csv": csv(SYMBOLS)}
    assert world.refresh().provider_used == "csv"
    assert world.vendor.log[-1].path == "/lists/SP500.csv"
    world.csv = {}
    assert world.refresh().notes[-1] == "csv: empty HTTP 404: no such file"


def test_an_index_of_ones_own_is_a_row_and_a_file(world: World) -> None:
    world.conn.execute(
        "INSERT INTO market_indexes (name, title, least, most, most_leaving, csv)"
        " VALUES ('OWN', 'Our own', 1, 5, 1, 'own.csv'), ('NOWHERE', 'None', 1, 5, 1, NULL)"
    )
    world.csv = {"own.csv": "Ticker;Name\nvod.l;Vodafone\nBF.B;Brown\n"}
    done = world.refresh("own")
    assert (done.provider_used, done.fallback_used, done.counters["inserted"]) == ("csv", False, 2)
    rows = world.conn.execute("SELECT symbol, name FROM index_members('OWN')").fetchall()
    assert [tuple(row.values()) for row in rows] == [("BF-B", "Brown"), ("VOD.L", "Vodafone")]
    assert world.refresh("NOWHERE").notes == ["no source has this index: see market_indexes"]


def test_a_list_in_which_many_would_leave_needs_consent(world: World) -> None:
    world.fmp = Said(fmp([*SYMBOLS[11:], *(f"NEW{n}" for n in range(5))]))
    world.wikipedia = NO_AGENT
    done = world.refresh()
    assert (done.result, world.members) == ("refused", set(SYMBOLS))
    assert done.notes[0].startswith("fmp: 11 members would leave (")
    assert world.refresh(yes=True, dry_run=True).counters["inactivated"] == 11
    assert world.members == set(SYMBOLS)
    assert world.refresh(yes=True).counters["inactivated"] == 11
    followed = "SELECT count(*) FROM tracked_symbols WHERE 'index:SP500' = ANY (reasons)"
    assert value(world.conn, followed) == 508


@pytest.mark.parametrize(
    "column", ["fmp = '../v3/key'", "csv = '../x.csv'", "csv = '..'", "wikipedia = 'a/b'", "csv = 'a\\b'"]
)  # fmt: skip
def test_no_row_of_the_configuration_leads_elsewhere(conn: Conn, column: str) -> None:
    with pytest.raises(Exception, match="check constraint"):
        conn.execute(f"UPDATE market_indexes SET {column}".encode())  # noqa: S608
