"""A connection on the control socket: frames both ways. What they mean is for its two ends."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

from gateway.workers.frames import Decoder, Message, encode

_READ_BYTES = 256 * 1024
_SEND_SECONDS = 30.0
_CREDENTIALS = struct.Struct("3i")


class Channel:
    """See the module's docstring."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def peer(self) -> int:
        """The process id of the other end, as the kernel tells (SO_PEERCRED, unix(7))."""
        return self._credentials()[0]

    @property
    def user(self) -> int:
        """The user id of the other end."""
        return self._credentials()[1]

    def send(self, message: Message) -> None:
        """Send, without waiting."""
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    async def sent(self) -> None:
        """Return when the other end has taken most of what was sent.

        Raises:
            OSError, TimeoutError: it is gone, or takes nothing.
        """
        async with asyncio.timeout(_SEND_SECONDS):
            await self._writer.drain()

    async def messages(self) -> AsyncIterator[Message]:
        """Yield messages until the other end closes.

        Raises:
            OSError: the connection broke.
            BadFrame: what came is no message.
        """
        decoder = Decoder()
        while data := await self._reader.read(_READ_BYTES):
            for message in decoder.feed(data):
                yield message

    def close(self) -> None:
        """Close at once."""
        self._writer.transport.abort()

    def _credentials(self) -> tuple[int, int, int]:
        sock = self._writer.get_extra_info("socket")
        told = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, user, group = _CREDENTIALS.unpack(told)
        return pid, user, group
