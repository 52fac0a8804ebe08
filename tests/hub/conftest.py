"""The environment with JupyterHub; each module has a hub of its own, which its tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hub.environment import EnvironmentMissing, environment


@pytest.fixture(scope="session")
def hub_environment() -> Path:
    """The folder of a virtual environment with JupyterHub."""
    try:
        return environment()
    except EnvironmentMissing as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
