"""The middle floor: tickers, sessions, prices and outcomes. It does not know the queue.

Every function takes a connection or the `Database` and computes in SQL functions. The caller (a
worker's lane, a command) decides in which transaction that happens.
"""
