from __future__ import annotations

import pytest

from tests.support.databases import cluster, database, database_url
from tests.support.engine import EngineHandle
from tests.support.faults import make_misbehaving_image

__all__ = ["cluster", "database", "database_url"]


@pytest.fixture(scope="session")
def misbehaving_image(engine: EngineHandle) -> str:
    """The tag of an image whose server behaves as its environment says."""
    return make_misbehaving_image(engine)
