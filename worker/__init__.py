"""The top floor: claims events, runs their handlers, and sweeps for work without an event.

Only `handlers`, `sweep` and `daily_sync` call the market; the queue does not know what an event
does.
"""
