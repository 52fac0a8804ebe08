"""Asks a hot notebook again and again: through the gateway, and, in turn with that, itself.

A program of its own, so that a class that comes does not keep it from asking. It reads what to ask
as a line of JSON (a list of [port, head]), says that it is ready, and at each further line tells
what it measured since the last one: a list of seconds for each of what it asks.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

_PAUSE = 0.005
_WARM_UP = 200
_MOST = 65536

Asked = Sequence[tuple[int, str]]


class Asker:
    """The program, as its starter sees it.

    Args:
        asked: port at this machine, and the head of the request, of each.
    """

    def __init__(self, asked: Asked) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.lifecycle.asker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(json.dumps(asked))
        self._answer()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def taken(self) -> list[list[float]]:
        """Return what was measured since it was last asked for."""
        self._say("")
        taken: list[list[float]] = json.loads(self._answer())
        return taken

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a hot notebook was not answered; see above")
        return line


def ask(connection: socket.socket, head: bytes) -> float:
    """Ask once; return the seconds. Raises ConnectionError where the answer is not 200."""
    began = time.perf_counter()
    connection.sendall(head)
    answer = connection.recv(_MOST)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(answer[:200])
    return time.perf_counter() - began


def main() -> int:
    """See the module's docstring."""
    asked: Asked = json.loads(sys.stdin.readline())
    connections = [socket.create_connection(("127.0.0.1", port)) for port, _ in asked]
    heads = [head.encode() for _, head in asked]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(_WARM_UP):
        _ask_all(connections, heads)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    taken: list[list[float]] = [[] for _ in asked]
    while True:
        for one, seconds in zip(taken, _ask_all(connections, heads), strict=True):
            one.append(seconds)
        if select.select([sys.stdin], [], [], _PAUSE)[0]:
            if not sys.stdin.readline():
                return 0
            sys.stdout.write(json.dumps(taken) + "\n")
            sys.stdout.flush()
            taken = [[] for _ in asked]


def _ask_all(connections: Sequence[socket.socket], heads: Sequence[bytes]) -> list[float]:
    return [ask(connection, head) for connection, head in zip(connections, heads, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
