"""Fixtures: an echoing upstream and a data path towards it, and towards one played by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.proxy.harness import Rig, Upstream, echo, rig


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
