"""Single statements of the other program, as its generation requires them."""

import datetime as dt
from typing import Any

from tests.support.db import Conn, value

# What it calls now: when it writes a row, not when the post was published.
NOW = dt.datetime.now(dt.UTC)


def insert_prediction(
    conn: Conn,
    generation: str,
    assets: str,
    *,
    published: dt.datetime | None = None,
    shitpost: dt.datetime | None = None,
    post: dt.datetime | None = None,
) -> int:
    """Insert a prediction and the post that it is about; returns its id.

    published: when its signal (older: its shitpost) says that it was; shitpost: when a
    shitpost beside the signal says so; post: its own post_timestamp.
    """
    values: dict[str, Any] = {
        "assets": assets,
        "market_impact": "{}",
        "confidence": 0.5,
        "analysis_status": "completed",
        "created_at": NOW,
        "updated_at": NOW,
    }
    key = str(value(conn, "SELECT 'new-' || max(id) FROM predictions"))
    if generation == "older":
        shitpost = shitpost or published
    elif published:
        values["signal_id"] = key
        conn.execute(
            "INSERT INTO signals (signal_id, source, author_username, published_at, created_at,"
            " updated_at) VALUES (%s, 'truth_social', 'poster', %s, %s, %s)",
            [key, _naive(published) if generation == "newer" else published, NOW, NOW],
        )
    if shitpost:
        values["shitpost_id"] = key
        conn.execute(
            'INSERT INTO truth_social_shitposts (shitpost_id, content, "timestamp", username,'
            " created_at, updated_at) VALUES (%s, 'text', %s, 'poster', %s, %s)",
            [key, _naive(shitpost), NOW, NOW],
        )
    if generation != "older":
        values["post_timestamp"] = post
    names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    statement = f"INSERT INTO predictions ({names}) VALUES ({marks}) RETURNING id"  # noqa: S608
    return int(value(conn, statement, list(values.values())))


def _naive(moment: dt.datetime) -> dt.datetime:
    """The same moment as a timestamp without a zone, in UTC."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None)
