"""The log: structlog to stderr, JSON lines for machines, colours for a terminal, no secrets.

Text of strangers cannot end a line of the log or act on the terminal that shows it. JSON keeps such text
unchanged, in JSON's escapes. The console shows escapes (`sql.visible`), and every line of a traceback
begins with a bar that no other line has.

structlog imports rich's tracebacks and pygments, which take a sixth of the time in which a command
starts; so it is imported with the first line of the log.
"""

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from sql.redaction import redact
from sql.settings import LogSettings
from sql.streams import beneath
from sql.visible import json_text, visible

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


def _json(event: Event, **options: Any) -> str:
    return json_text(event, default=options.get("default"))


def _visible(_logger: object, _method: str, event: Event) -> Event:
    """For the console, which prints texts as they are and calls repr on the rest."""
    shown = {key: _shown(value) for key, value in event.items()}
    if isinstance(trace := event.get("exception"), str):
        shown["exception"] = "\n".join("  | " + visible(line) for line in trace.split("\n"))
    return shown


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return visible(value if isinstance(value, str) else repr(value))


class _Forwarding(logging.Handler):
    """Passes the records of libraries to structlog, for the same form and the same redaction."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; `logging` itself reports one that cannot be formatted."""
        try:
            logger().log(
                record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
            )
        except Exception:  # noqa: BLE001 - a library's bad record must not end what logged it
            self.handleError(record)


def configure(settings: LogSettings) -> None:
    """Set the process's log up; libraries that use `logging` keep to warnings."""
    import structlog  # noqa: PLC0415 - see above

    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    colors = console and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    # Colours are escapes: the renderer writes to the stream beneath the one that shows escapes as text.
    stream = beneath(sys.stderr) if colors else sys.stderr
    # rich's tracebacks show local variables, which may hold secrets and strangers' text.
    rendering = (
        [
            _visible,
            structlog.dev.ConsoleRenderer(
                colors=colors, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if console
        else [structlog.processors.JSONRenderer(serializer=_json)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redacted,
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.log_level]
        ),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Forwarding()])
    # They log events that we report ourselves, such as a rollback after an interruption.
    for chatty in ("yfinance", "psycopg", "peewee"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)


def logger() -> Any:
    """The logger of structlog."""
    import structlog  # noqa: PLC0415 - see above

    return structlog.get_logger()
