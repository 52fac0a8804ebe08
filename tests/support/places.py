"""Ports and subnets for tests: no two are given the same, in one process or in several."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from collections.abc import Iterator
from functools import cache

# Below the ports that connections go out from: a server that is started again finds its own free.
_LOWEST_PORT, _BLOCKS, _BLOCK = 15_000, 17, 1_000
_SUBNETS = itertools.count(random.randrange(20 * 256))


def free_port() -> int:
    """Return a port that nobody listens on now, and nobody else is given soon."""
    for port in _ports():
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports of a block have no end")


def free_ports(count: int) -> list[int]:
    """Return several of them."""
    return [free_port() for _ in range(count)]


def free_subnet() -> str:
    """Return a /24 for an engine's network; each of them once in 5,120 times."""
    high, low = divmod(next(_SUBNETS) % (20 * 256), 256)
    return f"10.{224 + high}.{low}.0/24"


@cache
def _ports() -> Iterator[int]:
    first = _LOWEST_PORT + _BLOCK * _own_block()
    return itertools.cycle(range(first, first + _BLOCK))


def _own_block() -> int:
    """Return the number of a block that no other process has, by a name that ends with this one."""
    for number in random.sample(range(_BLOCKS), _BLOCKS):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            claim.bind(f"\0nbgate-tests-ports-{number}")
            _CLAIMS.append(claim)
            return number
        claim.close()
    raise AssertionError(f"{_BLOCKS} runs of the tests have all the ports; end one")


_CLAIMS: list[socket.socket] = []
