"""Settings of the life cycle of servers: starts, stops, and how long they stay."""

from __future__ import annotations

import os

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from gateway.notebooks.stillbusy import check_still_busy
from gateway.sizes import parse_bytes


class LifecycleSettings(BaseSettings):
    """See the module's docstring. Durations are seconds, sizes bytes; 0 means never."""

    start_timeout: float = Field(
        default=60.0, gt=0, description="Seconds a notebook may take until it is ready."
    )
    starts_at_once: int = Field(
        default=os.cpu_count() or 1, gt=0, description="How many notebooks start at once."
    )
    queue_length: int = Field(
        default=1000,
        gt=0,
        description="How many starts wait at most; who comes then gets 429 and tries again.",
    )
    running_per_owner: int = Field(
        default=0, ge=0, description="Notebooks of one owner that run at the same time; 0: any."
    )
    running_in_all: int = Field(
        default=0, ge=0, description="Notebooks that run at the same time; 0: any number."
    )
    memory_reserve: str = Field(
        default="512M",
        description="Starts wait while the machine has less memory available, e.g. 2G; 0: they do "
        "not. Only where the engine is on the gateway's machine.",
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
    autosave: float = Field(
        default=120.0,
        ge=0,
        description="Seconds between two saves of an open document, the most that a stop loses of "
        "what was typed; 0: only by hand. In our image.",
    )
    relist_interval: float = Field(
        default=30.0,
        gt=0,
        description="Seconds between two comparisons of all notebooks with the engine; its events "
        "are followed besides.",
    )
    health_interval: float = Field(
        default=30.0,
        gt=0,
        description="Seconds between two probes of a server that is ready; three that are missed "
        "in a row make it unhealthy, which is told and stops nothing.",
    )
    sweep_after: float = Field(
        default=3600.0,
        gt=0,
        description="Seconds after which what is left over on the engine is removed: containers "
        "that ended by themselves, or were never started.",
    )
    operations_kept: float = Field(
        default=2592000.0,
        gt=0,
        description="Seconds that it is remembered what was done to notebooks, and by whom.",
    )
    idle_timeout: float = Field(
        default=3600.0, ge=0, description="Seconds without use after which a server is stopped."
    )
    max_age: float = Field(
        default=0.0,
        ge=0,
        description="Seconds after its start when a server is stopped, whatever it does.",
    )
    warning_time: float = Field(
        default=300.0,
        ge=0,
        description="Seconds before a stop that open pages are told of it; 0: they are not.",
    )
    busy_cap: float = Field(
        default=86400.0,
        ge=0,
        description="Seconds after the last sign of a person that work alone (a busy kernel, a "
        "program in a terminal) keeps a server.",
    )
    pause_after: float = Field(
        default=0.0,
        ge=0,
        description="Seconds without use after which a server is paused: it keeps its memory.",
    )
    remove_after: float = Field(
        default=0.0,
        ge=0,
        description="Seconds that a container is kept when it was stopped; 0: none.",
    )
    still_busy: str = Field(
        default="",
        description="What is asked before a server is stopped: an http(s) URL ({slug} is the "
        "notebook's), whose 200 is a veto, or a command in the server that ends with 0.",
    )
    cull_interval: float = Field(
        default=60.0, gt=0, description="Seconds between two looks for servers that nobody uses."
    )

    @field_validator("still_busy")
    @classmethod
    def _still_busy(cls, value: str) -> str:
        return check_still_busy(value) if value else value

    @field_validator("memory_reserve")
    @classmethod
    def _reserve(cls, value: str) -> str:
        if value != "0":
            parse_bytes(value)
        return value

    @property
    def memory_reserve_bytes(self) -> int:
        """The memory that a start leaves to the machine; 0 for none."""
        return 0 if self.memory_reserve == "0" else parse_bytes(self.memory_reserve)
