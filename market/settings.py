"""The settings of the market: providers and their keys, history, reports, Neon.

Commands and the worker load them and pass values on, so that the rooms below need no environment.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from sql.settings import Settings

PROVIDER_NAMES = (
    "yahoo",
    "csv",
    "sample",
    "fmp",
    "twelve_data",
    "polygon",
    "alpha_vantage",
    "finnhub",
    "stooq",
)
# The order without MARKET_PROVIDERS, of providers with a key. With a free key, Finnhub has no daily
# bars, and Stooq is closed; paid APIs come before a website.
_ORDER = {
    "free": ("yahoo", "fmp", "twelve_data", "polygon", "alpha_vantage"),
    "paid": ("polygon", "fmp", "twelve_data", "finnhub", "alpha_vantage", "yahoo"),
}
_NEED_A_KEY = ("fmp", "twelve_data", "polygon", "alpha_vantage", "finnhub")


def _key(provider: str) -> Any:
    return Field(default=None, description=f"the key of {provider}")


def _base(url: str) -> Any:
    return Field(default=url, description="where its paths begin, for a proxy or a test")


class RetentionSettings(Settings):
    """How long payloads, five-minute bars and the history of snapshots are kept; the sweep deletes older ones."""

    raw_retention_days: int = Field(
        default=90,
        ge=0,
        le=36500,
        description="days for which providers' raw answers are kept; `0`: not at all",
    )
    snapshot_history_days: int = Field(
        default=0,
        ge=0,
        le=36500,
        description="days for which the history of snapshots is kept; `0`: for ever",
    )
    intraday_retention_days: int = Field(
        default=90,
        ge=1,
        le=36500,
        description="days for which five-minute bars are kept; a month is dropped whole when all of it is older",
    )


class BenchmarkSettings(Settings):
    """The symbol that reports and snapshots compare with."""

    benchmark_symbol: str = Field(
        default="SPY",
        pattern=r"^[-A-Z0-9.^=:/]{1,20}$",
        description="the symbol whose returns are compared, in reports and in snapshots; it needs prices, and "
        "nothing fetches them by itself: `market fetch-prices -s SPY -d 3650`",
    )

    @field_validator("benchmark_symbol", mode="before")
    @classmethod
    def _symbol(cls, value: object) -> object:
        return value.strip().upper() if isinstance(value, str) else value


class MarketSettings(RetentionSettings, BenchmarkSettings):
    """The price providers, their order and keys, and how far back prices go.

    A key never reaches a log, an error, a row or a kept URL.
    """

    market_providers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="names in the order in which they are asked, with commas between: "
        + ", ".join(f"`{name}`" for name in PROVIDER_NAMES)
        + "; without it `MARKET_PROVIDER_POLICY` decides. `sample` invents prices and is used only when named",
    )
    market_provider_policy: Literal["free", "paid"] = Field(
        default="free",
        description="`free`: Yahoo, then those whose key is set; `paid`: those first, and their keys are of paid plans",
    )
    market_csv_dir: Path | None = Field(
        default=None,
        description="folder of the `csv` provider: `SYMBOL.csv` with "
        "`date,open,high,low,close,volume[,adjusted_close][,dividend][,split]`, prices as traded; regular files "
        "of at most 8 MB in it, no pipe, no device, no link that leads out of it",
    )
    market_cross_check_sample: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="symbols that `market cross-check` and the daily sync compare with a second provider",
    )
    backfill_days: int = Field(
        default=365,
        ge=1,
        le=36500,
        description="calendar days of history before the first moment that needs a ticker",
    )

    fmp_api_key: SecretStr | None = _key("Financial Modeling Prep")
    twelve_data_api_key: SecretStr | None = _key("Twelve Data")
    polygon_api_key: SecretStr | None = _key("Polygon (Massive)")
    alpha_vantage_api_key: SecretStr | None = _key("Alpha Vantage")
    finnhub_api_key: SecretStr | None = _key("Finnhub")
    stooq_api_key: SecretStr | None = _key("Stooq")

    fmp_base_url: str = _base("https://financialmodelingprep.com")
    twelve_data_base_url: str = _base("https://api.twelvedata.com")
    polygon_base_url: str = _base("https://api.polygon.io")
    alpha_vantage_base_url: str = _base("https://www.alphavantage.co")
    finnhub_base_url: str = _base("https://finnhub.io")
    stooq_base_url: str = _base("https://stooq.com")
    wikipedia_base_url: str = _base("https://en.wikipedia.org")

    index_csv_dir: str | None = Field(
        default=None,
        description="folder, or URL, of lists of members: `SP500.csv`, `NASDAQ100.csv`, `DOW30.csv` with a column "
        "`symbol` and perhaps `name,sector,industry`; asked after FMP and Wikipedia",
    )

    @property
    def provider_names(self) -> tuple[str, ...]:
        """The providers in order of preference: MARKET_PROVIDERS, or those of the policy."""
        return self.market_providers or tuple(
            name
            for name in _ORDER[self.market_provider_policy]
            if name not in _NEED_A_KEY or self.key(name)
        )

    @property
    def chooses(self) -> bool:
        """Whether scores may change the order: not that of MARKET_PROVIDERS."""
        return not self.market_providers

    def key(self, name: str) -> str:
        """Return a provider's key, or an empty string."""
        secret: SecretStr | None = getattr(self, f"{name}_api_key")
        return secret.get_secret_value() if secret else ""

    def base_url(self, name: str) -> str:
        """Return the URL that a provider's paths are appended to."""
        return str(getattr(self, f"{name}_base_url"))

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

    @field_validator("market_provider_policy", mode="before")
    @classmethod
    def _policy(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("*", mode="after")
    @classmethod
    def _key(cls, value: Any) -> Any:
        if not isinstance(value, SecretStr):
            return value
        text = value.get_secret_value().strip().strip("\"'")
        if not (text.isascii() and text.isprintable() and " " not in text):
            raise ValueError("not a key: it has a space or a character that no key has")
        return SecretStr(text) if text else None

    @field_validator("index_csv_dir")
    @classmethod
    def _csv_place(cls, value: str | None) -> str | None:
        text = (value or "").strip()
        if text.startswith(("http://", "https://")):
            return cls._base_url(text)
        return text or None

    @field_validator(*(f"{name}_base_url" for name in (*_NEED_A_KEY, "stooq", "wikipedia")))
    @classmethod
    def _base_url(cls, value: str) -> str:
        try:
            parts = urlsplit(value.strip())
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or parts.username:
            raise ValueError("not the beginning of a URL, such as https://host or http://host:8080")
        return value.strip().rstrip("/")

    @model_validator(mode="after")
    def _has_what_was_named(self) -> Self:
        if "csv" in self.market_providers and self.market_csv_dir is None:
            raise ValueError("MARKET_CSV_DIR: the provider csv needs the folder with its files")
        for name in _NEED_A_KEY:
            if name in self.market_providers and not self.key(name):
                raise ValueError(
                    f"{name.upper()}_API_KEY: the provider {name} needs a key; set it, or leave"
                    f" {name} out of MARKET_PROVIDERS"
                )
        return self


class NeonSettings(Settings):
    """The project and key for `market db backup --neon-branch`. The key is never shown."""

    neon_api_key: SecretStr | None = _key("Neon")
    neon_project_id: str | None = Field(
        default=None, pattern="^[a-z0-9-]+$", description="the project of which a branch is made"
    )
    neon_branch_id: str | None = Field(
        default=None,
        pattern="^[a-z0-9-]+$",
        description="the branch that is copied; without it the project's default branch",
    )
    neon_api_url: str = _base("https://console.neon.tech/api/v2")
