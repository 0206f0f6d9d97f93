"""Keep secrets out of texts that are kept: by their form (`redact`), or by their value (`Secrets`).

Clean first and cut later: a text that is cut within a secret shows the rest of it. So nothing here
cuts before it has cleaned, and whatever is cut elsewhere has been here before. Where a form is
doubtful, too much is masked rather than too little.
"""

import base64
import functools
import html
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

MASK = "***"

# What is longer is a stranger's; nobody reads so much of it, and each rule reads the whole text.
_MOST_TO_REDACT = 20_000

_NAME = (
    r"(?:pass_?(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|apikey|credential"
    r"|(?:private|access|auth|signing|account)[_-]?key)[\w-]{0,30}"
)
# A closing quote, and what stands between a name and its value in JSON, Python, headers and DSNs.
_BETWEEN = r"(?:\\{0,8}[\"'])?\s{0,5}(?:=>|=|:|,(?=\s{0,3}b?[\"']))\s{0,5}(?:b(?=[\"']))?"

# A value in quotes may have escaped ones inside; without its last quote it is what was cut off.
_QUOTED = r"(?P<escape>\\{0,8})(?P<quote>[\"'])(?:(?!(?<!\\)(?P=escape)(?P=quote)).)*"
_BARE = r"(?:\\.|[^\s\\])+"


# What a message says of a setting: "FMP_API_KEY: not set".
_SAYING = re.compile(r"[A-Z_]+:\s+[a-z]{1,12}[,.;:]?")


def _mask_value(found: re.Match[str]) -> str:
    if _SAYING.fullmatch(found[0]):
        return found[0]
    quoted = (found["escape"] or "") + (found["quote"] or "")
    return found["name"] + quoted + MASK


def _mask_userinfo(found: re.Match[str]) -> str:
    """Keep the user of a URL, mask the rest; a colon after the @ of an address is no password."""
    user, colon, _ = re.split(r"(:|%3a)", found["user"] + "::", maxsplit=1, flags=re.IGNORECASE)[:3]
    is_password = len(user) < len(found["user"])
    return found["scheme"] + (f"{user}{colon}{MASK}" if is_password else found["user"]) + "@"


_RULES = (
    # The address of a webhook is its password: whoever has it may write there.
    (
        re.compile(
            r"(?i)(?P<name>/api/(?:v\d{1,2}/)?webhooks/\d{1,25}/|\bhooks\.slack\.com/[a-z]{1,20}/)"
            r"[^\s\"'<>?#]+"
        ),
        lambda found: found["name"] + MASK,
    ),
    # To the last @ of the word, because a password may have @, :, / and ? in it; of a database's
    # URL to the last of the line, because it may have spaces.
    (
        re.compile(
            r"(?i)(?P<scheme>\b(?:postgres(?:ql)?|mysql|mariadb|mongodb|redis|amqp)[a-z0-9+.-]{0,20}://)"
            r"(?P<user>[^\r\n@]{0,2000}(?:@[^\r\n@]{0,2000})*)@"
        ),
        _mask_userinfo,
    ),
    (
        re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]{0,20}://)(?P<user>\S{0,2000})@"),
        _mask_userinfo,
    ),
    # NAME=value within quotes: 'PGPASSWORD=two words'. Before the value's own form is looked for.
    (
        re.compile(
            rf"(?is)(?P<escape>\\{{0,8}})(?P<quote>[\"'])(?P<name>[\w.-]{{0,60}}{_NAME}=)(?![\"'\\])"
            r"(?:(?!(?<!\\)(?P=escape)(?P=quote)).)*"
        ),
        lambda found: f"{found['escape']}{found['quote']}{found['name']}{MASK}",
    ),
    # A query's parameter ends where the next one begins.
    (
        re.compile(
            rf"(?i)(?P<name>[?&;](?:[\w.-]{{0,60}}{_NAME}|key|sig|signature|crumb|auth)=)"
            r"[^&#\s\"'<>]*"
        ),
        lambda found: found["name"] + MASK,
    ),
    (
        re.compile(
            rf"(?is)(?P<name>(?:\b(?:proxy-)?authorization|\b(?:set-)?cookie2?){_BETWEEN})"
            rf"(?:{_QUOTED}|[^\r\n\"']+)"
        ),
        _mask_value,
    ),
    (
        re.compile(rf"(?is)(?P<name>{_NAME}{_BETWEEN})(?:{_QUOTED}|(?!\*\*\*){_BARE})"),
        _mask_value,
    ),
    (
        re.compile(rf"(?is)(?P<name>--[\w-]{{0,60}}{_NAME}\s)(?:{_QUOTED}|{_BARE})"),
        _mask_value,
    ),
    (
        re.compile(r"(?i)(?<![\w.-])(?P<name>(?:crumb|key|sig|signature)=)(?:[^&#\s\"'<>]+)"),
        lambda found: found["name"] + MASK,
    ),
    (
        re.compile(r"(?i)(?P<name>\bbearer\s+)[^\s\"',;]+"),
        lambda found: found["name"] + MASK,
    ),
    (
        re.compile(
            r"(?P<name>\b[Bb](?:asic|ASIC)\s+)(?=\S*[A-Z0-9+/=])[A-Za-z0-9+/_-]{6,}={0,2}(?!\w)"
        ),
        lambda found: found["name"] + MASK,
    ),
)


