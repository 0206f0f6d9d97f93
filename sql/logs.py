"""The log: structlog to stderr, JSON lines for machines, colours for a terminal, no secrets.

structlog brings rich's tracebacks and pygments with it, a sixth of the time in which a command
starts; it is imported when something is to be said.
"""

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from sql.redaction import redact
from sql.settings import LogSettings

Event = MutableMapping[str, Any]


def _redacted(_logger: object, _method: str, event: Event) -> Event:
    return {key: _without_secrets(value) for key, value in event.items()}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _without_secrets(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(each) for each in value]
    return value


class _Lines(logging.Formatter):
    """What libraries report, exceptions included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def configure(settings: LogSettings) -> None:
    """Set the process's log up; libraries that use `logging` keep to warnings."""
    import structlog  # noqa: PLC0415 - see above

    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    colors = console and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    renderer = (
        structlog.dev.ConsoleRenderer(colors=colors)
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redacted,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.log_level]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # They report through logging what we report ourselves, such as a rollback after an interruption.
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(_Lines("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    for chatty in ("yfinance", "psycopg", "peewee"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)


def logger() -> Any:
    """The logger of structlog."""
    import structlog  # noqa: PLC0415 - see above

    return structlog.get_logger()
