"""What tests are given of the engine: a pytest plugin."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.support.building import make_base_image
from tests.support.engine import EngineHandle, EngineMissing, Say, opened, say
from tests.support.images import make_notebook_image, make_stock_image, make_stub_image


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs an engine, so that `-m "not engine"` leaves it out."""
    for item in items:
        if "engine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def engine_progress(pytestconfig: pytest.Config) -> Say:
    """What shows progress past pytest's capturing: the first build takes minutes."""
    capturing = pytestconfig.pluginmanager.getplugin("capturemanager")

    def tell(line: str) -> None:
        with capturing.global_and_fixture_disabled():
            say(line)

    return tell


@pytest.fixture(scope="session")
def engine(engine_progress: Say) -> Iterator[EngineHandle]:
    """A Docker Engine for this session."""
    with contextlib.ExitStack() as stack:
        try:
            handle = stack.enter_context(opened(engine_progress))
        except EngineMissing as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield handle


@pytest.fixture(scope="session")
def base_image(engine: EngineHandle, engine_progress: Say) -> str:
    """The tag of a Debian with Python."""
    return make_base_image(engine, engine_progress)


@pytest.fixture(scope="session")
def notebook_image(engine: EngineHandle, engine_progress: Say) -> str:
    """The tag of the notebook image."""
    return make_notebook_image(engine, engine_progress)


@pytest.fixture(scope="session")
def stock_image(engine: EngineHandle, engine_progress: Say) -> str:
    """The tag of a stock Jupyter: an image that is not ours."""
    return make_stock_image(engine, engine_progress)


@pytest.fixture(scope="session")
def stub_image(engine: EngineHandle, engine_progress: Say) -> str:
    """The tag of an image that passes for ours and answers at once."""
    return make_stub_image(engine, engine_progress)
