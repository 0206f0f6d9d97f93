"""The other program: it writes predictions, tickers, prices and outcomes, and knows nothing of us.

Run as a process: `python other_program.py DATABASE_URL --symbols AAPL,TSLA --seconds 15`. Three
of its services work side by side as threads, each with a connection of its own and with the
plain statements that an ORM sends: look, then INSERT, then COMMIT, without ON CONFLICT. It looks
at the columns once, as an ORM's models know them, and fills those that its generation has.

At its end it prints one line of JSON: `counts` per kind of statement, `errors` (kind, sqlstate,
message), `unique`: how often its INSERT met a row of the same key that somebody had written
after it looked, per kind; `slowest`: the slowest transaction in seconds, per kind.

It shares no code with the product or with its tests.
"""

import argparse
import datetime as dt
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

# Of a hundred predictions so many are not `completed`.
UNFINISHED = 10
WORDS = ("bullish", "bearish", "neutral", "Bullish", "mixed")
NO_TICKERS = ("US economy", "", "$$$", "Big Tech and the rest of them")

Conn = psycopg.Connection[DictRow]
Values = dict[str, Any]


class Clock:
    """Its own clock, which may be set; it needs no database to know the time."""

    def __init__(self, now: dt.datetime) -> None:
        self._ahead = now - dt.datetime.now(dt.UTC)

    def now(self) -> dt.datetime:
        """The time of its world, UTC."""
        return dt.datetime.now(dt.UTC) + self._ahead


class Log:
    """What happened, from all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._unique: Counter[str] = Counter()
        self._slowest: dict[str, float] = {}
        self._errors: list[dict[str, str | None]] = []

    def done(self, kind: str, seconds: float) -> None:
        """A transaction was committed."""
        with self._lock:
            self._counts[kind] += 1
            self._slowest[kind] = max(self._slowest.get(kind, 0.0), seconds)

    def failed(self, kind: str, table: str, error: psycopg.Error) -> None:
        """A statement failed; that of a unique index of the very table is a lost race."""
        with self._lock:
            if isinstance(error, psycopg.errors.UniqueViolation) and (
                error.diag.table_name == table
            ):
                self._unique[kind] += 1
            else:
                self._errors.append(
                    {"kind": kind, "sqlstate": error.sqlstate, "message": str(error).strip()}
                )

    def line(self) -> str:
        """All of it as one line of JSON."""
        with self._lock:
            return json.dumps(
                {
                    "counts": self._counts,
                    "unique": self._unique,
                    "errors": self._errors,
                    "slowest": {kind: round(s, 3) for kind, s in self._slowest.items()},
                }
            )


class Program:
    """What its services share: the address, the columns, the clock, the predictions made so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.url: str = options.url
        self.symbols: list[str] = options.symbols.split(",")
        self.clock = Clock(options.now)
        self.prices_from: dt.date = options.prices_from
        self.began = time.monotonic()
        self.seconds: float = options.seconds
        self.pause: float = options.pause
        self.log = Log()
        self.seed: int = options.seed
        self.predictions: list[int] = []
        with self.connect() as conn:
            rows = conn.execute(
                "SELECT table_name, column_name, data_type FROM information_schema.columns"
                " WHERE table_schema = 'public'"
            )
            self._columns: dict[str, dict[str, str]] = {}
            for row in rows:
                self._columns.setdefault(row["table_name"], {})[row["column_name"]] = row[
                    "data_type"
                ]

    def connect(self) -> Conn:
        """A connection in the way of an ORM's session: a transaction until COMMIT."""
        return psycopg.connect(self.url, row_factory=dict_row, application_name="other program")

    def left(self) -> float:
        """Seconds until it ends."""
        return self.began + self.seconds - time.monotonic()

    def known_symbols(self) -> list[str]:
        """The symbols that it has heard of so far: new ones come until two thirds of its time."""
        share = 1.5 * (1 - self.left() / self.seconds)
        return self.symbols[: max(2, round(len(self.symbols) * min(share, 1.0)))]

    def has(self, table: str, column: str) -> bool:
        """Whether its generation has this column."""
        return column in self._columns.get(table, {})

    def insert(self, conn: Conn, table: str, values: Values) -> int:
        """One INSERT of the columns that there are; returns the new id."""
        now = self.clock.now()
        values = {**values, "created_at": now, "updated_at": now}
        there = {
            name: self._fitting(table, name, value)
            for name, value in values.items()
            if self.has(table, name)
        }
        names = ", ".join(f'"{name}"' for name in there)
        marks = ", ".join(["%s"] * len(there))
        query = f'INSERT INTO "{table}" ({names}) VALUES ({marks}) RETURNING id'  # noqa: S608
        row = conn.execute(query.encode(), list(there.values())).fetchone()
        assert row is not None
        return int(row["id"])

    def _fitting(self, table: str, name: str, value: Any) -> Any:
        """Without a zone where the column has none: an ORM's utcnow()."""
        kind = self._columns[table][name]
        if isinstance(value, dt.datetime) and kind == "timestamp without time zone":
            return value.astimezone(dt.UTC).replace(tzinfo=None)
        return value


