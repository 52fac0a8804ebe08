"""How far a start has come: what is kept of one that is under way, and what is told of it."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass

from gateway.activation.admission import Ticket
from gateway.errors import StartFailed
from gateway.proxy.interface import RouteEntry
from gateway.spawners.base import Pull


class Phase(enum.StrEnum):
    """How far a start has come."""

    COLD = "cold"
    QUEUED = "queued"
    CREATING = "creating"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StartStatus:
    """What the waiting page shows.

    Attributes:
        phase: see Phase.
        position: place in the queue, from 1; 0 when not queued.
        reason: why the last start failed; "" if it did not.
        retry_after: seconds until the next try is allowed.
        cause: a stable word for the reason; see StartFailed.
        pull: how far the pull of its image is; None when none is pulled.
        short_of_memory: nobody starts until the machine has memory to spare.
    """

    phase: Phase
    position: int = 0
    reason: str = ""
    retry_after: float = 0.0
    cause: str = ""
    pull: Pull | None = None
    short_of_memory: bool = False


@dataclass(slots=True)
class Start:
    """A start under way.

    Attributes:
        ticket: its place in the queue.
        task: what does it.
        phase: how far it is.
        pull: see StartStatus.
        aside: waits for something long, its image or its files; None while it does not.
        withdrawn: why it was withdrawn; None if it was not.
    """

    ticket: Ticket
    task: asyncio.Task[RouteEntry]
    phase: Phase = Phase.QUEUED
    pull: Pull | None = None
    aside: asyncio.Task[None] | None = None
    withdrawn: StartFailed | None = None
