"""Every command of the worker as a real process: what it prints, how it exits, what it changes."""

import json
from typing import Any

import pytest

from tests.support.cli import command
from tests.support.db import Conn, value
from tests.support.market import insert_prediction

_COMMANDS = ("run", "migrate", "status", "sweep", "requeue", "enqueue", "health", "url", "demo")


def document(url: str, *arguments: str, code: int = 0) -> Any:
    """What a command prints with --json: one document, and nothing else on stdout."""
    done = command(url, "worker", *arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def table(url: str, *arguments: str, code: int = 0) -> list[dict[str, str]]:
    """What a command prints in a pipe: a header, then rows, separated by tabs."""
    done = command(url, "worker", *arguments, COLUMNS="20")
    assert done.returncode == code, done.stderr
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert all(len(row) == len(header) for row in rows), done.stdout
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.fixture
def parked(conn: Conn) -> dict[str, int]:
    """A prediction, and a parked event of each topic."""
    number = insert_prediction(conn, ["GOOD"])
    conn.execute(
        "UPDATE outbox SET status = 'dead', attempts = 8, last_error = 'a timeout' WHERE topic = 'prediction'"
    )
    conn.execute(
        "INSERT INTO outbox (topic, key, status, attempts, last_error)"
        " VALUES ('ticker', 'GOOD', 'dead', 8, 'no file')"
    )
    ids = {row["topic"]: row["id"] for row in conn.execute("SELECT id, topic FROM outbox")}
    return {**ids, "number": number}


def outbox(conn: Conn) -> list[dict[str, Any]]:
    return conn.execute("SELECT * FROM outbox ORDER BY id").fetchall()


@pytest.mark.parametrize("name", ["", *_COMMANDS])
def test_help(name: str) -> None:
    done = command("embedded:/nowhere/at/all", "worker", *([name] if name else []), "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    assert done.stderr == ""
    if not name:
        assert all(known in done.stdout for known in _COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        "no-such-command",
        "status --no-such",
        "requeue",
        "requeue --dead --event 1",
        "requeue --event 1 --topic ticker",
        "requeue --dead --topic weather",
        "enqueue",
        "enqueue --all --since 2024-01-01",
        "enqueue --since yesterday",
        "run --max-seconds soon",
    ],
)
def test_wrong_usage_ends_with_2(arguments: str) -> None:
    done = command("embedded:/nowhere/at/all", "worker", *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("parked")
def test_status(url: str, conn: Conn) -> None:
    insert_prediction(conn, ["GOOD"])
    found = document(url, "status")
    assert found["totals"]["waiting"] == 1
    assert found["totals"]["dead"] == 2
    assert {(row["topic"], row["status"], row["count"]) for row in found["queue"]} == {
        ("prediction", "dead", 1),
        ("prediction", "pending", 1),
        ("ticker", "dead", 1),
    }
    assert found["workers"] == []
    done = command(url, "worker", "status", COLUMNS="20")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert all("\t" in line for line in done.stdout.splitlines())


def test_health_without_a_worker_is_3(url: str) -> None:
    found = document(url, "health", code=3)
    assert found["healthy"] is False
    states = {check["check"]: check["state"] for check in found["checks"]}
    assert states["database"] == states["schema"] == "ok"
    assert states["workers"] == "fail"
    assert table(url, "health", code=3)[0]["check"] == "database"


def test_health_with_a_worker_is_0(url: str, conn: Conn) -> None:
    conn.execute(
        "INSERT INTO reckoner_workers (name, host, pid, started_at, last_seen_at, last_heard_at, mode)"
        " VALUES ('a worker', 'a host', 1, now(), now(), now(), 'notify')"
    )
    assert document(url, "health")["healthy"] is True


def test_a_database_that_was_not_migrated_is_3(empty_url: str) -> None:
    checks = document(empty_url, "health", code=3)["checks"]
    assert {check["check"]: check["state"] for check in checks} == {
        "database": "ok",
        "schema": "fail",
    }
    for name in ("status", "sweep"):
        done = command(empty_url, "worker", name)
        assert (done.returncode, done.stdout) == (3, "")
        assert "python -m worker migrate" in done.stderr
    missing = document(empty_url, "migrate", "--check", code=3)
    assert "migrations/0001_queue.sql" in {row["name"] for row in missing}
    assert {row["action"] for row in missing} == {"apply"}


def test_migrate_says_what_it_did_and_check_then_finds_nothing(empty_url: str) -> None:
    applied = table(empty_url, "migrate")
    assert applied[0] == {"action": "apply", "name": "migrations/0000_adopt.sql", "sql": ""}
    assert document(empty_url, "migrate", "--check") == []
    assert document(empty_url, "migrate") == []


def test_sweep(url: str, conn: Conn) -> None:
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    insert_prediction(conn, ["GOOD"])
    [found] = document(url, "sweep")
    assert found["forgotten"] == 1
    assert table(url, "sweep")[0]["forgotten"] == "0"
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(1380271947, 3)")
        assert command(url, "worker", "sweep").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "woken"),
    [
        (["--event", "{prediction}"], ["prediction"]),
        (["--prediction", "{number}"], ["prediction"]),
        (["--ticker", "good"], ["ticker"]),
        (["--dead"], ["prediction", "ticker"]),
        (["--dead", "--topic", "ticker"], ["ticker"]),
        (["--dead", "--error-like", "%timeout%"], ["prediction"]),
        (["--dead", "--topic", "ticker", "--error-like", "%timeout%"], []),
    ],
)
def test_requeue(
    url: str, conn: Conn, parked: dict[str, int], arguments: list[str], woken: list[str]
) -> None:
    arguments = [argument.format(**parked) for argument in arguments]
    before = outbox(conn)

    [dry] = document(url, "requeue", *arguments, "--dry-run")
    assert outbox(conn) == before
    assert dry["dry_run"] is True
    counts = (dry["ready_before"], dry["ready_after"], dry["dead_before"], dry["dead_after"])
    assert counts == (0, len(woken), 2, 2 - len(woken))

    [row] = table(url, "requeue", *arguments)
    assert row["dead_after"] == str(2 - len(woken))
    pending = [event for event in outbox(conn) if event["status"] == "pending"]
    assert sorted(event["topic"] for event in pending) == woken
    assert {(event["attempts"], event["last_error"]) for event in pending} <= {(0, None)}


