"""Alerts as an operator's commands show them, and what health does where no worker is alive."""

import json
from pathlib import Path

from tests.support.db import Conn, value
from tests.support.inline_cli import inline

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
