"""Latency at a fixed rate, open loop: counted from when each request was to be sent.

A slow answer does not delay the schedule, so what waits behind it counts too. The kernel's
timer wakes us: event loops round their timers to milliseconds.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import re
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence

_CONNECTIONS = 64
_LONGEST_SECONDS = 180.0
_ANSWER_SECONDS = 10.0
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of sorted values that `percent` of them do not exceed."""
    rank = -(-len(values) * percent // 100)
    return values[max(0, int(rank) - 1)]


class Connection:
    """A keep-alive connection with at most one request in flight."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._got = b""

    def send(self, request: bytes, due: float) -> None:
        """Send the request that was due at `due`."""
        self.due = due
        self.sock.sendall(request)

    def complete(self) -> bool:
        """Read; return whether the whole answer is there. Raises ConnectionError."""
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionError("the connection was closed")
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end:
            return False
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise ConnectionError(f"not a 200 with a length: {head[:200]!r}")
        if len(body) < int(length[1]):
            return False
        self._got = b""
        return True


class Schedule:
    """Sends on time, or as soon as a connection is free.

    Attributes:
        latencies: seconds from when a request was due to its whole answer.
        lateness: seconds from when it was due to when the generator came to it.
    """

    def __init__(self, port: int, request: bytes, rate: int) -> None:
        self.latencies: list[float] = []
        self.lateness: list[float] = []
        self._connections = {}
        for _ in range(_CONNECTIONS):
            made = Connection(port)
            self._connections[made.sock.fileno()] = made
        self._free = list(self._connections.values())
        self._waiting: deque[float] = deque()
        self._request, self._interval = request, 1.0 / rate
        self._began, self._next = 0.0, 0
        self._epoll = select.epoll()
        for number in self._connections:
            self._epoll.register(number, select.EPOLLIN)

    def run(self, seconds: float, until_told: bool) -> None:
        """Send for `seconds`; with `until_told` go on until standard input says something."""
        self._began = time.perf_counter()
        ticks = timer(self._began, self._interval)
        self._epoll.register(ticks, select.EPOLLIN)
        if until_told:
            self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        told, going = not until_told, True
        while going or len(self._free) < len(self._connections) or self._waiting:
            events = self._epoll.poll(_ANSWER_SECONDS)
            if not events:
                raise ConnectionError("no answer")
            for number, _ in events:
                if number == ticks:
                    os.read(ticks, 8)
                elif number in self._connections:
                    self._answered(self._connections[number])
                else:
                    told = True
                    self._epoll.unregister(number)
            elapsed = time.perf_counter() - self._began
            going = (elapsed < seconds or not told) and elapsed < _LONGEST_SECONDS
            if going:
                self._send_due()
        os.close(ticks)

    def _send_due(self) -> None:
        now = time.perf_counter()
        while (due := self._began + self._next * self._interval) <= now:
            self._next += 1
            self.lateness.append(now - due)
            if self._free:
                self._free.pop().send(self._request, due)
            else:
                self._waiting.append(due)

    def _answered(self, connection: Connection) -> None:
        if not connection.complete():
            return
        self.latencies.append(time.perf_counter() - connection.due)
        if self._waiting:
            connection.send(self._request, self._waiting.popleft())
        else:
            self._free.append(connection)


def fixed_rate(
    port: int, head: str, rate: int, seconds: float, until_told: bool = False
) -> Mapping[str, float]:
    """Send `rate` requests per second; return percentiles in milliseconds, and how many."""
    gc.disable()
    schedule = Schedule(port, head.encode(), rate)
    schedule.run(seconds, until_told)
    latencies, lateness = sorted(schedule.latencies), sorted(schedule.lateness)
    return {
        "p50": percentile(latencies, 50) * 1e3,
        "p99": percentile(latencies, 99) * 1e3,
        "p999": percentile(latencies, 99.9) * 1e3,
        "late": percentile(lateness, 99) * 1e3,
        "requests": len(latencies),
    }


def timer(began: float, interval: float) -> int:
    """Return a timerfd (timerfd_create(2)) that fires every `interval` seconds after `began`.

    Not a moment before: what is due then would be sent with the next one. `began` is of
    `time.perf_counter`, which is CLOCK_MONOTONIC on Linux.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC)
    first, then = math.ceil((began + interval) * 1e9), math.ceil(interval * 1e9)
    spec = struct.pack("qqqq", *divmod(then, 10**9), *divmod(first, 10**9))
    if descriptor < 0 or libc.timerfd_settime(descriptor, _ABSOLUTE, spec, None) < 0:
        raise OSError(ctypes.get_errno(), "no timer")
    return descriptor
