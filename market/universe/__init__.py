"""The universe: the registry of tickers, their calendars and sessions, and lists of symbols.

What a symbol is, and which sessions it trades, is decided here once, for prices and outcomes alike.
"""
