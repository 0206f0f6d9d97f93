"""The screen of each worker command, with no, one and many rows, on terminals of four widths."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from rich.cells import cell_len

from tests.support.cli import Done, document
from tests.support.clock import stop_clock
from tests.support.db import connect, copy_of, drop, value
from tests.support.inline_cli import inline, on_terminal
from tests.support.queue import claim_one, fail
from tests.worker.checks import CHECKS
from worker.cli import screens

WIDTHS = [60, 80, 120, 200]
# The longest that is never cut.
SYMBOL = "LONGEST-SYMBOL-%04d"
_WORKERS = """
INSERT INTO reckoner_workers (name, host, pid, started_at, last_seen_at, mode, in_flight)
SELECT format('host-%%s:%%s', n, n), 'host', n, now() - n * interval '1 minute', now(),
       CASE WHEN n %% 2 = 0 THEN 'polling' ELSE 'notify' END, n
FROM generate_series(1, %(n)s) n
"""
_EVENTS = """
INSERT INTO outbox (topic, key, status, attempts, last_error, created_at, available_at)
SELECT 'ticker', to_char(n, '"LONGEST-SYMBOL-"FM0000'), 'failed', 2, 'csv: 429, and ' || repeat('more words ', 9),
       now() - n * interval '1 minute', now() + n * interval '1 minute'
FROM generate_series(1, %(n)s) n
UNION ALL SELECT 'ticker', 'DEAD-' || n, 'dead', 8, 'gave up', now(), now() FROM generate_series(1, %(n)s) n
UNION ALL SELECT 'ticker', 'LATE-' || n, 'pending', 0, NULL, now() - interval '9 minutes', now() - interval '8 minutes'
FROM generate_series(1, %(n)s) n
"""
_OUTCOMES = """
INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, prediction_sentiment, entry_session,
    price_at_prediction, price_t1, return_t1, correct_t1, outcome_state, outcome_reason, engine_version, due_at)
SELECT %(prediction)s, to_char(n, '"LONGEST-SYMBOL-"FM0000'), '2024-03-05', 'bullish', '2024-03-05',
       123456.789, 123456.789, -12.345678, false, 'maturing', 'next: t3 on 2024-03-08', 1, now() + interval '3 days'
FROM generate_series(1, %(n)s) n
"""
_REGISTRY = """
INSERT INTO ticker_registry (symbol, first_seen_date, status, calendar, created_at, updated_at)
SELECT to_char(n, '"LONGEST-SYMBOL-"FM0000'), '2024-03-05', 'active', 'XNYS', now(), now()
FROM generate_series(1, greatest(%(n)s, 1)) n
"""


_TICKS = """
INSERT INTO schedule_ticks (schedule, tick_at, verdict, reason, decided_at)
SELECT 'nightly-and-long-named', now() - n * interval '1 minute', 'skipped',
       'paused by operations until it is resumed: ' || repeat('more words ', 9), now()