def redact(text: str) -> str:
    """Return the text without what has the form of a password or key."""
    for pattern, mask in _RULES:
        text = pattern.sub(mask, text)
    return text


def one_line(text: str) -> str:
    """Return a stranger's text as one line without secrets that Postgres and JSON can hold."""
    whole = redact(text[:_MOST_TO_REDACT]).replace("\0", " ").encode(errors="replace").decode()
    return " ".join(whole.split())[:500]


# A fragment of this many characters of a secret is as good as the secret to whoever guesses.
_FRAGMENT = 8
# What is shorter is no secret, and would be found in every price.
_LEAST = 4
# To find where a fragment stands takes a step for each byte; of what is longer nothing is left.
_MOST_TO_MASK = 256 * 1024
# In a large text: each takes a step to read, and prices have none.
_MOST_ESCAPES = 100_000
# A text within a text within a text: JSON of percent encoding of HTML.
_DEEPEST = 4

# One character as a body may write it. NUL is UTF-16's; a line's end may stand within base64.
_WRITTEN = re.compile(
    rb"%(?P<percent>[0-9a-f]{2})|\\u(?P<unit>[0-9a-f]{4})|\\x(?P<hex>[0-9a-f]{2})"
    rb"|\\(?P<control>[nrt])|\\(?P<escaped>.)"
    rb"|&\#x0{0,9}(?P<entity>[0-9a-f]{1,6});?|&\#0{0,9}(?P<decimal>[0-9]{1,7});?"
    rb"|&(?P<named>[a-z]{2,31};)|[\0\r\n]+",
    re.IGNORECASE | re.DOTALL,
)


def _meant(found: re.Match[bytes]) -> bytes:
    """The character that is written so; nothing for what only separates."""
    kind, text = found.lastgroup, found[found.lastgroup or 0]
    match kind:
        case "percent" | "hex":
            return bytes.fromhex(text.decode())
        case "unit" | "entity":
            return _character(int(text, 16))
        case "decimal":
            return _character(int(text))
        case "named":
            meant = html.unescape(f"&{text.decode().lower()}")
            return meant.encode() if len(meant) == 1 else found[0]
        case "escaped":
            return text
    return b""


def _character(point: int) -> bytes:
    return chr(point).encode(errors="replace") if point < 0x110000 else b""


