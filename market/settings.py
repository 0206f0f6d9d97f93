"""The settings of this floor: providers, history, and how the log is written."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from sql.settings import Settings

PROVIDER_NAMES = ("yahoo", "csv", "sample")


class RetentionSettings(Settings):
    """How many days providers' raw answers are kept; 0: not at all. The sweep prunes by it."""

    raw_retention_days: int = Field(default=90, ge=0, le=36500)


class MarketSettings(RetentionSettings):
    """Which providers, in which order, how far back; see the README's table of settings."""

    market_providers: Annotated[tuple[str, ...], NoDecode] = ("yahoo",)
    market_csv_dir: Path | None = None
    backfill_days: int = Field(default=365, ge=1, le=36500)

    @field_validator("market_providers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = tuple(name.strip().lower() for name in value.split(",") if name.strip())
        unknown = [name for name in names if name not in PROVIDER_NAMES]
        if unknown or not names:
            raise ValueError(
                f"unknown provider {', '.join(unknown) or '(none)'}; known: {', '.join(PROVIDER_NAMES)}"
            )
        return tuple(dict.fromkeys(names))

    @model_validator(mode="after")
    def _csv_needs_a_folder(self) -> Self:
        if "csv" in self.market_providers and self.market_csv_dir is None:
            raise ValueError("MARKET_CSV_DIR: the provider csv needs the folder with its files")
        return self


class ReportSettings(Settings):
    """What reports compare with."""

    benchmark_symbol: str = Field(default="SPY", pattern=r"^[-A-Z0-9.^=:/]{1,20}$")

    @field_validator("benchmark_symbol", mode="before")
    @classmethod
    def _symbol(cls, value: object) -> object:
        return value.strip().upper() if isinstance(value, str) else value


class NeonSettings(Settings):
    """For `db backup --neon-branch`: whose project is branched; the key is never shown."""

    neon_api_key: SecretStr | None = None
    neon_project_id: str | None = Field(default=None, pattern="^[a-z0-9-]+$")
    neon_branch_id: str | None = Field(default=None, pattern="^[a-z0-9-]+$")
    neon_api_url: str = "https://console.neon.tech/api/v2"


class LogSettings(Settings):
    """How the log is written; it always goes to stderr."""

    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value
