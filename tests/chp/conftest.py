"""Fixtures: a proxy with an echoing upstream as its default target."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.chp import peer
from tests.chp.harness import Rig, rig, url
from tests.chp.pair import Start
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


@pytest.fixture(scope="session")
def chp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """What starts configurable-http-proxy, once for each set of flags."""
    running: dict[tuple[str, ...], peer.Peer] = {}
    with contextlib.ExitStack() as stack:

        def start(*flags: str) -> peer.Peer:
            if flags not in running:
                folder = tmp_path_factory.mktemp("chp")
                running[flags] = stack.enter_context(peer.started(folder, *flags))
            return running[flags]

        yield start