class Service:
    """One of its services: does one small thing after the other until the time is up."""

    def __init__(self, program: Program, number: int) -> None:
        self.program = program
        self.random = random.Random(program.seed * 10 + number)  # noqa: S311 - no secret
        self.conn = program.connect()

    def run(self) -> None:
        """Work until the time is up."""
        with self.conn:
            while self.program.left() > 0:
                self.step()
                time.sleep(self.random.uniform(0, 2 * self.program.pause))

    def step(self) -> None:
        """One small thing."""
        raise NotImplementedError

    def transaction(self, kind: str, table: str, body: Callable[[], bool]) -> bool:
        """One transaction; True when it did something and was committed."""
        began = time.monotonic()
        try:
            did = body()
            self.conn.commit()
        except psycopg.Error as error:
            self.conn.rollback()
            self.program.log.failed(kind, table, error)
            return False
        if did:
            self.program.log.done(kind, time.monotonic() - began)
        return did

    def one(self, query: str, *parameters: Any) -> DictRow | None:
        """The first row of a query."""
        return self.conn.execute(query.encode(), parameters).fetchone()

    def think(self) -> None:
        """Now and then an ORM is slow between looking and inserting."""
        if self.random.random() < 0.3:
            time.sleep(self.random.uniform(0, 0.02))

    def register(self, symbol: str, prediction: int | None) -> None:
        """Look for the ticker, then insert it."""

        def body() -> bool:
            if self.one("SELECT id FROM ticker_registry WHERE symbol = %s LIMIT 1", symbol):
                return False
            self.think()
            self.program.insert(
                self.conn,
                "ticker_registry",
                {
                    "symbol": symbol,
                    "first_seen_date": self.program.clock.now().date(),
                    "source_prediction_id": prediction,
                    "status": "active",
                    "total_price_records": 0,
                    "asset_type": "crypto" if symbol.endswith("-USD") else "stock",
                },
            )
            return True

        self.transaction("ticker", "ticker_registry", body)


