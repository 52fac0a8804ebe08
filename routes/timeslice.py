"""A short time slice for a thread that must soon have the core when it wakes (Linux 6.12 or newer).

The scheduler leaves whoever runs alone until their slice is over, some milliseconds, whatever their
priority; and where one wakes whose slice is shorter than that of the one that runs, it may go
first. So this helps a thread that waits, and those that wait for it (docs/performance.md).
"""

from __future__ import annotations

import os
import platform
import struct
import sys

_NANOSECONDS = 100_000  # the least that the kernel takes
_SYSTEM_CALLS = {"x86_64": 314, "aarch64": 274}
_RESET_ON_FORK = 0x01
"""SCHED_FLAG_RESET_ON_FORK: what is started, notebooks' servers too, has an ordinary slice."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period."""


def shorten() -> bool:
    """Give this thread a short slice, and none of those that it starts.

    Returns:
        Whether the system has taken it. Older ones take it, and do nothing; where a real-time
        policy was set for the process, nothing is done either.
    """
    # sched_setattr(2), which the C library has since glibc 2.41 alone.
    number = _SYSTEM_CALLS.get(platform.machine())
    if number is None or sys.platform != "linux" or sys.maxsize < 2**32:
        return False
    try:
        import ctypes  # noqa: PLC0415 - not every Python has it; a proxy without a file needs it here alone
    except ImportError:
        return False
    policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(
        *(_ATTRIBUTES.size, policy, _RESET_ON_FORK, nice), *(0, _NANOSECONDS, 0, 0)
    )
    result: int = ctypes.CDLL(None).syscall(number, 0, attributes, 0)
    return result == 0
