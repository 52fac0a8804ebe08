from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.spawners.helpers import Workshop
from tests.support.engine import EngineHandle


@pytest.fixture
async def workshop(
    engine: EngineHandle, stub_image: str, tmp_path: Path
) -> AsyncIterator[Workshop]:
    """An installation whose servers are trivial and quick."""
    made = Workshop(engine, tmp_path, stub_image)
    yield made
    await made.clean()


@pytest.fixture
async def jupyter(
    engine: EngineHandle, notebook_image: str, tmp_path: Path
) -> AsyncIterator[Workshop]:
    """An installation whose servers are the real notebook image."""
    made = Workshop(engine, tmp_path, notebook_image)
    yield made
    await made.clean()