class Analyzer(Service):
    """Reads posts and writes what they predict; sometimes corrects an earlier prediction."""

    def step(self) -> None:
        """A new prediction, or the correction of an old one."""
        if self.program.predictions and self.random.random() < 0.2:
            self._remap(self.random.choice(self.program.predictions[-30:]))
        else:
            self._predict()

    def _predict(self) -> None:
        program, now = self.program, self.program.clock.now()
        published = now - dt.timedelta(minutes=self.random.randint(1, 60 * 24 * 110))
        key = f"{program.seed}-{self.random.getrandbits(60):x}"
        links: Values = {}
        if program.has("predictions", "signal_id") and (
            not program.has("predictions", "shitpost_id") or self.random.random() < 0.6
        ):
            self.transaction("signal", "signals", lambda: self._signal(key, published))
            links["signal_id"] = key
        elif program.has("predictions", "shitpost_id") and self.random.random() < 0.9:
            self.transaction(
                "shitpost", "truth_social_shitposts", lambda: self._shitpost(key, published)
            )
            links["shitpost_id"] = key
        unfinished = self.random.randrange(100) < UNFINISHED
        assets = [] if unfinished else self._assets()
        # Some of it knows only when the row was written.
        post = now if self.random.random() < 0.3 else published
        made: list[int] = []

        def body() -> bool:
            number = program.insert(
                self.conn,
                "predictions",
                {
                    **links,
                    "assets": self._json(assets),
                    "market_impact": self._json(self._impact(assets)),
                    "confidence": None if unfinished else round(self.random.random(), 2),
                    "thesis": "because",
                    "analysis_status": "bypassed" if unfinished else "completed",
                    "post_timestamp": post,
                },
            )
            made.append(number)
            return True

        first = self.random.random() < 0.5
        if first:
            self._register_all(assets, None)
        if self.transaction("prediction", "predictions", body):
            if not first:
                self._register_all(assets, made[0])
            if not unfinished:
                program.predictions.append(made[0])

    def _signal(self, key: str, published: dt.datetime) -> bool:
        if self.one("SELECT id FROM signals WHERE signal_id = %s", key):
            return False
        values = {
            "signal_id": key,
            "source": "truth_social",
            "text": "text",
            "published_at": published,
        }
        self.program.insert(self.conn, "signals", {**values, "author_username": "poster"})
        return True

    def _shitpost(self, key: str, published: dt.datetime) -> bool:
        if self.one("SELECT id FROM truth_social_shitposts WHERE shitpost_id = %s", key):
            return False
        values = {"shitpost_id": key, "content": "text", "timestamp": published}
        self.program.insert(self.conn, "truth_social_shitposts", {**values, "username": "poster"})
        return True

    def _register_all(self, assets: list[str], prediction: int | None) -> None:
        for symbol in tickers(assets):
            self.register(symbol, prediction)

    def _assets(self) -> list[str]:
        known = self.program.known_symbols()
        # The youngest are the talk of the day.
        picked = [self.random.choice(known[-3:])] + [
            self.random.choice(known) for _ in range(self.random.randrange(3))
        ]
        written = []
        for symbol in picked:
            written.append(
                self.random.choice((symbol, symbol, symbol, symbol.lower(), f" {symbol}"))
            )
            if self.random.random() < 0.1:
                written.append(self.random.choice(NO_TICKERS))
        return written

    def _impact(self, assets: list[str]) -> dict[str, str]:
        keys = [
            symbol if self.random.random() < 0.8 else symbol.lower() for symbol in tickers(assets)
        ]
        return {key: self.random.choice(WORDS) for key in keys if self.random.random() < 0.9}

    @staticmethod
    def _json(document: Any) -> str:
        return json.dumps(document)

    def _remap(self, prediction: int) -> None:
        assets = self._assets()

        def body() -> bool:
            if not self.one("SELECT id FROM predictions WHERE id = %s", prediction):
                return False
            self.conn.execute(
                "UPDATE predictions SET assets = %s, market_impact = %s, updated_at = %s WHERE id = %s",
                [
                    self._json(assets),
                    self._json(self._impact(assets)),
                    self.program.clock.now(),
                    prediction,
                ],
            )
            return True

        self._register_all(assets, prediction)
        self.transaction("remap", "predictions", body)


class PriceCollector(Service):
    """Fetches closes from its own source, which are never quite ours, and inserts what is new."""

    def step(self) -> None:
        """A few days of one ticker in one transaction, each looked for first; often today's too."""
        today = self.program.clock.now().date()
        known = self.program.known_symbols()
        symbol = self.random.choice(known if self.random.random() < 0.5 else known[-2:])
        span = (today - self.program.prices_from).days
        if self.random.random() < 0.2:
            days = [today]  # not over, and so not its close
        else:
            first = self.program.prices_from + dt.timedelta(days=self.random.randint(0, span))
            days = [first + dt.timedelta(days=n) for n in range(3)]
        days = [
            day
            for day in days
            if day <= today and (day.isoweekday() < 6 or symbol.endswith("-USD"))
        ]
        self.transaction("price", "market_prices", lambda: self._store(symbol, days))

    def _store(self, symbol: str, days: list[dt.date]) -> bool:
        look = "SELECT id FROM market_prices WHERE symbol = %s AND date = %s LIMIT 1"
        missing = [day for day in days if not self.one(look, symbol, day)]
        self.think()
        for day in missing:
            close = self.random.uniform(5, 900)
            self.program.insert(
                self.conn,
                "market_prices",
                {
                    "symbol": symbol,
                    "date": day,
                    "open": close,
                    "high": close * 1.01,
                    "low": close * 0.99,
                    "close": close,
                    "adjusted_close": close,
                    "volume": 1000,
                    "source": "yfinance",
                    "last_updated": self.program.clock.now(),
                    "is_market_open": True,
                    "has_split": False,
                    "has_dividend": False,
                },
            )
        return bool(missing)


