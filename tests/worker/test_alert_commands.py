"""Alerts as an operator's commands show them, and what health does where no worker is alive."""

import json
import re
from pathlib import Path

from tests.support.db import Conn, value
from tests.support.inline_cli import all_commands, inline, on_terminal
from tests.support.process import ROOT

_ADDRESS = "https://discord.com/api/webhooks/12/s3cr3t-t0k3n"


def test_health_opens_the_alert_that_no_worker_is_alive(url: str, conn: Conn) -> None:
    conn.execute("UPDATE reckoner_installation SET installed_at = now() - interval '1 hour'")
    address = "https://h/x"
    done = inline(url, "worker", "health", ALERT_WEBHOOK_URL=address, ALERT_WEBHOOK_SECRET=address)
    assert done.returncode == 3
    assert value(conn, "SELECT array_agg(rule) FROM alerts WHERE state = 'open'") == ["no_worker"]
    assert value(conn, "SELECT array_agg(channel) FROM alert_messages") == ["webhook"]
    listed = inline(url, "market", "alerts", "list", "--json")
    assert json.loads(listed.stdout)[0]["mend"] == "python -m worker"
    # The command that mends it is there in 80 columns too.
    assert "next: python -m worker or " in on_terminal(url, "market", "alerts", "list").stdout


def test_the_commands_in_sql_exist() -> None:
    known = {" ".join(words[:2]) for words, _ in all_commands()}
    for file in sorted((ROOT / "sql" / "functions").glob("*.sql")):
        for room, name in re.findall(
            r"python -m (market|worker) ([a-z][a-z0-9-]+)", file.read_text()
        ):
            assert f"{room} {name}" in known, file.name


def test_an_import_shows_no_address(url: str, conn: Conn, tmp_path: Path) -> None:
    exported = json.loads(inline(url, "market", "schedules", "export").stdout)
    text = json.dumps(exported).replace(
        '"hooks": {}', f'"hooks": {{"discord_webhook": "{_ADDRESS}"}}'
    )
    assert _ADDRESS in text
    file = tmp_path / "schedules.json"
    file.write_text(text)
    done = inline(url, "market", "schedules", "import", str(file), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert "webhooks/12/***" in done.stdout
    assert "t0k3n" not in done.stdout + done.stderr
    assert value(conn, "SELECT count(*) FROM schedules WHERE hooks::text LIKE '%%t0k3n%%'") > 0
