"""A writer that is killed leaves the old file or the new one, and httpd goes on answering."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import struct
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from routes.apachedb import ApacheDB, check, read
from tests.httpd.conftest import Front
from tests.httpd.upstreams import Client, upstreams
from tests.httpd.writer import STEPS, write_until_killed

_SEED = 20240608
_KILLS = 200
_LARGE_EVERY = 25
_SECONDS = 60
_WORD = struct.Struct("=iI")


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Makes writers by forking a process that has everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.httpd.writer"])
    return context


@contextlib.contextmanager
def writer(
    processes: ForkServerContext, path: Path, ports: list[int], first: int, others: int, stop: str
) -> Iterator[tuple[BaseProcess, int]]:
    """Start a writer; yield it and the descriptor of its report; it is gone at the end."""
    receiving, sending = os.pipe()
    arguments = (path, ports, first, others, stop, os.dup(sending))
    process = processes.Process(target=write_until_killed, args=arguments)
    raise NotImplementedError