class Secrets:
    """Secrets of which no fragment may be kept, however a text writes them.

    Plain, in other cases, percent-encoded, with + for a space, escaped as in JSON or HTML, in
    base64 wherever in its text, in hexadecimal digits, in UTF-16, and some of it in each way.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._fragments: dict[int, frozenset[bytes]] = {}
        found: dict[int, set[bytes]] = {}
        needles: set[bytes] = set()
        for form in {form for value in values for form in _forms(value)}:
            size = min(_FRAGMENT, len(form))
            places = range(len(form) - size + 1)
            found.setdefault(size, set()).update(form[at : at + size] for at in places)
            # Each fragment has one of these in it, and there are five times fewer of them.
            short = min(5, size)
            needles |= {form[at : at + short] for at in range(0, len(form) - short + 1, 4)}
        self._fragments = {size: frozenset(each) for size, each in found.items()}
        self._needles = sorted(needles)

    def clean(self, text: str) -> str:
        """The text with *** for each of them."""
        raw = text.encode(errors="surrogatepass")
        cleaned = self.clean_bytes(raw)
        return text if cleaned is raw else cleaned.decode(errors="replace")

    def clean_bytes(self, body: bytes) -> bytes:
        """The body with *** for each of them; of a large one that has some, only that it had."""
        is_large = len(body) > _MOST_TO_MASK
        if is_large and sum(map(body.count, (b"%", b"\\", b"&"))) > _MOST_ESCAPES:
            return b"*** (%d bytes, escaped too often to be read)" % len(body)
        if not self._is_in(body):
            return body
        if is_large:
            return b"*** (%d bytes with a key in them)" % len(body)
        spans = list(_merged(self._spans(body)))
        if not spans:
            return body
        edges = [0, *[edge for span in spans for edge in span], len(body)]
        kept = [body[start:end] for start, end in list(pairwise(edges))[::2]]
        return MASK.encode().join(kept)

    def _is_in(self, body: bytes) -> bool:
        """Whether a fragment is in it; fast, because nearly always none is."""
        for view in _views(body):
            if any(needle in view for needle in self._needles) and any(
                fragment in view for each in self._fragments.values() for fragment in each
            ):
                return True
        return False

    def _spans(self, body: bytes) -> Iterator[tuple[int, int]]:
        """Where fragments stand in the body, in each of the ways in which it can be read."""
        view, places = body, list(range(len(body) + 1))
        for _ in range(_DEEPEST):
            lower = view.lower()
            for size, fragments in self._fragments.items():
                for at in range(len(lower) - size + 1):
                    if lower[at : at + size] in fragments:
                        yield places[at], places[at + size]
            read, mapped, last = bytearray(), [], 0
            for found in _WRITTEN.finditer(view):
                read += view[last : found.start()]
                mapped += places[last : found.start()]
                meant = _meant(found)
                read += meant
                mapped += [places[found.start()]] * len(meant)
                last = found.end()
            if not last:
                return
            view, places = bytes(read + view[last:]), mapped + places[last:]


def _views(body: bytes) -> Iterator[bytes]:
    """The body in lower case, then with what is escaped in it as what is meant, and so on."""
    for _ in range(_DEEPEST):
        yield body.lower()
        read = _WRITTEN.sub(_meant, body)
        if read == body:
            return
        body = read


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    last: tuple[int, int] | None = None
    for start, end in sorted(spans):
        if last is None or start > last[1]:
            if last is not None:
                yield last
            last = (start, end)
        else:
            last = (last[0], max(last[1], end))
    if last is not None:
        yield last


@functools.lru_cache(maxsize=64)
def _forms(value: str) -> frozenset[bytes]:
    """How a secret is written where no character stands for itself, all in lower case."""
    if len(value) < _LEAST:
        return frozenset()
    forms = {value.encode().lower(), value.replace(" ", "+").encode().lower()}
    if len(value) >= _FRAGMENT:  # shorter ones in base64 are as short as words
        for each in {value, value.lower(), value.upper()}:
            raw = each.encode()
            forms.add(raw.hex().encode())
            for before in range(3):
                # What depends on the bytes before it and behind it is left out.
                first, whole = (0, 2, 3)[before], (before + len(raw)) * 8 // 6
                text = base64.b64encode(bytes(before) + raw)[first:whole].lower()
                forms |= {text, text.translate(bytes.maketrans(b"+/", b"-_"))}
    return frozenset(forms)
