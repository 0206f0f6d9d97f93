"""Shell completion: symbols from the registry.

TAB must be quick and must never print an error into the command line: a database that is away, slow
or not started gives no suggestions. The shell interprets a suggestion as part of the command line,
so only symbols are suggested, and never a word that begins like an option.
"""

import re

import psycopg

from sql import embedded
from sql.settings import DatabaseSettings, SettingsError, load

_MOST = 200
# Characters without a meaning in a shell; rows of other programs may hold `;` and `$(`.
_SYMBOL = "[A-Z0-9.^=:/][-A-Z0-9.^=:/]{0,19}"


def complete_symbol(incomplete: str) -> list[str]:
    """Return registered symbols with this beginning, in any case; none after a timeout."""
    try:
        settings = load(DatabaseSettings)
        path = settings.embedded_path
        # An embedded server is used where it runs, and not started for this.
        url = settings.database_url if path is None else embedded.running(path)
        if url is None:
            return []
        with psycopg.connect(url, connect_timeout=2, prepare_threshold=None) as conn:
            conn.execute("SET LOCAL statement_timeout = 1000")
            rows = conn.execute(
                "SELECT symbol FROM public.ticker_registry WHERE starts_with(symbol, upper(%s))"
                """ AND symbol COLLATE "C" ~ %s ORDER BY symbol LIMIT %s""",
                [incomplete, f"^{_SYMBOL}$", _MOST],
            ).fetchall()
    except (psycopg.Error, SettingsError, OSError, UnicodeError):
        return []
    symbols = [row[0] for row in rows if re.fullmatch(_SYMBOL, row[0])]
    # In the case of the input: the shell drops a suggestion that does not begin with it.
    return [symbol.lower() if incomplete.islower() else symbol for symbol in symbols]
