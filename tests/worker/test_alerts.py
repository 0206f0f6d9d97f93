"""Alert messages over the wire: Discord, a Pushgateway, a signed webhook; refusals, pauses, secrets."""

import base64
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from sql.database import Database
from tests.support.clock import use_clock, use_everywhere, write_clock
from tests.support.context import context_of
from tests.support.db import Conn, value
from tests.support.process import SHORT, Start
from tests.support.receiver import Post, Receiver, Reply
from tests.support.waiting import until
from worker import sweep, topics
from worker.alerts import bodies, deliver
from worker.context import Context
from worker.queue import outbox
from worker.settings import AlertSettings, WorkerSettings

_NOON = dt.datetime(2026, 7, 8, 12, 0, tzinfo=dt.UTC)
_TOKEN = "s3cr3t-t0k3n-of-a-channel"  # noqa: S105 - of a test
_SIGNING = "a secret to sign with"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture
def clocked(conn: Conn) -> Conn:
    """The test's database at noon, where time stands still."""
    conn.execute("DELETE FROM schedules")
    go_to(conn, 0)
    use_everywhere(conn, "here")
    use_clock(conn, "here")
    return conn


@pytest.fixture
def context(clocked: Conn, database: Database, receiver: Receiver) -> Context:
    assert value(clocked, "SELECT reckoner_now()") == _NOON
    settings = AlertSettings(
        discord_webhook_system_status=SecretStr(f"{receiver.url}/api/webhooks/1/{_TOKEN}"),
        alert_webhook_url=SecretStr(f"{receiver.url}/hook/{_TOKEN}"),
        alert_webhook_secret=SecretStr(_SIGNING),
    )
    return replace(context_of(database), alerts=settings)


def go_to(conn: Conn, minutes: float) -> None:
    write_clock(conn, "here", stopped_at=_NOON + dt.timedelta(minutes=minutes))


def message(conn: Conn, channel: str, body: dict[str, Any] | None = None) -> None:
    conn.execute(
        "SELECT alert_write('events_dead', %s, %s)", [channel, Jsonb(body or alerts_of("ticker"))]
    )


def alerts_of(*subjects: str, state: str = "open", **more: Any) -> dict[str, Any]:
    return {
        "rule": "events_dead",
        "state": state,
        "count": len(subjects),
        "at": "2026-07-08T12:00:00+00:00",
        "alerts": [
            {"subject": each, "text": "3 events are dead", "mend": "requeue", **more}
            for each in subjects
        ],
    }


def deliver_all(context: Context) -> int:
    """Claim what is ready and send it; returns how many."""
    claims = outbox.claim(context.database, "alert", "w", 50, 60)
    for claim in claims:
        deliver.handle(context, [claim])
    return len(claims)


def channels(conn: Conn) -> dict[str, str]:
    rows = conn.execute("SELECT channel, failures, last_error FROM alert_channels").fetchall()
    return {row["channel"]: f"{row['failures']} {row['last_error']}" for row in rows}


def nowhere(conn: Conn, secret: str) -> None:
    """No row of ours holds this text, the hooks of schedules aside."""
    for table in (
        "alerts",
        "alert_messages",
        "alert_channels",
        "outbox",
        "outbox_history",
        "job_run",
    ):
        rows = conn.execute(f"SELECT t::text AS said FROM {table} t".encode())  # noqa: S608
        assert not [row for row in rows if secret in row["said"]], table


