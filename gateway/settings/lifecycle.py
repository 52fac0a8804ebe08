"""Settings of the life cycle of servers: starts, stops, and how long they stay."""

from __future__ import annotations

import os

from pydantic import Field
from pydantic_settings import BaseSettings


class LifecycleSettings(BaseSettings):
    """See the module's docstring. Durations are seconds, sizes bytes; 0 means never."""

    start_timeout: float = Field(
        default=60.0, gt=0, description="Seconds a notebook may take until it is ready."
    )
    starts_at_once: int = Field(
        default=os.cpu_count() or 1, gt=0, description="How many notebooks start at once."
    )
    hold_timeout: float = Field(
        default=50.0,
        gt=0,
        description="Seconds a request is held for a starting notebook; keep it below the "
        "timeout of a proxy in front.",
    )
    stop_grace: float = Field(
        default=10.0, ge=0, description="Seconds between SIGTERM and SIGKILL."
    )
