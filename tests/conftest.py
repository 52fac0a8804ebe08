from __future__ import annotations

import signal

pytest_plugins = ["tests.support.engine"]


def pytest_configure() -> None:
    """Let child processes be interrupted, also where the tests run as a background job."""
    # Shells have background jobs ignore SIGINT, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
