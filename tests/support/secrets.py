"""Ways to write a key, and a look for its fragments in a text."""

import base64
import html
import json
import string
from collections.abc import Callable
from urllib.parse import quote, quote_plus

KEY = "K3Y+s3cr3t/value=Zq8"


def readings(text: str) -> list[str]:
    """All that a reader may make of a text, for a few turns."""
    found = [text.lower()]
    for start in (text, text.replace("\\\\", "\\")):  # JSON in JSON
        turn = start
        for _ in range(3):
            turn = _decoded(_decoded(_decoded(html.unescape(turn), "\\u00"), "\\x"), "%")
            turn = turn.replace("\\\\", "\\").replace("\\/", "/")
            found.append(turn.lower())
    return found


def _decoded(text: str, escape: str) -> str:
    first, *parts = text.split(escape)
    return first + "".join(
        chr(int(part[:2], 16)) + part[2:] if is_hex(part[:2]) else escape + part for part in parts
    )


def is_hex(text: str) -> bool:
    return len(text) == 2 and set(text) <= set(string.hexdigits)


def fragments(key: str) -> set[str]:
    """Each eight characters of a key, and how base64 and hexadecimal digits write them."""
    eights = {key[at : at + 8].lower() for at in range(len(key) - 7)}
    for case in (key, key.lower(), key.upper()):
        for before in range(3):
            text = base64.b64encode(bytes(before) + case.encode())[4:-4].decode().lower()
            eights |= {text[at : at + 10] for at in range(len(text) - 9)}
    return eights | {key[at : at + 8].encode().hex() for at in range(len(key) - 7)}


def shows(text: str, key: str = KEY) -> list[str]:
    """The fragments of the key that a text shows to whoever decodes it."""
    read = readings(text)
    joined = [each.replace("\n", "").replace("\r", "").replace("\0", "") for each in read]
    return [each for each in fragments(key) if any(each in text for text in (*read, *joined))]


def based(prefix: bytes) -> Callable[[str], str]:
    return lambda key: base64.b64encode(prefix + key.encode() + b" end").decode()


WRITINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": lambda k: quote(k, safe=""),
    "percent, lower": lambda k: quote(k, safe="").replace("%2B", "%2b").replace("%3D", "%3d"),
    "percent, all": lambda k: "".join(f"%{b:02X}" for b in k.encode()),
    "percent, all, lower": lambda k: "".join(f"%{b:02x}" for b in k.encode()),
    "percent, twice": lambda k: quote(quote(k, safe=""), safe=""),
    "form": quote_plus,
    "json": lambda k: json.dumps(k)[1:-1],
    "json, slashes": lambda k: k.replace("/", "\\/"),
    "json, all": lambda k: "".join(f"\\u{ord(c):04x}" for c in k),
    "json, all, upper": lambda k: "".join(f"\\u{ord(c):04X}" for c in k),
    "json in json": lambda k: json.dumps("".join(f"\\u{ord(c):04x}" for c in k))[1:-1],
    "html": lambda k: html.escape(k).replace("+", "&plus;").replace("/", "&sol;"),
    "html, decimal": lambda k: "".join(f"&#{ord(c)};" for c in k),
    "html, hex": lambda k: "".join(f"&#x{ord(c):X};" for c in k),
    "repr": lambda k: "".join(f"\\x{ord(c):02x}" for c in k),
    "lower": str.lower,
    "upper": str.upper,
    "base64 at 0": based(b""),
    "base64 at 1": based(b"u"),
    "base64 at 2": based(b"u:"),
    "base64, url-safe": lambda k: base64.urlsafe_b64encode(b"u" + k.encode()).decode(),
    "base64, in lines": lambda k: based(b"user:")(k)[:11] + "\r\n" + based(b"user:")(k)[11:],
    "base64 of lower": lambda k: based(b"u")(k.lower()),
    "hex": lambda k: k.encode().hex(),
    "mixed": lambda k: k[:5] + quote(k[5:9], safe="") + "".join(f"\\u{ord(c):04x}" for c in k[9:]),
}
