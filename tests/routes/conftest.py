from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from routes.apachedb import ApacheDB
from tests.support.waiting import PATIENCE


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emptying a map is waited for, however slow the disk: who gives up has a bound of its own."""
    monkeypatch.setattr("routes.admission.WITHHOLD_SECONDS", PATIENCE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routes.gdbm"


@pytest.fixture
def database(path: Path) -> Iterator[ApacheDB]:
    with ApacheDB(path) as opened:
        yield opened
