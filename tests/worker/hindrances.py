"""What hinders a worker's statements: an owner's trigger, and a row that somebody holds."""

import contextlib
from collections.abc import Iterator

from tests.support.db import Conn, connect

# A symbol like X40001 raises that SQLSTATE; for the other symbols a statement of theirs fails.
_TRIGGER = """
CREATE FUNCTION owners() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.symbol ~ '^X.....$' THEN
        RAISE 'not %', NEW.symbol USING ERRCODE = substr(NEW.symbol, 2);
    ELSIF NEW.symbol = 'MISSING' THEN
        PERFORM no_such_function(NEW.symbol);
    ELSIF NEW.symbol = 'KILLER' THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    ELSIF NEW.symbol = 'TSLA' THEN
        RAISE 'not TSLA' USING ERRCODE = '40001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER owners BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION owners()
"""


def owners_trigger(conn: Conn, table: str) -> None:
    conn.execute(_TRIGGER.format(table).encode())


@contextlib.contextmanager
def row_held(url: str, table: str, symbol: str) -> Iterator[Conn]:
    """Hold the rows of a symbol as a forgotten psql does; yields its connection."""
    with connect(url) as holder:
        holder.autocommit = False
        holder.execute("SET application_name = 'forgotten psql'")
        holder.execute(f"SELECT FROM {table} WHERE symbol = %s FOR UPDATE".encode(), [symbol])
        yield holder
        holder.rollback()
