"""Predictions with known skill on an invented market: shared days, overlapping horizons.

Prices are random walks with one factor that all symbols share, so that neither the rows of a
post, nor overlapping horizons, nor the symbols of a day are independent. Vectorised: a frame
as `outcomes_frame` gives it, without a database.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

SYMBOLS = np.array(["AAA", "BBB", "CCC", "DDD", "EEE", "FFF"])
NAMES = np.array(["bearish", "neutral", "bullish"])


@dataclass(frozen=True)
class Predictor:
    """Who predicts: how its calls are mixed, and how often it knows the outcome.

    mix: shares of bearish, neutral, bullish calls. skill: share of posts made with knowledge of
    what comes; all other calls are dealt out at random.
    """

    mix: tuple[float, float, float] = (0.3, 0.1, 0.6)
    skill: float = 0.0


def simulate(
    predictor: Predictor,
    *,
    seed: int,
    sessions: int = 7,
    years: float = 3,
    posts_per_day: float = 3,
    symbols_per_post: int = 2,
    drift: float = 0.0004,
    volatility: float = 1.0,
) -> pd.DataFrame:
    """One horizon's frame of outcomes.

    drift: of the log price, per session. volatility: 1 is 1.3 % a session.
    """
    generator = np.random.default_rng(seed)
    days = int(252 * years)
    factor = generator.normal(0, 0.008, (days + sessions, 1))
    own = generator.normal(0, 0.010, (days + sessions, len(SYMBOLS)))
    walk = np.vstack(
        [np.zeros((1, len(SYMBOLS))), np.cumsum(drift + volatility * (factor + own), axis=0)]
    )

    posts = generator.poisson(posts_per_day * days)
    entry = np.sort(generator.integers(0, days, posts))
    knows = generator.random(posts) < predictor.skill
    which = np.argsort(generator.random((posts, len(SYMBOLS))), axis=1)[:, :symbols_per_post]
    post = np.repeat(np.arange(posts), symbols_per_post)
    symbol, start = which.ravel(), entry[post]
    returns = (np.exp(walk[start + sessions, symbol] - walk[start, symbol]) - 1) * 100

    came = np.where(returns > 0.5, 1, np.where(returns < -0.5, -1, 0))
    said = generator.choice([-1, 0, 1], len(post), p=predictor.mix)
    said = np.where(knows[post], came, said)
    calendar = np.busday_offset(np.datetime64("2020-01-06"), np.arange(days + sessions), "forward")
    confidence = np.round(
        np.clip(0.6 + 0.25 * knows[post] + generator.normal(0, 0.1, len(post)), 0, 1), 2
    )
    return pd.DataFrame(
        {
            "prediction_id": post + 1,
            "symbol": pd.Categorical(SYMBOLS[symbol]),
            "horizon": f"t{sessions}",
            "sessions": sessions,
            "moment": pd.to_datetime(calendar[start], utc=True) + pd.Timedelta(hours=15),
            "prediction_date": calendar[start],
            "entry_session": calendar[start],
            "exit_session": calendar[start + sessions],
            "sentiment": pd.Categorical(NAMES[said + 1]),
            "direction": said.astype(float),
            "confidence": confidence,
            "confidence_tier": "0.0-0.5",
            "sector": np.nan,
            "model": np.nan,
            "state": "known",
            "return_pct": returns,
            "total_return_pct": returns,
            "correct": pd.array(said == came, dtype="boolean"),
            "bullish_correct": pd.array(came == 1, dtype="boolean"),
            "pnl_usd": returns * 10,
            "benchmark_return_pct": np.nan,
            "excess_pct": np.nan,
            "total_excess_pct": np.nan,
        }
    )
