"""Backups: a pg_dump file or a branch at Neon, each recorded as a row of `reckoner_backups`.

The row lets a command name the last backup before it rewrites many rows. This is a room of market/
and not of sql/schema/, because it writes files by `market.files` and reads the settings of Neon.
"""
