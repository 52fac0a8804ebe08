from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from routes.apachedb import ApacheDB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routes.gdbm"


@pytest.fixture
def database(path: Path) -> Iterator[ApacheDB]:
    with ApacheDB(path) as opened:
        yield opened
