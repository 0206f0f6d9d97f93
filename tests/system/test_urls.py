"""`worker url`: what it shows, and where the password goes instead."""

import stat
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import conninfo

from sql.urls import place, with_passfile, without_password
from tests.support.cli import command

WORD = "hid:d\\en?#w@rd&=%/"


def with_password(url: str) -> str:
    """The tests' server trusts everybody, so that any password does."""
    parts = {**conninfo.conninfo_to_dict(url), "password": WORD}
    query = "&".join(f"{name}={quote(str(text), safe='')}" for name, text in parts.items())
    return f"postgresql://reckoner@/?{query}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:pw@h:5/d?sslmode=require", "postgresql://u@h:5/d?sslmode=require"),
        ("postgresql://u:p?w#x@h/d", "postgresql://u@h/d"),
        ("postgresql://:pw@h/d", "postgresql://@h/d"),
        ("postgresql://u@h/d?password=pw&user=x&sslpassword=pw", "postgresql://u@h/d?user=x"),
        ("postgresql://u@h/d?pass%77ord=pw", "postgresql://u@h/d"),
        ("postgresql://h,i:6/d?target_session_attrs=any", None),
        ("postgresql://reckoner@/reckoner?host=%2Ftmp%2Fx", None),
        ("postgresql:///d?options=-c%20x%3Dy", None),
        ("postgresql://u:p,w@h1:5,h2:6/d?host=%2Frun", "postgresql://u@h1:5,h2:6/d?host=%2Frun"),
        ("host=h password='p w\\'x' user=u", "user=u host=h"),
    ],
)
def test_a_url_without_its_password(url: str, shown: str | None) -> None:
    assert without_password(url) == (shown or url)
    without = {
        name: text
        for name, text in conninfo.conninfo_to_dict(url).items()
        if name not in {"password", "sslpassword"}
    }
    assert conninfo.conninfo_to_dict(without_password(url)) == without


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://u:hidden@h/d", "database d on h:5432"),
        ("postgresql://u:hidden@h1:5,h2:6/d", "database d on h1:5, h2:6"),
        ("postgresql://u:hidden@h1,h2:6/d", "database d on h1:5432, h2:6"),
        ("postgresql://u@/d?host=%2Frun%2Fpg&password=hidden", "database d on /run/pg"),
        ("host=h port=7 user=u password=hidden", "database u on h:7"),
        ("service=shop password=hidden", "service shop"),
    ],
)
def test_the_place_that_sentences_name(
    url: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    assert place(url) == named


def test_the_place_has_libpqs_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "h")
    monkeypatch.setenv("PGDATABASE", "d")
    assert place("postgresql://") == "database d on h:5432"


@pytest.mark.parametrize("form", ["url", "keywords"])
def test_the_password_file_is_libpqs_and_ours_alone(url: str, form: str, tmp_path: Path) -> None:
    whole = with_password(url)
    if form == "keywords":
        whole = conninfo.make_conninfo("", **conninfo.conninfo_to_dict(whole))
    path = tmp_path / "a file"
    for _ in range(2):  # and again over its own
        shown = with_passfile(whole, path)
    assert WORD not in shown
    assert quote(WORD, safe="") not in shown
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["a file"]
    with psycopg.connect(shown) as conn:
        # libpq has it from the file; this is where it would have gone to a server that asks.
        assert conn.pgconn.password == WORD.encode()


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    path.write_text("h:5:d:u:their password\n")
    with pytest.raises(FileExistsError, match="not ours"):
        with_passfile("postgresql://u:pw@h/d", path)
    assert path.read_text() == "h:5:d:u:their password\n"


def test_no_file_where_there_is_no_password(tmp_path: Path) -> None:
    assert with_passfile("postgresql://u@h/d", tmp_path / "pgpass") == "postgresql://u@h/d"
    assert not list(tmp_path.iterdir())


def test_the_command_shows_no_password_unless_it_is_asked_to(url: str, tmp_path: Path) -> None:
    whole = with_password(url)
    hidden = (WORD, quote(WORD, safe=""), "hid")
    plain = command(whole, "worker", "url")
    assert plain.returncode == 0, plain.stderr
    with psycopg.connect(plain.stdout.strip()) as conn:
        assert not conn.pgconn.password
    path = tmp_path / "pgpass"
    filed = command(whole, "worker", "url", "--passfile", str(path))
    for done in (plain, filed):
        assert not any(text in done.stdout + done.stderr for text in hidden)
    with psycopg.connect(filed.stdout.strip()) as conn:
        assert conn.pgconn.password == WORD.encode()
    asked = command(whole, "worker", "url", "--password")
    assert conninfo.conninfo_to_dict(asked.stdout.strip())["password"] == WORD

    path.write_text("theirs")
    refused = command(whole, "worker", "url", "--passfile", str(path))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "not ours" in refused.stderr
