"""Snapshots: the indicators of a symbol's stored bars, kept beside them, and their history.

`prepare` computes one before the transaction that stores new bars, `store` writes it in that
transaction, `refresh` computes those that are due, `history` keeps what was known on a day. SQL decides
whether a snapshot may be stored: sql/functions/43_snapshots.sql.
"""

from market.snapshots.benchmark import Benchmark
from market.snapshots.prepare import Prepared, Snapshot, prepare, store

__all__ = ["Benchmark", "Prepared", "Snapshot", "prepare", "store"]
