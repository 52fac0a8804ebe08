"""Puts routes into a running nbgate by its API, many calls at once.

It shares a core with the load generator and the upstream, so it must cost little, and yields to
them: what this program needs is not to be taken for the proxy's slowness.
"""

from __future__ import annotations

import gc
import os
import select
import time
from collections.abc import Iterator, Mapping

from bench.datapath.fixed_rate import Connection

_AT_ONCE = 128
_ANSWER_SECONDS = 30.0


def publish(port: int, token: str, count: int, target: int) -> Mapping[str, float]:
    """Set `count` routes to `127.0.0.1:target`; return how many, and the seconds."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # nice would keep whole time slices
    gc.disable()
    requests = (_request(port, token, number, target) for number in range(count))
    connections = {made.sock.fileno(): made for made in (Connection(port) for _ in range(_AT_ONCE))}
    epoll = select.epoll()
    began = time.perf_counter()
    for number, connection in connections.items():
        epoll.register(number, select.EPOLLIN)
        _go_on(connection, requests)
    left = count
    while left:
        events = epoll.poll(_ANSWER_SECONDS)
        if not events:
            raise ConnectionError("no answer")
        for number, _ in events:
            if connections[number].complete():
                left -= 1
                _go_on(connections[number], requests)
    return {"routes": count, "seconds": time.perf_counter() - began}


def _go_on(connection: Connection, requests: Iterator[bytes]) -> None:
    request = next(requests, None)
    if request is not None:
        connection.send(request, 0.0)


def _request(port: int, token: str, number: int, target: int) -> bytes:
    body = f'{{"target": "127.0.0.1:{target}"}}'
    head = (
        f"PUT /gateway/api/routes/one?key=/published/{number:07} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*head, "", body)).encode()
