"""Print rows as they were asked for: the door between commands and screens.

On a terminal a table, in a pipe TSV with its header, with `-o` what it says. One command prints one
TSV or CSV table, whose columns do not depend on the number of rows.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from market.cli.display import formats
from market.cli.display.options import Form, Output, asked
from market.cli.display.view import Row, View
from sql.errors import InvalidInput
from sql.rows import Rows

Writer = Callable[[Sequence[Row], Sequence[str]], None]
_WRITERS: dict[Form | None, Writer] = {
    Form.TSV: formats.write_tsv,
    Form.CSV: formats.write_csv,
}
_PLAIN = View()


def emit(rows: Sequence[Row], view: View = _PLAIN, *, as_json: bool) -> None:
    """Print a table: rows, or `Rows` where it may be empty.

    Raises InvalidInput for columns that the rows do not have.
    """
    output = asked()
    keys = keys_of(rows)
    _expect(output.columns, keys)
    if as_json:
        emit_json(_chosen(rows, output.columns) if output.columns else rows)
    elif writer := _writer(output):
        writer(rows, output.columns or keys)
    else:
        from market.cli.display.screen import draw  # noqa: PLC0415 - only a terminal needs rich

        draw(rows, keys, view, output)


def emit_tables(
    tables: Mapping[str, Sequence[Row]],
    views: Mapping[str, View] | None = None,
    summary: str = "",
) -> None:
    """Print several tables, one below the other; for programs one with all columns.

    Its first column `part` has each row's key. summary: the sentence above all tables.
    """
    output = asked()
    keys = dict.fromkeys(key for rows in tables.values() for key in keys_of(rows))
    _expect(output.columns, ["part", *keys])
    if writer := _writer(output):
        named = [{"part": name, **row} for name, rows in tables.items() for row in rows]
        writer(named, output.columns or ["part", *keys])
        return
    from market.cli.display.screen import draw, say_first  # noqa: PLC0415 - only a terminal needs rich

    if summary:
        say_first(summary)
    for name, rows in tables.items():
        own = keys_of(rows)
        chosen = tuple(key for key in output.columns if key in own)
        if not output.columns or chosen:
            if summary:
                sys.stdout.write("\n")
            draw(rows, own, (views or {}).get(name, _PLAIN), Output(output.form, chosen), name)


def emit_json(document: Any) -> None:
    """Print one JSON document, or with `-o jsonl` a line for each item."""
    write = formats.write_json_lines if asked().form is Form.JSONL else formats.write_json
    write(document)


def draws() -> bool:
    """Tell whether rows become a screen, and not a file."""
    output = asked()
    if output.form is None:
        return sys.stdout.isatty()
    return output.form in {Form.TABLE, Form.WIDE}


def keys_of(rows: Sequence[Row]) -> list[str]:
    """Return the columns of rows, in their order."""
    known = rows.columns if isinstance(rows, Rows) else ()
    return list(dict.fromkeys([*known, *(key for row in rows for key in row)]))


def _writer(output: Output) -> Writer | None:
    if output.form is None and not sys.stdout.isatty():
        return formats.write_tsv
    return _WRITERS.get(output.form)


def _chosen(rows: Sequence[Row], keys: Sequence[str]) -> list[dict[str, Any]]:
    return [{key: row.get(key) for key in keys} for row in rows]


def _expect(chosen: Sequence[str], keys: Sequence[str]) -> None:
    unknown = [name for name in chosen if name not in keys]
    if unknown and keys:
        raise InvalidInput(f"--columns: no {', '.join(unknown)} here, but {', '.join(keys)}")
