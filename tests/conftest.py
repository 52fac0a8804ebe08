from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.fixtures"]


def pytest_configure() -> None:
    """Make children what they are for a user: to be interrupted, and with byte code."""
    # Shells have background jobs ignore SIGINT, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A run that is ended from outside leaves no engine behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The same examples in each run, and as long as they take.
    settings.register_profile(
        "patient",
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("patient")
    # Hundreds of commands are started, and each would compile all that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
