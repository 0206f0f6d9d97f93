"""A database's URL to be shown: without its password, which goes into a file for libpq instead.

`place` is for sentences: which database, on which host.

What stands on a command line is in the list of processes, for everybody on the machine.
"""

import os
from pathlib import Path
from urllib.parse import quote, unquote

from psycopg import conninfo
from psycopg.pq import Conninfo

_PASSWORDS = frozenset({"password", "sslpassword"})
_MARK = "# Written by Reckoner; its passwords are those of DATABASE_URL."


def without_password(url: str) -> str:
    """Return a libpq URL or `key=value` string without passwords; all else stays."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        known = {k: v for k, v in conninfo.conninfo_to_dict(url).items() if k not in _PASSWORDS}
        return conninfo.make_conninfo("", **known)
    # As libpq reads it: the credentials end at an @ before the first slash, and may have ? and #.
    authority, slash, path = rest.partition("/")
    credentials, at, host = authority.partition("@")
    if not at:
        credentials, host = "", authority
    user = credentials.partition(":")[0]
    place, question, query = f"{host}{slash}{path}".partition("?")
    kept = [text for text in query.split("&") if unquote(text.partition("=")[0]) not in _PASSWORDS]
    shown = f"{scheme}://{user}{at}{place}{question if any(kept) else ''}{'&'.join(kept)}"
    if _PASSWORDS & conninfo.conninfo_to_dict(shown).keys():
        raise ValueError("the URL's password cannot be told from the rest; use PGPASSFILE")
    return shown


def place(url: str) -> str:
    """Return "database shop on db.example:5432" for a libpq URL, with libpq's own defaults.

    Several hosts are all named; a server's socket is named by its folder.
    """
    given = {
        option.keyword.decode(): option.val.decode(errors="replace")
        for option in Conninfo.get_defaults()
        if option.val and option.keyword in {b"host", b"port", b"user", b"dbname", b"service"}
    }
    given |= {name: str(text) for name, text in conninfo.conninfo_to_dict(url).items()}
    if "service" in given and "host" not in given:
        return f"service {given['service']}"
    hosts = (given.get("host") or given.get("hostaddr") or "a local socket").split(",")
    ports = given.get("port", "5432").split(",")
    shown = [
        host
        if host.startswith(("/", "@", "a "))
        else f"{host}:{ports[min(n, len(ports) - 1)] or '5432'}"
        for n, host in enumerate(hosts)
    ]
    name = given.get("dbname") or given.get("user") or "of the user's name"
    return f"database {name} on {', '.join(shown)}"


def with_passfile(url: str, path: Path) -> str:
    """Write the URL's password into a file that only we can read; return the URL that names it.

    Raises ValueError for a password that such a file cannot hold, FileExistsError where the file
    is somebody else's, OSError.
    """
    shown = without_password(url)
    password = conninfo.conninfo_to_dict(url).get("password")
    if password is None:
        return shown
    password = str(password)
    if set(password) & set("\r\n\0"):
        raise ValueError("a password file cannot hold a password of several lines")
    path = path.absolute()
    if path.exists() and not path.read_text(errors="replace").startswith(_MARK):
        raise FileExistsError(f"{path} is there and not ours; name another file")
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    # Written to a new file that is then renamed: no other user opened it before its mode was set.
    new = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{_MARK}\n*:*:*:*:{escaped}\n")
    new.replace(path)
    if "://" not in shown:
        return conninfo.make_conninfo(shown, passfile=str(path))
    return f"{shown}{'&' if '?' in shown else '?'}passfile={quote(str(path), safe='')}"