class OutcomeCalculator(Service):
    """Writes an outcome for what a prediction names: at once, or later, and not always a right one."""

    def __init__(self, program: Program, number: int) -> None:
        super().__init__(program, number)
        self._seen = 0

    def step(self) -> None:
        """The newest prediction, as soon as it is there, or any other."""
        made = self.program.predictions
        if len(made) > self._seen and self.random.random() < 0.7:
            number = made[-1]
            self._seen = len(made)
        elif made:
            number = self.random.choice(made)
        else:
            return
        row = self.one(
            "SELECT assets, market_impact, confidence FROM predictions WHERE id = %s", number
        )
        self.conn.commit()
        assert row is not None
        for symbol in tickers(row["assets"]):
            self.register(symbol, number)
            self._outcome(number, symbol, row)

    def _outcome(self, number: int, symbol: str, prediction: DictRow) -> None:
        word = (prediction["market_impact"].get(symbol) or "").lower()
        values: Values = {
            "prediction_id": number,
            "symbol": symbol,
            "prediction_date": self.program.clock.now().date(),
            "prediction_sentiment": word if word in {"bullish", "bearish", "neutral"} else None,
            "prediction_confidence": prediction["confidence"],
            "is_complete": self.random.random() < 0.1,
        }
        if self.random.random() < 0.5:
            # From the wrong day, or from a day that was not over.
            values |= {
                "price_at_prediction": 111.0,
                "price_t1": 222.0,
                "return_t1": 100.0,
                "correct_t1": True,
                "pnl_t1": 1000.0,
                "price_t3": 55.5,
                "return_t3": -50.0,
                "last_price_update": self.program.clock.now(),
            }

        def body() -> bool:
            if self.one(
                "SELECT id FROM prediction_outcomes WHERE prediction_id = %s AND symbol = %s LIMIT 1",
                number,
                symbol,
            ):
                return False
            self.think()
            self.program.insert(self.conn, "prediction_outcomes", values)
            return True

        self.transaction("outcome", "prediction_outcomes", body)


def tickers(assets: Any) -> list[str]:
    """What it takes for tickers, each once, in upper case."""
    names = [str(asset).strip().upper() for asset in assets or []]
    return [
        name
        for name in dict.fromkeys(names)
        if name and len(name) <= 10 and all(sign.isalnum() or sign in "-.^=" for sign in name)
    ]


def main() -> int:
    """Run all services until the time is up; returns the exit code, 1 when one of them died."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url")
    parser.add_argument("--symbols", required=True, help="comma-separated")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--now", type=dt.datetime.fromisoformat, default=dt.datetime.now(dt.UTC))
    parser.add_argument("--prices-from", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--pause", type=float, default=0.02, help="mean seconds between steps")
    parser.add_argument("--seed", type=int, default=1)
    program = Program(parser.parse_args())
    died: list[str] = []

    def guarded(service: Service) -> None:
        try:
            service.run()
        except Exception as error:
            died.append(f"{type(service).__name__}: {error!r}")
            raise

    services = [
        kind(program, number)
        for number, kind in enumerate((Analyzer, PriceCollector, OutcomeCalculator))
    ]
    threads = [threading.Thread(target=guarded, args=[service]) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(program.log.line() + "\n")
    sys.stderr.write("".join(f"{line}\n" for line in died))
    return 1 if died else 0


if __name__ == "__main__":
    sys.exit(main())
