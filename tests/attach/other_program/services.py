"""The other program's three services: predictions, prices, outcomes."""

import datetime as dt
import json
from typing import Any

from psycopg.rows import DictRow

from tests.attach.other_program.base import Program, Service, Values

# Of a hundred predictions so many are not `completed`.
UNFINISHED = 10
WORDS = ("bullish", "bearish", "neutral", "Bullish", "mixed")
NO_TICKERS = ("US economy", "", "$$$", "Big Tech and the rest of them")


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