FROM generate_series(1, %(n)s) n
"""


class Scene(NamedTuple):
    """A database with so many rows of everything."""

    url: str
    rows: int
    prediction: int
    event: int
    run: int


@pytest.fixture(scope="module", params=[0, 1, 500])
def scene(request: pytest.FixtureRequest, server_url: str, template: str) -> Iterator[Scene]:
    url, n = copy_of(server_url, template, word="screens"), int(request.param)
    with connect(url) as conn:
        conn.execute("ALTER TABLE ticker_registry DISABLE TRIGGER USER")
        conn.execute(_REGISTRY, {"n": n})
        conn.execute("ALTER TABLE ticker_registry ENABLE TRIGGER USER")
        assets = f'["{SYMBOL % 1}", "no symbol"]'
        prediction = value(
            conn,
            "INSERT INTO predictions (assets, market_impact, analysis_status, post_timestamp, created_at)"
            " VALUES (%s, %s, 'completed', '2024-03-05 15:00Z', now()) RETURNING id",
            [assets, f'{{"{SYMBOL % 1}": "bullish"}}'],
        )
        event = claim_one(conn)["id"]
        conn.execute(
            "UPDATE outbox SET status = 'pending', available_at = now() WHERE id = %s", [event]
        )
        for _ in range(min(n, 40)):
            fail(conn, claim_one(conn), "it broke", most=99)
            conn.execute(
                "UPDATE outbox SET available_at = now(), status = 'pending' WHERE id = %s", [event]
            )
        for statement in (_WORKERS, _EVENTS, _OUTCOMES):
            conn.execute(statement, {"n": n, "prediction": prediction})
        # Workers stay alive however long the tests of this scene take.
        stop_clock(conn)
        conn.execute(_TICKS, {"n": n})
        conn.execute(
            "SELECT schedule_create('nightly-and-long-named', 'daily_sync', 'XNYS close + 45 minutes')"
        )
        run = value(conn, "SELECT schedule_run_now('nightly-and-long-named', 'ann')")
        conn.execute("SELECT run_cancel(%s, 'no event of it may wait')", [run])
    yield Scene(url, n, prediction, event, run)
    drop(server_url, url)


COMMANDS = [
    "status",
    "health",
    "explain PREDICTION",
    "explain PREDICTION --story",
    "explain PREDICTION --sources",
    f"explain {SYMBOL % 1}",
    f"explain {SYMBOL % 1} --story",
    "explain --event EVENT",
    "explain --run RUN",
    "explain --schedule nightly-and-long-named",
    "sweep --dry-run",
    "requeue --dead --dry-run",
    "requeue --prediction PREDICTION --dry-run",
    "enqueue --all --dry-run",
    "migrate --check",
]
CUT = re.compile(
    r"\d{4}-(\d\d-?)?$|LONGEST-SYMBOL-\d{0,3}$|LONGEST-?(SYMBOL)?$|\d,\d{1,2}$|awaiting_?$"
)


def shown(scene: Scene, words: str, width: int) -> Done:
    words = words.replace("PREDICTION", str(scene.prediction)).replace("EVENT", str(scene.event))
    words = words.replace("RUN", str(scene.run))
    done = on_terminal(scene.url, "worker", *words.split(), width=width)
    assert done.returncode in {0, 3}, done.stderr
    return done


@pytest.mark.parametrize("words", COMMANDS)
def test_every_screen_fits_and_cuts_nothing(scene: Scene, words: str) -> None:
    for width in WIDTHS:
        lines = [line.rstrip() for line in shown(scene, words, width).stdout.splitlines()]
        assert lines, width
        for line in lines:
            assert cell_len(line) <= width, line
            assert not set("{}\u2026") & set(line), line
            assert not any(CUT.search(cell) for cell in re.split(r"  +", line)), line
        assert lines[0], lines


def text_of(done: Done) -> str:
    return " ".join(done.stdout.split())


def test_status_says_whether_events_are_late_and_shows_five(scene: Scene) -> None:
    text, n = text_of(shown(scene, "status", 80)), scene.rows
    if n == 0:
        assert text.startswith("LATE: 1 event, no worker (database ")
        assert "next: python -m worker" in text
        return
    workers = "1 worker" if n == 1 else "500 workers"
    assert text.startswith(f"LATE: {'1 event' if n == 1 else '500 events'}, {workers}; {n} dead")
    assert all(f"host-{each}:{each}" in text for each in range(1, n + 1))
    assert len(re.findall(r"(?:LATE|DEAD|SYMBOL)-\d+", text)) == min(5, 3 * n)
    found = document(inline(scene.url, "worker", "status", "--json"))
    assert {"database", "totals", "queue", "workers", "stuck"} == set(found)
    assert found["totals"]["late"] == n
    assert found["totals"]["workers"] == n


def test_health_has_a_word_the_failures_first_and_a_command(scene: Scene) -> None:
    done = shown(scene, "health", 120)
    lines = done.stdout.splitlines()
    if scene.rows == 0:
        assert lines[0].startswith("UNHEALTHY: workers (database ")
        assert lines[2].split()[:2] == ["fail", "workers"]
        assert lines[2].rstrip().endswith("  python -m worker")
    else:
        assert lines[0].startswith("UNHEALTHY: backlog; look at ")
        assert [line.split()[0] for line in lines[2:] if line[:1] in "fw"][:2] == ["fail", "warn"]
        assert "python -m worker requeue --dead" in done.stdout
    assert any(line.startswith("ok: database, schema, ") for line in lines)
    assert done.returncode == 3
    piped = inline(scene.url, "worker", "health").stdout.splitlines()
    assert piped[0].split("\t") == ["check", "state", "message", "remedy"]
    assert len(piped) == 1 + len(CHECKS)


def test_explain_says_what_was_predicted_and_what_it_waits_for(scene: Scene) -> None:
    text = text_of(shown(scene, "explain PREDICTION", 200))
    said = f"Prediction {scene.prediction} ({SYMBOL % 1} bullish, no symbol): "
    if scene.rows == 0:
        assert text.startswith(f"{said}waits")
        assert "no worker alive" in text
        return
    assert text.startswith(f"{said}maturing, next in 3 d")
    assert "maturing: next: t3 on 2024-03-08" in text
    assert text.count("123,456.79") == 2 * min(scene.rows, 50)
    assert text.count("-12.35 no") == min(scene.rows, 50)


def test_repeats_of_a_story_are_folded_and_a_program_gets_all(scene: Scene) -> None:
    story = text_of(shown(scene, "explain PREDICTION --story", 200))
    piped = inline(scene.url, "worker", "explain", str(scene.prediction)).stdout
    times = piped.count("failed: it broke")
    assert times == scene.rows or scene.rows > 20 <= times
    assert story.count("failed: it broke") == min(times, 2)
    assert (f"({times} times)" in story) == (times > 2)


def test_what_changes_rows_says_before_and_after(scene: Scene) -> None:
    text, n = text_of(shown(scene, "requeue --dead --dry-run", 80)), scene.rows
    if n == 0:
        assert text.startswith("Nothing to do: no such dead event (database ")
        return
    assert text.startswith(f"Would requeue {'1 dead event' if n == 1 else '500 dead events'} (")
    assert f"dead {n} \u2192 0" in text
    assert text_of(shown(scene, "enqueue --all --dry-run", 80)).startswith("Nothing to do: ")
    assert text_of(shown(scene, "migrate --check", 80)).startswith("Up to date: nothing to do (")


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({}, "Nothing to do."),
        ({"due": 3, "crashed": 1}, "Swept: 1 crashed event requeued, 3 symbols are due."),
        ({"due": None}, "FAILED: due."),
        ({"due": 1, "dry_run": True}, "Would sweep: 1 symbol is due."),
    ],
)
def test_a_sweep_says_what_it_found(found: dict[str, Any], wanted: str) -> None:
    row = {"dry_run": False, "events_before": 1, "events_after": 4, **found}
    view = screens.swept(row)
    assert view.summary == wanted
    assert view.notes == ["events 1 \u2192 4"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("enqueue --since 7", "--since: '7' is not a date like 2025-01-31"),
        ("requeue --event x", "--event: 'x' is not a whole number"),
        ("run --max-seconds -3", "--max-seconds: must be 0 or more, not -3"),
        ("explain 3 -o foo", "--output: 'foo' is not one of 'table', 'wide'"),
        ("nonsense", "no such command 'nonsense'; see "),
    ],
)
def test_a_wrong_value_is_one_line_in_the_users_words(words: str, wanted: str) -> None:
    done = inline("embedded:/nowhere", "worker", *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {wanted}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["worker", "market"])
def test_help_has_a_whole_sentence_for_each_command_in_groups(name: str) -> None:
    lines = on_terminal("embedded:/nowhere", name, "--help").stdout.splitlines()
    sections = [line for line in lines if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert len(sections) > 4
    listed = "\n".join(lines[lines.index(sections[1]) :])
    assert "..." not in listed
    for entry in re.split(r"\n(?=  \S|\S|$)", listed):
        assert not entry.startswith("  ") or entry.rstrip().endswith("."), entry


def test_health_of_a_dead_database_names_it_and_no_password() -> None:
    done = on_terminal("postgresql://shop:secret@127.0.0.1:1/shop", "worker", "health", width=120)
    assert done.returncode == 3
    assert done.stdout.startswith("UNHEALTHY: database (database shop on 127.0.0.1:1).")
    assert "database shop on 127.0.0.1:1: Connection refused" in text_of(done)
    assert "secret" not in done.stdout + done.stderr
    assert "ConnectionFailed" not in done.stdout


def test_what_waits_for_hours_is_not_all_well(url: str) -> None:
    with connect(url) as conn:
        conn.execute("SELECT worker_heartbeat('w', 'host', 1, 'notify', 0, 60, NULL, NULL, true)")
        conn.execute(
            "INSERT INTO outbox (topic, key, created_at, available_at, last_error) VALUES"
            " ('ticker', 'AAPL', now() - interval '17 hours', now() + interval '1 hour', 'csv is down')"
        )
        shown = on_terminal(url, "worker", "status").stdout
        assert shown.startswith("HELD UP: 1 event waits, 1 worker (")
        conn.execute("UPDATE outbox SET created_at = now() - interval '59 minutes'")
        shown = on_terminal(url, "worker", "status").stdout
    assert shown.startswith("All well: 1 event waits, 1 worker (")
