"""A client process and the benchmark take turns, by lines on standard input and output."""

from __future__ import annotations

import sys


def ready() -> None:
    """Tell the benchmark that its turn has come, and wait until it says go on."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
