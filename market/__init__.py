"""The middle floor: tickers, sessions, prices and outcomes. Knows nothing of events.

Everything here takes a connection or the `Database`, computes in SQL functions, and leaves
it to the caller (a worker's lane, a command) in which transaction that happens.
"""
