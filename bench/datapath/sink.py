"""A server that swallows uploads and echoes WebSocket messages: `… bench.datapath.sink PORT`.

It must never be the bottleneck: bytes of a body are received into one buffer that nobody looks
at, and frames are echoed by cutting the mask out, which the load client sends as zeros. Only a
proxy that makes frames of its own masks them otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import re
import socket
from typing import cast

from bench.datapath.loops import new_loop

_BUFFER_BYTES = 1 << 20
_ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"\r\nsec-websocket-key:[ \t]*([^\r]+)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_NO_MASK = bytes(4)


class BadFrame(ValueError):
    """The frame is not one that the load client sends."""


def echo_frames(data: bytes) -> tuple[bytes, int]:
    """Return the server's frames for the whole client frames in `data`, and how much they were.

    Raises:
        BadFrame: a frame is larger than 64 KiB.
    """
    frames, position = [], 0
    while (whole := _frame_at(data, position)) is not None:
        header, payload, end = whole
        frames.append(bytes((data[position], data[position + 1] & 0x7F)))
        frames.append(data[position + 2 : header])
        frames.append(_unmasked(data[payload - 4 : payload], data[payload:end]))
        position = end
    return b"".join(frames), position


def _unmasked(mask: bytes, payload: bytes) -> bytes:
    if mask == _NO_MASK:
        return payload
    size = len(payload)
    stretched = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(stretched, "big") ^ int.from_bytes(payload, "big")).to_bytes(size, "big")


def _frame_at(data: bytes, start: int) -> tuple[int, int, int] | None:
    """Return (end of the length, start of the payload, end) of a whole frame, or None."""
    if len(data) < start + 2:
        return None
    length, header = data[start + 1] & 0x7F, start + 2
    if length == 127:
        raise BadFrame("longer than 64 KiB")
    if length == 126:
        length, header = int.from_bytes(data[header : header + 2], "big"), header + 2
    end = header + 4 + length
    return (header, header + 4, end) if len(data) >= end else None


class Sink(asyncio.BufferedProtocol):
    """One connection: uploads one after another, or after an upgrade an echo."""

    _shared = memoryview(bytearray(_BUFFER_BYTES))

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._kept = b""
        self._left = 0
        self._echoing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to receive; callbacks of one loop do not overlap, so all share it."""
        return self._shared

    def buffer_updated(self, nbytes: int) -> None:
        """Count a body's bytes unseen; take heads and frames apart."""
        if self._left > nbytes:
            self._left -= nbytes
            return
        data = bytes(self._shared[:nbytes])
        if self._left:
            data = data[self._left :]
            self._left = 0
            self._answer(b"swallowed")
        self._kept += data
        while not self._echoing and self._left == 0 and b"\r\n\r\n" in self._kept:
            self._take_head()
        if self._echoing and self._kept:
            self._echo()

    def eof_received(self) -> bool:
        """Close."""
        return False

    def _take_head(self) -> None:
        head, _, rest = self._kept.partition(b"\r\n\r\n")
        self._kept = b""
        key, length = _KEY.search(head), _LENGTH.search(head)
        if key is not None:
            self._echoing, self._kept = True, rest
            self._write(_switching(key[1].strip()))
            return
        size = int(length[1]) if length is not None else 0
        if len(rest) < size:
            self._left = size - len(rest)
            return
        self._kept = rest[size:]
        self._answer(b"swallowed")

    def _echo(self) -> None:
        try:
            frames, used = echo_frames(self._kept)
        except BadFrame:
            assert self._transport is not None
            self._transport.abort()
            return
        self._kept = self._kept[used:]
        if frames:
            self._write(frames)

    def _answer(self, body: bytes) -> None:
        self._write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)


def _switching(key: bytes) -> bytes:
    accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_SUFFIX).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Run the sink."""
    parser = argparse.ArgumentParser(prog="python -m bench.datapath.sink")
    parser.add_argument("port", type=int)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
