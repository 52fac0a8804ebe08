"""The environments with JupyterHub; each module has a hub of its own, which its tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hub.environment import CURRENT, OLDER, EnvironmentMissing, environment


@pytest.fixture(scope="session")
def hub_environment() -> Path:
    """The folder of a virtual environment with JupyterHub."""
    return _made(CURRENT)


@pytest.fixture(scope="session")
def older_hub_environment() -> Path:
    """The folder of one with the JupyterHub before."""
    return _made(OLDER)


def _made(requirements: Path) -> Path:
    try:
        return environment(requirements)
    except EnvironmentMissing as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