@pytest.mark.parametrize(
    "arguments",
    [["--event", "4711"], ["--prediction", "4711"], ["--ticker", "no symbol at all"]],
)
def test_requeue_of_what_is_not_there_is_1(url: str, arguments: list[str]) -> None:
    done = command(url, "worker", "requeue", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert arguments[1].split()[0] in done.stderr


def test_enqueue(url: str, conn: Conn) -> None:
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    old = insert_prediction(conn, ["GOOD"], moment="2023-12-31 23:59+00")
    new = insert_prediction(conn, ["GOOD"], moment="2024-01-01 00:00+00")
    insert_prediction(conn, ["GOOD"], status="error")

    [dry] = document(url, "enqueue", "--all", "--dry-run")
    assert (dry["would_enqueue"], dry["enqueued"], dry["waiting_after"]) == (2, 0, 0)
    assert outbox(conn) == []

    [since] = document(url, "enqueue", "--since", "2024-01-01")
    assert (since["enqueued"], since["waiting_before"], since["waiting_after"]) == (1, 0, 1)
    assert [(event["key"], event["priority"] < 0) for event in outbox(conn)] == [(str(new), True)]

    [everything] = table(url, "enqueue", "--all")
    assert everything["enqueued"] == "1"
    assert {event["key"] for event in outbox(conn)} == {str(old), str(new)}
    assert document(url, "enqueue", "--all")[0]["enqueued"] == 0


def test_url_and_the_forms_of_the_setting(url: str, conn: Conn) -> None:
    wild = f'"{url.replace("postgresql://", "postgresql+asyncpg://")}&application_name=a%20b"'
    wild = wild if "?" in url else wild.replace("&", "?", 1)
    done = command(wild, "worker", "url")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("postgresql://")
    insert_prediction(conn, ["GOOD"])
    assert document(wild, "status")["totals"]["waiting"] == 1
    assert value(conn, "SELECT count(*) FROM outbox") == 1
