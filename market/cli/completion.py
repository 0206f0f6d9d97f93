"""What the shell completes: symbols, from the registry.

Pressing TAB must be quick and must never print an error into the command line: a database
that is away, slow, or not even started gives no suggestions. What is suggested becomes part of the
command line, which the shell interprets: only what is a symbol, and no option, is.
"""

import re

import psycopg

from sql import embedded
from sql.settings import DatabaseSettings, SettingsError, load

_MOST = 200
# What the shell takes as it is; rows of other programs may hold `;` and `$(`.
_SYMBOL = "[A-Z0-9.^=:/][-A-Z0-9.^=:/]{0,19}"


def complete_symbol(incomplete: str) -> list[str]:
    """Registered symbols that begin with what was typed, in any case; none where it takes long."""
    try:
        settings = load(DatabaseSettings)
        path = settings.embedded_path
        # A private server is asked where it runs and not started for this.
        url = settings.database_url if path is None else embedded.running(path)
        if url is None:
            return []
        with psycopg.connect(url, connect_timeout=2, prepare_threshold=None) as conn:
            conn.execute("SET LOCAL statement_timeout = 1000")
            rows = conn.execute(
                "SELECT symbol FROM ticker_registry WHERE starts_with(symbol, upper(%s))"
                """ AND symbol COLLATE "C" ~ %s ORDER BY symbol LIMIT %s""",
                [incomplete, f"^{_SYMBOL}$", _MOST],
            ).fetchall()
    except (psycopg.Error, SettingsError, OSError, UnicodeError):
        return []
    symbols = [row[0] for row in rows if re.fullmatch(_SYMBOL, row[0])]
    # As it was typed, so that the shell sees its beginning in it.
    return [symbol.lower() if incomplete.islower() else symbol for symbol in symbols]
