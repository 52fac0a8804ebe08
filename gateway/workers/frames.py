"""Frames on the control socket: a length of four bytes, and that many bytes of JSON. Pure.

JSON because it carries data alone, is in the standard library, and its C code is quick enough;
what pickle would load is code.
"""

from __future__ import annotations

import json
from typing import Any

VERSION = 2
"""Of the protocol; both ends come from one installation, so another is refused."""

LARGEST = 8 * 2**20
"""Bytes of one frame."""

_PREFIX = 4

Message = dict[str, Any]
"""`t` says what it is."""


class BadFrame(Exception):
    """What came is no frame of this protocol; the connection cannot go on."""


def encode(message: Message) -> bytes:
    """Return the frame of a message."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return len(body).to_bytes(_PREFIX, "big") + body


class Decoder:
    """Cuts frames out of a stream of bytes."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes; return the messages that are complete now.

        Raises:
            BadFrame: too long, no JSON, or no message.
        """
        self._data += data
        messages = []
        start, size = 0, len(self._data)
        while size - start >= _PREFIX:
            length = int.from_bytes(self._data[start : start + _PREFIX], "big")
            if length > LARGEST:
                raise BadFrame(f"a frame of {length} bytes")
            end = start + _PREFIX + length
            if end > size:
                break
            messages.append(_message(self._data[start + _PREFIX : end]))
            start = end
        del self._data[:start]
        return messages


def _message(body: bytearray) -> Message:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise BadFrame("a frame that is no JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("t"), str):
        raise BadFrame("a frame that is no message")
    return message
