"""SQLAlchemy's ORM, row by row: looked up by its key, inserted or changed, one commit at the end."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from market.providers import Bar


class _Base(DeclarativeBase):  # type: ignore[misc] # not installed where types are checked
    pass


class _Price(_Base):
    __tablename__ = "market_prices"
    id = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    symbol = mapped_column(sa.String(20))
    date = mapped_column(sa.Date)
    open = mapped_column(sa.Double)
    high = mapped_column(sa.Double)
    low = mapped_column(sa.Double)
    close = mapped_column(sa.Double)
    adjusted_close = mapped_column(sa.Double)
    volume = mapped_column(sa.BigInteger)
    source = mapped_column(sa.String(50))


def store(url: str, symbol: str, bars: Sequence[Bar]) -> None:
    """Store one symbol's bars."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with Session(engine) as session:
        for bar in bars:
            query = sa.select(_Price).where(_Price.symbol == symbol, _Price.date == bar.date)
            price = session.scalars(query).first()
            if price is None:
                price = _Price(symbol=symbol, date=bar.date)
                session.add(price)
            price.open, price.high, price.low = bar.open, bar.high, bar.low
            price.close, price.adjusted_close = bar.close, bar.adjusted_close
            price.volume, price.source = bar.volume, "bench"
        session.commit()
    engine.dispose()
