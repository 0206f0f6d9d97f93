"""Settings from the environment and `.env`; a bad one is an error of one line.

Each floor has its own class derived from `Settings`; this floor's is `DatabaseSettings`.
It owns the forms that database URLs take in the wild, and the rule that a process started
by a platform never falls back to a private database.
"""

import os
import re
from pathlib import Path
from typing import Literal, Self, TypeVar

import psycopg
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sql.errors import InvalidInput

EMBEDDED = "embedded:"

# Set by Heroku, Railway, Render, Fly, Kubernetes, honcho, foreman and their kin for the
# processes of a Procfile, and rarely elsewhere.
PLATFORM_VARIABLES = (
    "DYNO",
    "RAILWAY_ENVIRONMENT",
    "RAILWAY_ENVIRONMENT_NAME",
    "RENDER",
    "FLY_APP_NAME",
    "KUBERNETES_SERVICE_HOST",
    "HONCHO_PROCESS_NAME",
    "PS",
    "PORT",
)

# Parameters that other drivers and ORMs put into URLs and libpq does not know.
FOREIGN_PARAMETERS = {
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "schema",
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
    "statement_cache_size",
    "server_settings",
}


# One of a URL's hosts: a name, an address in brackets or a quoted folder, and a port.
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")


class SettingsError(InvalidInput):
    """A setting that cannot be used; its text is one line for the person who set it."""


class Settings(BaseSettings):
    """Base of the floors' settings: environment first, then `.env`; other variables are ignored.

    A field's `description` is its row in docs/settings.md, and a class's docstring is the text
    above its table; `./dev docs` writes the page.
    """

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )


S = TypeVar("S", bound=Settings)


def load(kind: type[S]) -> S:
    """Read settings of one kind; a bad value raises `SettingsError` that names the variable."""
    try:
        return kind()
    except ValidationError as error:
        # The value itself stays out of the message: it may be a password.
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]).upper() if first["loc"] else ""
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name}: {message}" if name else message) from None


def normalize_url(url: str) -> str:
    """Bring a database URL into libpq's form; `embedded:PATH` and `key=value` pass.

    Raises ValueError with a sentence that does not contain the URL.
    """
    url = url.strip().strip("\"'").strip()
    if url.startswith(EMBEDDED):
        if not url.removeprefix(EMBEDDED):
            raise ValueError("embedded: needs a path, as in embedded:.reckoner")
        return url
    scheme, separator, rest = url.partition("://")
    if separator:
        base, _, _driver = scheme.partition("+")
        if base not in {"postgres", "postgresql"}:
            raise ValueError(
                "not a PostgreSQL URL; it should start with postgresql:// or embedded:"
            )
        # As libpq reads it: what follows the first @ is a host, and every message names that.
        authority, _, path = rest.partition("/")
        _, at, host = authority.partition("@")
        if "@" in (host if at else path).partition("?")[0]:
            raise ValueError(
                "an @ or a / of the password must be percent-encoded (%40, %2F), or its end is read as the host"
            )
        credentials = rest[: rest.index("@") + 1] if at else ""
        where, _, query = rest.removeprefix(credentials).partition("?")
        hosts = where.partition("/")[0].split(",")
        if not all(_PORT.fullmatch(each) for each in hosts):
            raise ValueError("the URL cannot be read; is the port a number?")
        kept = filter(None, (_libpq_parameter(text) for text in query.split("&") if text))
        parameters = "&".join(kept)
        url = f"postgresql://{credentials}{where}{'?' if parameters else ''}{parameters}"
    try:
        psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # libpq's own message quotes the string with its password.
        raise ValueError(
            "libpq cannot read it; it should look like postgresql://user:password@host/database,"
            " with special characters percent-encoded (%25 for %)"
        ) from None
    return url


def _libpq_parameter(text: str) -> str | None:
    """Return one `key=value` of a URL's query for libpq; None for an unknown key."""
    key, _, value = text.partition("=")
    if key in FOREIGN_PARAMETERS:
        return None
    if key == "ssl":
        return "sslmode=" + {
            "true": "require",
            "1": "require",
            "false": "disable",
            "0": "disable",
        }.get(value.lower(), value)
    return text


class DatabaseSettings(Settings):
    """Where the database is."""

    database_url: str = Field(
        default=EMBEDDED + ".reckoner",
        description="any PostgreSQL URL as platforms and SQLAlchemy write it, or libpq's `key=value` form; "
        "`embedded:PATH` is a [private server](embedded.md) with its data under PATH",
    )
    listen_database_url: str | None = Field(
        default=None,
        description="a direct connection for LISTEN where `DATABASE_URL` goes through a pooler; "
        "without it LISTEN uses `DATABASE_URL`",
    )

    @field_validator("database_url", "listen_database_url")
    @classmethod
    def _normalize(cls, value: str | None) -> str | None:
        return None if value is None else normalize_url(value)

    @model_validator(mode="after")
    def _no_private_database_on_a_platform(self) -> Self:
        if "database_url" not in self.model_fields_set:
            found = next((name for name in PLATFORM_VARIABLES if os.environ.get(name)), None)
            if found:
                raise ValueError(
                    f"DATABASE_URL: not set, and {found} says that this runs from a Procfile or on a"
                    f" platform; set it to the database, or to embedded:PATH if that is what you want"
                )
        return self

    @property
    def embedded_path(self) -> Path | None:
        """The folder of the private server, or None when the database is somewhere else."""
        if self.database_url.startswith(EMBEDDED):
            return Path(self.database_url.removeprefix(EMBEDDED))
        return None


class LogSettings(Settings):
    """How the log is written; it always goes to stderr."""

    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: `console` on a terminal, else `json` (a line each)"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="the least level that is written"
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value
