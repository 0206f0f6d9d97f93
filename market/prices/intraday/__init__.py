"""Five-minute bars: plan → select → acquire → fetch → validate → store, as daily bars.

`backfill` fetches finished sessions of many symbols, `polling` what became final since the last
answer. Both claim a symbol before they ask for it, so that no two workers ask for the same.
"""
