"""A GiB up and a GiB down, past a reader that is slow to begin, at flat memory."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE

SIZE = 2**30
ALLOWED_GROWTH_KIB = 32 * 1024
BLOCK = bytes(2**20)


@dataclass
class Process:
    """A data path in a process of its own, and the listener behind it."""

    pid: int
    port: int
    upstream: socket.socket

    def memory(self, field: str) -> int:
        """Return VmRSS (now) or VmHWM (the most so far), in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"{field}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])

    def forget_peak(self) -> None:
        """Let VmHWM begin anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def connect(self, request: bytes) -> tuple[socket.socket, socket.socket]:
        """Send `request`'s head; return both ends, the head read upstream."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        client.sendall(request)
        server, _ = self.upstream.accept()
        server.settimeout(PATIENCE)
        read_head(server)
        return client, server


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """A data path in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(PATIENCE)
        command = [sys.executable, "-m", "tests.proxy.standalone"]
        arguments = [str(upstream.getsockname()[1]), str(tmp_path)]
        with subprocess.Popen(
            command + arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as child:
            assert child.stdout is not None
            yield Process(child.pid, int(child.stdout.readline()), upstream)
            assert child.stdin is not None
            child.stdin.close()
            assert child.wait(PATIENCE) == 0


def read_head(sock: socket.socket) -> bytes:
    """Read a head, byte by byte so that nothing behind it is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, "closed before the head was complete"
        head += byte
    return head


def send_all(sock: socket.socket, size: int, stalled: threading.Event) -> None:
    """Send `size` bytes; set `stalled` when the other side takes no more."""
    sock.settimeout(0.3)
    sent = 0
    while sent < size:
        try:
            sent += sock.send(memoryview(BLOCK)[: size - sent])
        except TimeoutError:
            stalled.set()
            sock.settimeout(PATIENCE)
    assert stalled.is_set(), "all was taken though nobody read"


def receive_all(sock: socket.socket, size: int, stalled: threading.Event) -> int:
    """Wait until the sender has stalled, then read `size` bytes."""
    assert stalled.wait(PATIENCE)
    buffer, received = bytearray(2**20), 0
    while received < size:
        count = sock.recv_into(buffer)
        assert count, f"closed after {received} bytes"
        received += count
    return received


def transfer(sender: socket.socket, receiver: socket.socket) -> None:
    """Send SIZE bytes from one to the other."""
    stalled = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_all, sender, SIZE, stalled)
        assert receive_all(receiver, SIZE, stalled) == SIZE
        sending.result(PATIENCE)


def test_gib_of_upload_takes_no_memory(process: Process) -> None:
    client, server = process.connect(
        b"PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % SIZE
    )
    with client, server:
        before = process.memory("VmRSS")
        process.forget_peak()
        transfer(client, server)
        server.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert read_head(client).startswith(b"HTTP/1.1 204")
        assert process.memory("VmHWM") - before <= ALLOWED_GROWTH_KIB


@pytest.mark.parametrize("framing", ["length", "close"])
def test_gib_of_download_takes_no_memory(process: Process, framing: str) -> None:
    client, server = process.connect(b"GET /down HTTP/1.0\r\nHost: h\r\n\r\n")
    with client, server:
        length = b"Content-Length: %d\r\n" % SIZE if framing == "length" else b""
        before = process.memory("VmRSS")
        process.forget_peak()
        server.sendall(b"HTTP/1.1 200 OK\r\n%b\r\n" % length)
        read_head(client)
        transfer(server, client)
        assert process.memory("VmHWM") - before <= ALLOWED_GROWTH_KIB


def test_gib_through_a_tunnel_takes_no_memory(process: Process) -> None:
    client, server = process.connect(
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    with client, server:
        server.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        read_head(client)
        before = process.memory("VmRSS")
        process.forget_peak()
        transfer(client, server)
        assert process.memory("VmHWM") - before <= ALLOWED_GROWTH_KIB
