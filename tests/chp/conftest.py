"""Fixtures: a proxy with an echoing upstream as its default target."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.chp.harness import Rig, rig, url
from tests.proxy.conftest import pytest_asyncio_loop_factories  # noqa: F401 - a hook
from tests.proxy.upstreams import Upstream, echo


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream that the test plays by hand."""
    async with Upstream() as made:
        yield made


@pytest.fixture
async def echoing() -> AsyncIterator[Upstream]:
    """An upstream that answers with what it was sent."""
    async with Upstream(echo) as made:
        yield made


@pytest.fixture
async def proxy(echoing: Upstream) -> AsyncIterator[Rig]:
    """A proxy whose default target echoes."""
    async with rig("--default-target", url(echoing.port)) as made:
        yield made