def test_a_sweep_finds_it_and_both_channels_hear_of_it(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    clocked.execute("INSERT INTO outbox (topic, key, status) VALUES ('ticker', 'AAPL', 'dead')")
    with capture_logs() as logs:
        found = sweep.once(context.database, WorkerSettings(), channels=context.alerts.channels)
        assert found is not None
        assert found["alerts"] >= 2
        deliver_all(context)
    dead = [post for post in receiver.log if b"ticker events are dead" in post.body]
    assert {post.path for post in dead} == {f"/api/webhooks/1/{_TOKEN}", f"/hook/{_TOKEN}"}
    [embed] = next(post for post in dead if "webhooks" in post.path).json["embeds"]
    assert embed["title"] == "events\\_dead: ticker: open"
    assert "1 ticker events are dead \\(threshold: 0\\)" in embed["description"]
    assert "worker requeue --dead" in embed["description"]
    assert value(clocked, "SELECT count(*) FROM outbox WHERE topic = 'alert'") == 0
    assert _TOKEN not in json.dumps(logs, default=str)
    nowhere(clocked, _TOKEN)


def test_a_429_delays_all_messages_of_its_channel_and_no_other(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    def says(post: Post) -> Reply:
        if "webhooks" not in post.path:
            return Reply()
        return Reply(429, {"message": "rate limited", "retry_after": 64.5, "global": False})

    receiver.says = says
    message(clocked, "discord:system_status")
    assert deliver_all(context) == 1
    message(clocked, "discord:system_status")
    message(clocked, "webhook")
    assert deliver_all(context) == 2
    assert [post.path.split("/")[1] for post in receiver.log] == ["api", "hook"]
    due = "SELECT array_agg(DISTINCT available_at) FROM outbox WHERE topic = 'alert'"
    assert value(clocked, due) == [_NOON + dt.timedelta(seconds=64.5)]
    assert value(clocked, "SELECT max(attempts) FROM outbox") == 0
    receiver.says = Reply()
    go_to(clocked, 1)
    assert deliver_all(context) == 0
    go_to(clocked, 2)
    assert deliver_all(context) == 2
    assert channels(clocked)["discord:system_status"] == "0 None"


def test_a_receiver_that_fails_for_an_hour_gets_its_message_once(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    receiver.says = Reply(503, f"down, and so is /hook/{_TOKEN}")
    message(clocked, "webhook")
    for minutes in range(60):
        go_to(clocked, minutes)
        deliver_all(context)
    assert 5 < len(receiver.log) < 12
    assert value(clocked, "SELECT status FROM outbox WHERE topic = 'alert'") == "pending"
    nowhere(clocked, _TOKEN)
    failed = len(receiver.log)
    receiver.says = Reply(200)
    for minutes in range(60, 200, 10):
        go_to(clocked, minutes)
        deliver_all(context)
    assert len(receiver.log) == failed + 1
    assert len({post.body for post in receiver.log}) == 1
    assert value(clocked, "SELECT count(*) FROM outbox") == 0


def test_after_a_day_a_message_is_dead_and_its_reason_is_kept(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    receiver.says = Reply(500, "no")
    message(clocked, "webhook")
    deliver_all(context)
    go_to(clocked, 24 * 60 + 1)
    deliver_all(context)
    row = clocked.execute("SELECT status, last_error FROM outbox").fetchone()
    assert row == {"status": "dead", "last_error": "after 1 attempts: for a day: HTTP 500 no"}
    assert value(clocked, "SELECT gave_up_at FROM alert_messages") is not None


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(404, f'{{"message": "Unknown Webhook {_TOKEN}"}}'), "HTTP 404"),
        (Reply(302, "", {"Location": "http://127.0.0.1:1/elsewhere"}), "HTTP 302"),
    ],
)
def test_what_cannot_succeed_is_dead_at_once(
    context: Context, clocked: Conn, receiver: Receiver, reply: Reply, said: str
) -> None:
    receiver.says = reply
    message(clocked, "discord:system_status")
    deliver_all(context)
    assert len(receiver.log) == 1
    row = clocked.execute("SELECT status, last_error FROM outbox").fetchone()
    assert row is not None
    assert row["status"] == "dead"
    assert said in row["last_error"]
    nowhere(clocked, _TOKEN)


def test_an_alias_without_its_setting_says_which(context: Context, clocked: Conn) -> None:
    message(clocked, "discord:signals")
    deliver_all(context)
    error = value(clocked, "SELECT last_error FROM outbox")
    assert error.endswith("set DISCORD_WEBHOOK_SIGNALS for every worker")


def test_an_unreachable_address_is_tried_again_and_named_nowhere(
    context: Context, clocked: Conn
) -> None:
    address = SecretStr(f"http://127.0.0.1:1/hook/{_TOKEN}")
    context = replace(
        context, alerts=context.alerts.model_copy(update={"alert_webhook_url": address})
    )
    message(clocked, "webhook")
    deliver_all(context)
    assert "ConnectError" in channels(clocked)["webhook"]
    assert value(clocked, "SELECT available_at FROM outbox") == _NOON + dt.timedelta(seconds=10)
    nowhere(clocked, _TOKEN)


def test_each_address_of_an_alias_gets_the_message_once(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    def says(post: Post) -> Reply:
        return Reply(500) if post.path == "/b" else Reply()

    both = SecretStr(f"{receiver.url}/a, {receiver.url}/b")
    context = replace(
        context, alerts=context.alerts.model_copy(update={"discord_webhook_signals": both})
    )
    receiver.says = says
    message(clocked, "discord:signals")
    deliver_all(context)
    assert deliver_all(context) == 2
    go_to(clocked, 1)
    receiver.says = Reply()
    deliver_all(context)
    assert sorted(post.path for post in receiver.log) == ["/a", "/b", "/b"]


def test_a_webhook_is_signed_and_has_an_id(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    message(clocked, "webhook")
    deliver_all(context)
    [post] = receiver.log
    name, moment = post.headers["webhook-id"], post.headers["webhook-timestamp"]
    signed = f"{name}.{moment}.".encode() + post.body
    digest = hmac.new(_SIGNING.encode(), signed, hashlib.sha256).digest()
    assert post.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert (post.json["id"], post.json["type"]) == (name, "alert.open")
    assert post.json["alerts"][0]["subject"] == "ticker"


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification's libraries.
    headers = bodies.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def schedule(conn: Conn, **hooks: Any) -> None:
    conn.execute(
        "SELECT schedule_create('s', 'daily_sync', 'every 1 hour', 'UTC', %s, 'ann')",
        [Jsonb({"hooks": hooks, "queue": 'night "shift"'})],
    )


def ended(conn: Conn, status: str) -> None:
    number = value(conn, "SELECT run_write('daily_sync', '{}', 'manual', 'ann', 's')")
    conn.execute(
        "UPDATE job_run SET status = %s, started_at = reckoner_now() - interval '12.5 s',"
        " finished_at = reckoner_now(), counters = '{\"done\": 7}' WHERE id = %s",
        [status, number],
    )


def test_a_pushgateway_gets_each_end_of_a_run_in_the_group_of_its_task(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    schedule(clocked, prometheus_endpoint=receiver.url)
    ended(clocked, "ok")
    deliver_all(context)
    ended(clocked, "error")
    deliver_all(context)
    assert {post.path for post in receiver.log} == {"/metrics/job/reckoner/task/daily_sync"}
    good, bad = (post.body.decode() for post in receiver.log)
    assert good.splitlines() == [
        "# TYPE quantmatrix_task_duration_seconds gauge",
        'quantmatrix_task_duration_seconds{task="daily_sync",event="success",queue="night \\"shift\\""} 12.5',
        "# TYPE reckoner_task_last_success_timestamp_seconds gauge",
        f'reckoner_task_last_success_timestamp_seconds{{task="daily_sync"}} {_NOON.timestamp():.3f}',
    ]
    assert 'event="failure"' in bad
    assert "last_success" not in bad  # POST leaves what it does not name


def test_an_older_value_is_not_pushed_after_a_newer_one(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    schedule(clocked, prometheus_endpoint=receiver.url)
    receiver.says = Reply(503)
    ended(clocked, "error")
    deliver_all(context)
    receiver.says = Reply()
    ended(clocked, "ok")
    deliver_all(context)
    go_to(clocked, 5)
    assert deliver_all(context) == 1
    assert len(receiver.log) == 2
    assert value(clocked, "SELECT count(*) FROM outbox WHERE topic = 'alert'") == 0


def test_an_address_in_a_hook_is_used_and_kept_nowhere_else(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    schedule(
        clocked,
        discord_webhook=f"{receiver.url}/api/webhooks/2/{_TOKEN}",
        alert_on=["success"],
        discord_mentions=["<@&123456>", "everyone"],
    )
    receiver.says = Reply(400, f"no {_TOKEN}")
    ended(clocked, "ok")
    with capture_logs() as logs:
        deliver_all(context)
    [post] = receiver.log
    assert post.json["content"] == "<@&123456>"
    assert post.json["allowed_mentions"] == {"parse": [], "roles": ["123456"]}
    fields = {field["name"]: field["value"] for field in post.json["embeds"][0]["fields"]}
    assert fields == {
        "Task": "daily\\_sync", "Duration": "12.5 s", "Queue": 'night "shift"', "Counters": "done 7",
    }  # fmt: skip
    nowhere(clocked, _TOKEN)
    assert _TOKEN not in json.dumps(logs, default=str)


def test_a_stranger_s_text_is_no_markup_mentions_nobody_and_fits() -> None:
    text = "@everyone [click](http://x) **bold** " + "x" * 5_000
    sent = bodies.discord(alerts_of("<@1234567>", text=text, error=text, task="t"))
    assert sent["allowed_mentions"] == {"parse": []}
    assert sent["content"] == ""
    [embed] = sent["embeds"]
    assert "\\@everyone \\[click\\]" in embed["description"]
    assert len(json.dumps(embed)) < 6_000
    many = bodies.discord(alerts_of(*(f"s{n}" for n in range(20)), text=text))
    assert len(many["embeds"][0]["description"]) < 4_096
    assert "more: python -m market alerts list" in many["embeds"][0]["description"]


@pytest.mark.parametrize(
    "given",
    [
        {"discord_webhook_signals": f"discord.com/{_TOKEN}"},
        {"alert_webhook_url": f"https://x/{_TOKEN}"},
    ],
)
def test_a_wrong_address_is_refused_without_its_text(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as refused:
        AlertSettings(**given)  # type: ignore[arg-type]
    assert _TOKEN not in str(refused.value.errors(include_input=False, include_url=False)[0]["msg"])


def test_a_worker_says_what_is_dead_and_that_it_is_over(
    conn: Conn, start_worker: Start, receiver: Receiver
) -> None:
    conn.execute("INSERT INTO outbox (topic, key, status) VALUES ('ticker', 'AAPL', 'dead')")
    worker = start_worker(
        **SHORT, DISCORD_WEBHOOK_SYSTEM_STATUS=f"{receiver.url}/api/webhooks/1/{_TOKEN}"
    )
    worker.ready()

    def titles() -> list[str]:
        return [post.json["embeds"][0]["title"] for post in receiver.log]

    until("the alert is sent", lambda: "events\\_dead: ticker: open" in titles())
    conn.execute("DELETE FROM outbox WHERE status = 'dead'")
    # Otherwise the messages of a rule are a minute apart.
    conn.execute("UPDATE alert_messages SET created_at = created_at - interval '1 minute'")
    until("its end too", lambda: "events\\_dead: ticker: resolved" in titles())
    assert worker.stop() == 0
    assert _TOKEN not in json.dumps(worker.events)
    nowhere(conn, _TOKEN)


def test_the_lane_is_one_of_a_worker_s() -> None:
    [lane] = [lane for lane in topics.lanes(WorkerSettings()) if lane.topic == "alert"]
    assert not lane.is_long
