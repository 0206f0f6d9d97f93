"""docs/settings.md, from the classes of settings and their fields' descriptions."""

import inspect
from typing import Any

from pydantic.fields import FieldInfo

import market.settings
import sql.settings
import worker.settings
from tests.reference.markdown import head, table

_ANSWER = """\
Every setting has a default that works, but for `DATABASE_URL`, which you set to your own database.
Settings are environment variables, or lines of a file `.env` in the working directory; the environment
wins. A bad value is one line that names the variable, and exit code 2. The README has the five that
matter first."""

# Read by others than our classes of settings.
_OTHERS = [
    (
        "`OTEL_EXPORTER_OTLP_ENDPOINT`",
        "traces go to this OpenTelemetry collector; needs the extra `tracing` ([monitoring](monitoring.md))",
    ),
    ("`NO_COLOR`", "no colours on a terminal"),
    (
        "`TEST_DATABASE_URL`, `TEST_AS_WORKER`",
        "where else `./dev test` runs, and as whom ([testing](testing.md))",
    ),
]


def page() -> str:
    """Return the page of all settings, a table for each class."""
    lines = head(
        "Settings", _ANSWER, "`sql/settings.py`, `market/settings.py`, `worker/settings.py`"
    )
    seen: set[str] = set()
    for module in (sql.settings, market.settings, worker.settings):
        for kind in _classes(module):
            own = {name: field for name, field in kind.model_fields.items() if name not in seen}
            seen |= own.keys()
            if own:
                title = kind.__name__.removesuffix("Settings")
                lines += [f"## {title}", "", inspect.cleandoc(kind.__doc__ or ""), ""]
                rows = [_row(name, field) for name, field in own.items()]
                lines += table(("variable", "default", "meaning"), rows)
    lines += ["## Others", "", "These variables are read by libraries and by `./dev`.", ""]
    lines += table(("variable", "meaning"), _OTHERS)
    return "\n".join(lines)


def _classes(module: Any) -> list[type[sql.settings.Settings]]:
    """The classes of settings that a module defines, in the order of its text."""
    base = sql.settings.Settings
    own = (each for each in vars(module).values() if inspect.isclass(each))
    return [each for each in own if issubclass(each, base) and each.__module__ == module.__name__]


def _row(name: str, field: FieldInfo) -> tuple[str, str, str]:
    if not field.description:
        raise ValueError(f"{name}: say what it means in Field(description=…), then ./dev docs")
    return f"`{name.upper()}`", _default(field.default), field.description


def _default(value: object) -> str:
    if value is None or value == ():
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
