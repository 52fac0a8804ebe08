"""A culler over a real life cycle, with an engine in memory and clocks that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.activation.culler import Culler, Traffic
from gateway.activation.signals import Signals
from gateway.activation.usage import UsageProbe
from gateway.activation.weighing import Weigher
from gateway.namespace import Namespace
from gateway.notebooks.database import DatabaseError
from gateway.notebooks.model import Lifetimes, State
from gateway.proxy.interface import Activity
from tests.activation.conftest import World

DEFAULTS = Lifetimes(
    idle_timeout=3600.0,
    max_age=0.0,
    warning=300.0,
    busy_cap=86400.0,
    pause_after=0.0,
    remove_after=0.0,
)


@dataclass
class Watch:
    """A culler, and what it sees.

    Attributes:
        jumped: how far the wall clock has been moved.
        leads: whether its gateway does.
        blind: the traffic cannot be told.
        elsewhere: the traffic of other gateways.
        did: what was counted.
    """

    world: World
    began: datetime
    jumped: timedelta = timedelta()
    leads: bool = True
    blind: bool = False
    elsewhere: dict[str, Traffic] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    culler: Culler = field(init=False)

    def wall(self) -> datetime:
        return self.began + timedelta(seconds=self.world.clock() - 1000.0) + self.jumped

    async def traffic(self) -> Mapping[str, Traffic]:
        if self.blind:
            raise DatabaseError("the database is away")
        books = self.world.catalogue.notebooks()
        return {book.slug: self.own_traffic(book.slug) for book in books} | self.elsewhere

    def own_traffic(self, slug: str) -> Traffic:
        activity, now = self.activity(slug), self.world.clock()
        ago = timedelta(seconds=now - activity.last)
        last = self.wall() - ago if activity.last else None
        return Traffic(last, activity.requests, activity.websockets)

    def activity(self, slug: str) -> Activity:
        entry = self.world.routes.entry(f"/nb/{slug}")
        assert entry is not None
        assert entry.activity is not None
        return entry.activity

    def use(self, slug: str) -> None:
        """Be a person."""
        self.activity(slug).last = self.world.clock()

    async def started(self, person: str = "alice") -> str:
        """Start a notebook, by a person's request; return its slug."""
        slug = await self.world.notebook(person)
        self.use(slug)
        await self.world.activator.ensure(slug)
        # Its start is told by the real clock; here no time has passed.
        began = self.world.catalogue.notebook(slug).started
        assert began is not None
        self.began = began - timedelta(seconds=self.world.clock() - 1000.0)
        return slug

    async def after(self, seconds: float, every: float = 60.0) -> None:
        """Let time pass, with a look now and then and one at the end."""
        end = self.world.clock.now + seconds
        while self.world.clock.now < end:
            self.world.clock.now = min(end, self.world.clock.now + every)
            await self.culler.look()

    def state(self, slug: str) -> State:
        return self.world.catalogue.notebook(slug).state

    def told(self, **doing: list[dict[str, Any]]) -> None:
        """Have servers tell this of themselves."""
        self.world.spawner.doing = {"kernels": [], "terminals": []} | doing

    def kernel(self, state: str = "idle", ago: float = 0.0) -> list[dict[str, Any]]:
        last = self.wall() - timedelta(seconds=ago)
        return [{"execution_state": state, "last_activity": last.isoformat()}]


@pytest.fixture
async def watch(world: World) -> AsyncIterator[Watch]:
    made = Watch(world, datetime.now(UTC))
    probe = UsageProbe()
    signals = Signals(
        probe,
        world.spawner,
        world.spaces,
        Namespace().base_url,
        world.clock,
        made.wall,
        direct=False,
        vetoed=lambda: made.did.append("vetoed"),
    )
    weigher = Weigher(
        world.catalogue,
        signals,
        lambda slug: world.routes.entry(f"/nb/{slug}"),
        DEFAULTS,
        made.traffic,
        world.clock,
        made.wall,
    )
    made.culler = Culler(
        world.catalogue,
        world.lifecycle,
        world.spawner,
        weigher,
        lambda: made.leads,
        made.did.append,
        60.0,
    )
    yield made
    await probe.close()


async def lifetimes(watch: Watch, **changes: Any) -> None:
    await watch.world.catalogue.update_project("demo", lifetimes=Lifetimes(**changes))
