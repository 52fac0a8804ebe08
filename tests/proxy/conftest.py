"""Fixtures: an echoing upstream and a data path towards it, and towards one played by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import Upstream, echo

_Loops = dict[str, Callable[[], asyncio.AbstractEventLoop]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> _Loops:
    """Run the tests of modules whose EVERY_LOOP is true on uvloop too."""
    loops: _Loops = {"asyncio": asyncio.new_event_loop}
    if getattr(getattr(item, "module", None), "EVERY_LOOP", False):
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream that the test plays by hand."""
    async with Upstream() as made:
        yield made


@pytest.fixture
async def proxy(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Rig]:
    """A data path towards `upstream`."""
    async with rig(tmp_path, upstream.target) as made:
        yield made


@pytest.fixture
async def echoing(tmp_path: Path) -> AsyncIterator[Rig]:
    """A data path towards an upstream that echoes requests."""
    async with Upstream(echo) as server, rig(tmp_path, server.target) as made:
        yield made
