"""Spellings of symbols with what the rules make of them, and rules of an operator's."""

from tests.support.db import Conn

# As predictions write it: what providers call it (None: the same), calendar, asset type.
SPELLINGS: list[tuple[str, str | None, str, str]] = [
    ("FB", "META", "XNYS", "stock"),
    ("RTN", "RTX", "XNYS", "stock"),
    ("CBS", "PARA", "XNYS", "stock"),
    ("META", None, "XNYS", "stock"),
    ("FBX", None, "XNYS", "stock"),  # a rule is for the whole symbol
    ("XFB", None, "XNYS", "stock"),
    ("BRK.B", "BRK-B", "XNYS", "stock"),
    ("BRK/B", "BRK-B", "XNYS", "stock"),
    ("BRK-B", None, "XNYS", "stock"),
    ("BF.A", "BF-A", "XNYS", "stock"),
    ("NYSE:BRK.B", "BRK-B", "XNYS", "stock"),
    ("NASDAQ:AAPL", "AAPL", "XNYS", "stock"),
    ("KRX:005930", "005930.KS", "XKRX", "stock"),
    ("005930.KS", None, "XKRX", "stock"),
    ("KRX:5930", None, "?KRX:", "stock"),  # not a number of that exchange
    ("VOD.L", None, "XLON", "stock"),
    ("LON:VOD", "VOD.L", "XLON", "stock"),
    ("SAP.DE", None, "XETR", "stock"),
    ("ETR:SAP", "SAP.DE", "XETR", "stock"),
    ("SHOP.TO", None, "XTSE", "stock"),
    ("0700.HK", None, "XHKG", "stock"),
    ("HKG:0700", "0700.HK", "XHKG", "stock"),
    ("7203.T", None, "XTKS", "stock"),
    ("BHP.AX", None, "XASX", "stock"),
    # Bare coins' names are other instruments' on the exchanges: funds.
    ("BTC", None, "XNYS", "stock"),
    ("ETH", None, "XNYS", "stock"),
    ("BTC-USD", None, "24/7", "crypto"),
    ("BTC/USD", "BTC-USD", "24/7", "crypto"),
    ("X:BTCUSD", "BTC-USD", "24/7", "crypto"),
    ("X:SHIBUSDT", "SHIB-USDT", "24/7", "crypto"),
    ("BINANCE:ETHUSDT", "ETH-USDT", "24/7", "crypto"),
    ("COINBASE:SOL-USD", "SOL-USD", "24/7", "crypto"),
    ("BTCUSD", "BTC-USD", "24/7", "crypto"),
    ("DOGEUSDT", "DOGE-USDT", "24/7", "crypto"),
    ("ETH-EUR", None, "24/7", "crypto"),
    ("^GSPC", None, "XNYS", "index"),
    ("CL=F", None, "CMES", "commodity"),
    ("AAPL", None, "XNYS", "stock"),
]


def rule(
    conn: Conn,
    pattern: str,
    provider_symbol: str | None = None,
    *,
    calendar: str | None = None,
    priority: int = 0,
) -> None:
    """An operator's row."""
    conn.execute(
        "INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note)"
        " VALUES (%s, %s, %s, %s, 'an operator''s')",
        [pattern, provider_symbol, calendar, priority],
    )
