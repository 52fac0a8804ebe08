from __future__ import annotations

import pytest

from tests.support.engine import EngineHandle
from tests.support.faults import make_misbehaving_image


@pytest.fixture(scope="session")
def misbehaving_image(engine: EngineHandle) -> str:
    """The tag of an image whose server behaves as its environment says."""
    return make_misbehaving_image(engine)
