"""The universe: the registry of tickers, their calendars and sessions, and lists of symbols.

The definition of a symbol and of its sessions is here once, for prices and outcomes alike.
"""
