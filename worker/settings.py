"""The settings of the worker: how events are claimed, leased, retried and swept.

`process.py` reads them once and passes values on, so that the rooms below need no environment.
"""

from typing import Literal

from pydantic import Field, field_validator

from market.settings import RetentionSettings


class WorkerSettings(RetentionSettings):
    """Settings of the worker, in the README's table; all durations in seconds."""

    worker_batch_size: int = Field(default=500, ge=1, le=10_000)
    worker_max_symbols: int = Field(default=100, ge=1, le=2_000)
    worker_prediction_concurrency: int = Field(default=2, ge=1, le=16)
    worker_ticker_concurrency: int = Field(default=4, ge=1, le=64)
    worker_lease_seconds: float = Field(default=60, ge=1, le=86_400)
    worker_poll_seconds: float = Field(default=5, gt=0, le=3_600)
    worker_sweep_seconds: float = Field(default=60, gt=0, le=86_400)
    worker_heartbeat_seconds: float = Field(default=10, gt=0, le=3_600)
    worker_max_attempts: int = Field(default=8, ge=1, le=1_000)
    worker_max_crashes: int = Field(default=3, ge=1, le=1_000)
    worker_drain_seconds: float = Field(default=25, ge=0, le=3_600)
    worker_metrics_host: str = Field(default="127.0.0.1", min_length=1)
    worker_metrics_port: int = Field(default=0, ge=0, le=65_535)
    worker_daily_sync: bool = True
    worker_idle: Literal["awake", "sleepy"] = "awake"
    worker_sleepy_seconds: float = Field(default=300, gt=0, le=86_400)
    worker_sleepy_after_seconds: float = Field(default=180, gt=0, le=86_400)

    @field_validator("worker_idle", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @property
    def beat_seconds(self) -> float:
        """Seconds between heartbeats; short enough to renew a lease twice before it ends."""
        return min(self.worker_heartbeat_seconds, self.worker_lease_seconds / 3)
