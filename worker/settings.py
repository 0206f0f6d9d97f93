"""The settings of the worker: how events are claimed, leased, retried and swept.

`process.py` reads them once and passes values on, so that the rooms below need no environment.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from market.settings import RetentionSettings
from sql.settings import Settings

# The aliases of Discord channels, each with a setting DISCORD_WEBHOOK_….
ALIASES = ("system_status", "signals", "portfolio", "morning_brew", "playground")


def _discord(alias: str) -> Any:
    return Field(
        default=None,
        description=f"webhook addresses of the Discord channel `{alias}`, divided by commas",
    )


class WorkerSettings(RetentionSettings):
    """How a worker claims, retries, sleeps and stops. Times are in seconds."""

    worker_batch_size: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description="prediction events claimed at once",
    )
    worker_max_symbols: int = Field(
        default=100,
        ge=1,
        le=2_000,
        description="symbols of one prediction that are processed: the first ones of its list, each counted once; "
        "the rest is skipped, with a count. Set it alike for all workers",
    )
    worker_prediction_concurrency: int = Field(
        default=2,
        ge=1,
        le=16,
        description="batches of prediction events that one worker processes side by side while more wait than one; "
        "`1` leaves more of a small server to the writers",
    )
    worker_ticker_concurrency: int = Field(
        default=4,
        ge=1,
        le=64,
        description="tickers fetched side by side by one worker",
    )
    worker_lease_seconds: float = Field(
        default=60,
        ge=1,
        le=86_400,
        description="a lease that is not renewed for this long ends, and another worker claims the event; "
        "it is renewed three times as often",
    )
    worker_poll_seconds: float = Field(
        default=5,
        gt=0,
        le=3_600,
        description="longest sleep without a notification",
    )
    worker_sweep_seconds: float = Field(
        default=60,
        gt=0,
        le=86_400,
        description="time between sweeps",
    )
    worker_heartbeat_seconds: float = Field(
        default=10,
        gt=0,
        le=3_600,
        description="time between heartbeats, whose echo the worker must hear itself",
    )
    worker_max_attempts: int = Field(
        default=8,
        ge=1,
        le=1_000,
        description="failures of its own before an event is set aside (`dead`)",
    )
    worker_max_crashes: int = Field(
        default=3,
        ge=1,
        le=1_000,
        description="workers that died on it before an event is set aside (`dead`)",
    )
    worker_drain_seconds: float = Field(
        default=25,
        ge=0,
        le=3_600,
        description="after SIGTERM, time to finish what is in flight; the rest is handed back",
    )
    worker_metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="the address on which `WORKER_METRICS_PORT` listens: this machine alone; "
        "`0.0.0.0` (or `::`) where the platform or Prometheus asks from another one",
    )
    worker_metrics_port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="HTTP port for `/metrics`, `/live` and `/ready`; `0`: none is opened",
    )
    worker_daily_sync: bool = Field(
        default=True,
        description="after each session's close the tickers that were fetched before get their newest bar; "
        "`false`: only what outcomes need",
    )
    worker_job_concurrency: int = Field(
        default=2,
        ge=1,
        le=16,
        description="runs of tasks side by side in one worker",
    )
    worker_schedules: bool = Field(
        default=True,
        description="`false`: this worker writes no ticks of schedules; where all say so, nothing runs by the clock",
    )
    intraday_poll_seconds: float = Field(
        default=0,
        ge=0,
        le=3_600,
        description="time between polls for five-minute bars of tracked symbols during their sessions, within what "
        "the quotas leave; `0`: none, `30` is usual. All workers share the symbols",
    )
    intraday_nightly: bool = Field(
        default=False,
        description="after each session its five-minute bars are fetched whole and compared with the daily bars; "
        "also with `INTRADAY_POLL_SECONDS`",
    )
    worker_idle: Literal["awake", "sleepy"] = Field(
        default="awake",
        description="`sleepy`: an idle worker closes its connections, so that a database that scales to zero can sleep",
    )
    worker_sleepy_seconds: float = Field(
        default=300,
        gt=0,
        le=86_400,
        description="with `sleepy`, the time until it looks again: the longest delay of an outcome",
    )
    worker_sleepy_after_seconds: float = Field(
        default=180,
        gt=0,
        le=86_400,
        description="with `sleepy`, the idle time before it closes its connections",
    )

    @field_validator("worker_idle", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @property
    def heartbeat_seconds(self) -> float:
        """Seconds between heartbeats; short enough to renew a lease twice before it ends."""
        return min(self.worker_heartbeat_seconds, self.worker_lease_seconds / 3)


class AlertSettings(Settings):
    """Where alerts go (docs/alerts.md). Set them alike for all workers: any of them may send.

    An address never reaches a log, an error, a row or an event.
    """

    discord_webhook_system_status: SecretStr | None = Field(
        default=None,
        description="webhook addresses of the Discord channel `system_status`, divided by commas: "
        "every alert goes there whose schedule names no channel",
    )
    discord_webhook_signals: SecretStr | None = _discord("signals")
    discord_webhook_portfolio: SecretStr | None = _discord("portfolio")
    discord_webhook_morning_brew: SecretStr | None = _discord("morning_brew")
    discord_webhook_playground: SecretStr | None = _discord("playground")
    alert_webhook_url: SecretStr | None = Field(
        default=None, description="every alert is sent there as JSON that is signed"
    )
    alert_webhook_secret: SecretStr | None = Field(
        default=None,
        description="with which the JSON for `ALERT_WEBHOOK_URL` is signed (HMAC-SHA256)",
    )

    @field_validator("*", mode="after")
    @classmethod
    def _stripped(cls, value: Any) -> Any:
        text = value.get_secret_value().strip().strip("\"'") if value is not None else ""
        return SecretStr(text) if text else None

    @model_validator(mode="after")
    def _addresses(self) -> "AlertSettings":
        for name in ("alert_webhook_url", *(f"discord_webhook_{alias}" for alias in ALIASES)):
            for address in _listed(getattr(self, name)):
                if not address.startswith(("https://", "http://")) or not address.isprintable():
                    raise ValueError(f"{name.upper()}: an address begins with https://")
        if self.alert_webhook_url and not self.alert_webhook_secret:
            raise ValueError("ALERT_WEBHOOK_URL needs ALERT_WEBHOOK_SECRET")
        return self

    @property
    def channels(self) -> list[str]:
        """The channels of alerts that name none."""
        found = ["discord:system_status"] if self.discord_webhook_system_status else []
        return [*found, "webhook"] if self.alert_webhook_url else found

    def addresses(self, channel: str) -> Sequence[str]:
        """Return the addresses of a channel of these settings; empty where it is not set."""
        if channel == "webhook":
            return _listed(self.alert_webhook_url)[:1]
        alias = channel.removeprefix("discord:")
        return _listed(getattr(self, f"discord_webhook_{alias}")) if alias in ALIASES else []


def _listed(secret: SecretStr | None) -> list[str]:
    text = secret.get_secret_value() if secret else ""
    return [part.strip() for part in text.split(",") if part.strip()]
