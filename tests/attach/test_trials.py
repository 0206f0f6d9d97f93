"""`db check` tries what each role must do, and says what it cannot."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from sql.database import Connection, Database
from sql.schema import trials
from tests.support.db import copy_of, drop, value
from tests.support.roles import Roles, roles


class Scene(NamedTuple):
    """A database with roles of least rights, which no test changes; names: of the roles."""

    database: Database
    names: dict[str, str]


@pytest.fixture(scope="module")
def scene(server_url: str, template: str) -> Iterator[Scene]:
    url = copy_of(server_url, template, word="trials")
    with roles(url) as made, Database(url) as database:
        names = {
            word: getattr(made, word).partition("user=")[2].partition(" ")[0]
            for word in Roles.__annotations__
        }
        yield Scene(database, names)
    drop(server_url, url)


def try_all(conn: Connection) -> dict[str, list[str]]:
    return {
        "source": trials.source(conn),
        "writers": trials.writers(conn)[1],
        "workers": trials.workers(conn)[1],
    }


def test_roles_of_least_rights_pass(scene: Scene) -> None:
    with scene.database.transaction() as conn:
        assert try_all(conn) == {"source": [], "writers": [], "workers": []}
        assert scene.names["analyst"] in trials.writers(conn)[0]
        assert scene.names["worker"] in trials.workers(conn)[0]
        # A trial draws no number, leaves nothing, and gives the role back.
        assert value(conn, "SELECT is_called FROM predictions_id_seq") is False
        assert value(conn, "SELECT count(*) FROM outbox") == 0
        assert value(conn, "SELECT current_user = session_user") is True


# A trigger of the owner's that fails.
_FAILING = (
    "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not today''; END';"
    " CREATE TRIGGER theirs BEFORE INSERT ON predictions EXECUTE FUNCTION theirs()"
)
FAULTS: list[tuple[str, str, str]] = [
    ("REVOKE EXECUTE ON FUNCTION outbox_finish(jsonb) FROM {worker}", "workers",
     "{worker} may not execute 1 functions (outbox_finish(jsonb), …)"),
    ("REVOKE SELECT ON prediction_inputs FROM {worker}", "workers",
     "{worker} cannot see predictions: InsufficientPrivilege: permission denied for view prediction_inputs"),
    ("ALTER TABLE predictions ENABLE ROW LEVEL SECURITY", "workers",
     "row-level security of predictions applies to {worker}"),
    ("GRANT CREATE ON SCHEMA public TO {dashboard}; ALTER FUNCTION predictions_inserted() OWNER TO {dashboard}",
     "writers", "an INSERT by {analyst} gets: reckoner: no event written"),
    (_FAILING,
     "writers", "an INSERT by {analyst} fails: RaiseException: not today"),
    ("ALTER TABLE predictions RENAME TO elsewhere", "source", "the table public.predictions is missing"),
    ("ALTER TABLE market_prices RENAME TO old; CREATE TABLE market_prices (LIKE old INCLUDING ALL)",
     "source", "view our_bars does not read public.market_prices: python -m worker migrate"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "check", "expected"), FAULTS)
def test_a_fault_is_named(scene: Scene, fault: str, check: str, expected: str) -> None:
    with scene.database.transaction() as conn:
        conn.execute(fault.format(**scene.names).encode())
        said = try_all(conn)[check]
        conn.rollback()
    assert any(text.startswith(expected.format(**scene.names)) for text in said), said


def test_a_role_that_one_may_not_become_is_not_tried(scene: Scene) -> None:
    with scene.database.transaction() as conn:
        conn.execute(f"SET LOCAL ROLE {scene.names['dashboard']}".encode())
        assert trials.writers(conn) == ([], [])
