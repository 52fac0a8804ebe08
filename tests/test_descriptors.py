"""File descriptors: as many as may be had, and one line when there are none left."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gateway.descriptors import Watch


@pytest.fixture
def scarce() -> Iterator[None]:
    """Let this process have none more than it has."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_it_is_said_once_that_none_is_left_and_once_that_there_are_enough(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch()
    with caplog.at_level(logging.INFO, "gateway.descriptors"):
        assert not watch.look()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        request.getfixturevalue("scarce")
        assert watch.look()
        assert watch.look()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert not watch.look()
        assert not watch.look()
    first, second = caplog.messages
    assert first.startswith("no file descriptors left")
    assert second.startswith("file descriptors suffice again")


def test_soft_limit_is_raised_to_the_hard_one() -> None:
    program = (
        "import resource\n"
        "from gateway.descriptors import raise_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))\n"
        "raise_limit()\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, 256)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
