"""Files that are no files: pipes, devices, links that others planted, and files without end."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from market.files import FileRefusedError, append_to, publish, read_inside, read_regular, replaced
from market.providers import Kind
from tests.market.csv_text import HEADER, ask, lines
from tests.support.cli import command
from tests.support.process import ROOT, environment

_GOOD = lines("2024-01-02,10,12,9,11,1000")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        # A path of a socket has at most 107 bytes.
        os.chdir(path.parent)
        server.bind(path.name)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _outside(path: Path) -> None:
    other = path.parent.parent / "secret.csv"
    other.write_text(_GOOD)
    path.symlink_to(other)


def _relative(path: Path) -> None:
    _outside(path.with_name("x"))
    path.symlink_to("../secret.csv")


def _folder_outside(path: Path) -> None:
    (path.parent.parent / "elsewhere").mkdir()
    (path.parent.parent / "elsewhere" / path.name).write_text(_GOOD)
    (path.parent / "sub").symlink_to("../elsewhere")
    path.symlink_to(f"sub/{path.name}")


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


def _prefix(path: Path) -> None:
    """A folder whose name only begins like ours."""
    beside = path.parent.with_name(path.parent.name + "x")
    beside.mkdir()
    (beside / "a.csv").write_text(_GOOD)
    path.symlink_to(beside / "a.csv")


@pytest.mark.parametrize(
    "make", [_fifo, _socket, _device, _outside, _relative, _folder_outside, _circle, _prefix]
)
def test_the_csv_provider_reads_files_of_its_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "bars"
    folder.mkdir()
    make(folder / "ACME.csv")
    answer = ask(folder, None)
    assert answer.kind is Kind.BAD_ANSWER
    assert answer.payload is None
    assert answer.message.startswith("ACME.csv is ")
    # One such file says nothing of the others.
    assert ask(folder, _GOOD, "OTHER").kind is Kind.OK


def test_links_inside_the_folder_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    (folder / "..2024").mkdir(parents=True)
    (folder / "..2024" / "ACME.csv").write_text(_GOOD)
    # As Kubernetes mounts a ConfigMap; and a plain one, to an absolute path.
    (folder / "..data").symlink_to("..2024")
    (folder / "ACME.csv").symlink_to("..data/ACME.csv")
    (folder / "ALSO.csv").symlink_to(folder / "..2024" / "ACME.csv")
    (tmp_path / "link").symlink_to(folder)
    assert ask(folder, None).kind is Kind.OK
    assert ask(folder, None, "ALSO").kind is Kind.OK
    assert ask(tmp_path / "link", None).kind is Kind.OK


@pytest.mark.parametrize(
    "symbol", ["..", ".", "../secret", "/etc/passwd", "a\0b", "A" * 400, "\udcff", "", "%2e%2e"]
)
def test_a_symbol_is_a_name_in_the_folder(tmp_path: Path, symbol: str) -> None:
    folder = tmp_path / "bars"
    folder.mkdir()
    (tmp_path / "secret.csv").write_text(_GOOD)
    (tmp_path / ".csv").write_text(_GOOD)
    answer = ask(folder, None, symbol)
    assert answer.kind is Kind.UNKNOWN
    assert answer.payload is None


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "\n" + "x" * 5_000,
        HEADER + "," * 5_000 + "\n",
        HEADER + "\n" + ",\n" * 100_001,
        HEADER + "\n" + '"' + "\n" * 100_001,
        "x" * (8 * 2**20 + 1),
    ],
)
def test_a_file_without_end_is_a_bad_answer(tmp_path: Path, text: str) -> None:
    answer = ask(tmp_path, text)
    assert answer.kind is Kind.BAD_ANSWER
    assert len(answer.message) < 200


def test_a_file_of_another_program_that_grows_is_bounded_by_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 100)
    assert read_regular(path, 100) == b"x" * 100
    with pytest.raises(FileRefusedError, match="larger than 99 bytes"):
        read_regular(path, 99)
    with pytest.raises(FileNotFoundError):
        read_inside(tmp_path, "nothing", 1)


@pytest.mark.parametrize("kind", ["fifo", "device", "large", "surrogate"])
def test_a_list_of_symbols_is_a_file_of_bounded_size(url: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "list"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "large":
        path.write_bytes(b"A " * 2**20)
    else:
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[31m"))
    done = subprocess.run(
        [sys.executable, "-m", "market", "backfill", "--start", "2024-01-02", "--symbols", f"@{path}"],
        env=environment(url), cwd=ROOT, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == b""
    assert len(done.stderr.splitlines()) == 1
    assert b"\x1b" not in done.stderr
    assert done.stderr.isascii()


@pytest.mark.parametrize("kind", ["fifo", "link", "dangling"])
def test_an_audit_file_is_no_pipe_without_a_reader_and_no_planted_link(
    url: str, tmp_path: Path, kind: str
) -> None:
    path, other = tmp_path / "runs.jsonl", tmp_path / "others"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(other)
    if kind == "link":
        other.write_text("theirs\n")
    done = command(
        url, "market", "fetch-prices", "-s", "AAPL", "--audit", str(path), MARKET_PROVIDERS="sample"
    )
    assert done.returncode == 2
    assert "--audit" in done.stderr
    assert "nothing was fetched" in done.stderr
    assert not other.exists() or other.read_text() == "theirs\n"


def test_a_pipe_with_a_reader_and_a_file_take_lines(tmp_path: Path) -> None:
    with append_to(tmp_path / "a") as file:
        file.write(b"1\n")
    with append_to(tmp_path / "a") as file:
        file.write(b"2\n")
    assert (tmp_path / "a").read_bytes() == b"1\n2\n"
    os.mkfifo(tmp_path / "p")
    reader = os.open(tmp_path / "p", os.O_RDONLY | os.O_NONBLOCK)
    with append_to(tmp_path / "p") as file:
        file.write(b"3\n")
    assert os.read(reader, 10) == b"3\n"
    os.close(reader)


def test_a_backup_overwrites_nothing_and_is_its_owners_alone(url: str, tmp_path: Path) -> None:
    other = tmp_path / "others"
    other.write_text("theirs")
    (tmp_path / "link").symlink_to(other)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("others", "link", "dangling"):
        done = command(url, "market", "db", "backup", "--pg-dump", str(tmp_path / name))
        assert done.returncode == 2
        assert "is there already" in done.stderr
    assert other.read_text() == "theirs"
    assert not (tmp_path / "nothing").exists()
    done = command(url, "market", "db", "backup", "--pg-dump", str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    assert (tmp_path / "new").read_bytes().startswith(b"PGDMP")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "link", "new", "others"]


def test_what_came_under_a_name_meanwhile_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "name").write_text("theirs")
    with pytest.raises(FileExistsError):
        publish(tmp_path / "mine", tmp_path / "name")
    assert (tmp_path / "name").read_text() == "theirs"


def test_a_picture_takes_the_place_of_a_link_and_not_of_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "picture.png").symlink_to(tmp_path / "target")
    with replaced(tmp_path / "picture.png") as file:
        file.write(b"ours")
    assert (tmp_path / "target").read_text() == "theirs"
    assert not (tmp_path / "picture.png").is_symlink()
    assert (tmp_path / "picture.png").read_bytes() == b"ours"
