"""A short time slice: whoever else waits for the core gets it soon (Linux 6.12 or newer).

The scheduler leaves a process alone until its slice is over, 2.8 ms as a rule, whatever its
priority; and where one wakes whose slice is shorter than that of the one that runs, it may go
first. So this helps a process that waits, and those that wait for it (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

_NANOSECONDS = 100_000  # the least that the kernel takes
_SYSTEM_CALLS = {"x86_64": 314, "aarch64": 274}
_KEEP_POLICY = 0x08  # SCHED_FLAG_KEEP_POLICY
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period."""


def shorten() -> bool:
    """Give this thread, and what it starts from now on, a short slice.

    Returns:
        Whether the system has taken it; older ones take it too, and do nothing.
    """
    # sched_setattr(2). The C library has it since glibc 2.41 alone.
    number = _SYSTEM_CALLS.get(platform.machine())
    if number is None or sys.platform != "linux":
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, _KEEP_POLICY, nice, 0, _NANOSECONDS, 0, 0)
    result: int = ctypes.CDLL(None).syscall(number, 0, attributes, 0)
    return result == 0
