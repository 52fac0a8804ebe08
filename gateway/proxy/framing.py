"""Where a body ends: trackers for length, chunked and until-close (RFC 9112, sections 6 and 7).

No I/O. `feed` takes what came in and returns what is to be relayed, which is the very bytes that
came where the two sides are framed alike. Nothing here knows about connections.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Final, Protocol

from gateway.proxy.head import BadHead, parse_fields
from gateway.proxy.messages import Framing

Fields = list[tuple[bytes, bytes]]
TrailerFilter = Callable[[Fields], Fields]

_EXTENSION: Final = rb"(?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?"
_FIRST_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15}+)" + _EXTENSION + rb"\r\n")
_NEXT_SIZE: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,15}+)" + _EXTENSION + rb"\r\n")
_FIRST_PART: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,15}+[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?\r?)?")
_NEXT_PART: Final = re.compile(rb"\r?")
_LINE_LIMIT: Final = 4096
_TRAILER_LIMIT: Final = 16384


class BadFraming(Exception):
    """The bytes break the framing that the head promised; the text says how."""


class Truncated(Exception):
    """The peer closed before its body was complete."""


class Body(Protocol):
    """The rest of one message's body.

    Attributes:
        done: whether its end was seen.
    """

    done: bool

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """Return (what to relay, how many bytes of `data` belonged to the body).

        Raises:
            BadFraming: the body cannot be read on.
        """
        ...

    def at_eof(self) -> bytes:
        """Return what closes the relayed body when the sender has closed.

        Raises:
            Truncated: the body was not complete.
        """
        ...


class LengthBody:
    """A body of a known number of bytes."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """See Body."""
        used = len(data)
        if used >= self._left:
            used, self.done = self._left, True
        self._left -= used
        return data[:used], used

    def at_eof(self) -> bytes:
        """See Body."""
        raise Truncated(f"closed with {self._left} bytes of the body missing")


class UntilCloseBody:
    """A response that its sender ends by closing; relayed chunked if `chunk`, else as it is."""

    __slots__ = ("_chunk", "done")

    def __init__(self, *, chunk: bool) -> None:
        self._chunk = chunk
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """See Body."""
        if self._chunk and data:
            return b"%x\r\n%b\r\n" % (len(data), data), len(data)
        return data, len(data)

    def at_eof(self) -> bytes:
        """See Body."""
        self.done = True
        return b"0\r\n\r\n" if self._chunk else b""


class _At(enum.Enum):
    """What a chunked body has next, after the payload that is left."""

    FIRST_SIZE = enum.auto()
    NEXT_SIZE = enum.auto()
    TRAILERS = enum.auto()


class ChunkedBody:
    """A chunked body (RFC 9112, 7.1).

    Chunks and their extensions are relayed as they came; trailers are held until they are
    complete and go through `trailers`. With `decode`, the payload alone is relayed.
    """

    __slots__ = ("_at", "_decode", "_held", "_left", "_trailers", "done")

    def __init__(self, *, trailers: TrailerFilter, decode: bool = False) -> None:
        self._trailers = trailers
        self._decode = decode
        self._left = 0
        self._at = _At.FIRST_SIZE
        self._held = b""
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """See Body."""
        held = len(self._held)
        if held:
            data, self._held = self._held + data, b""
        relayed, used = self._decoded(data) if self._decode else self._as_it_came(data)
        return relayed, used - held

    def at_eof(self) -> bytes:
        """See Body."""
        raise Truncated("closed before the last chunk")

    def _as_it_came(self, data: bytes) -> tuple[bytes, int]:
        position = 0
        while self._at is not _At.TRAILERS:
            if self._left:
                position = self._skip_payload(data, position)
                if self._left:
                    return data[:position], position
            reached = self._size(data, position)
            if reached < 0:
                return data[:position], self._hold(data, position)
            position = reached
        return self._with_trailers(data, position)

    def _decoded(self, data: bytes) -> tuple[bytes, int]:
        position, pieces = 0, []
        while self._at is not _At.TRAILERS:
            if self._left:
                start, position = position, self._skip_payload(data, position)
                pieces.append(data[start:position])
                if self._left:
                    return b"".join(pieces), position
            reached = self._size(data, position)
            if reached < 0:
                return b"".join(pieces), self._hold(data, position)
            position = reached
        used = self._with_trailers(data, position)[1]
        return b"".join(pieces), used

    def _skip_payload(self, data: bytes, position: int) -> int:
        end = min(len(data), position + self._left)
        self._left -= end - position
        return end

    def _hold(self, data: bytes, position: int) -> int:
        self._held = data[position:]
        return len(data)

    def _size(self, data: bytes, position: int) -> int:
        """Read a size line; return the position behind it, or -1 when more data is needed."""
        first = self._at is _At.FIRST_SIZE
        line = (_FIRST_SIZE if first else _NEXT_SIZE).match(data, position)
        if line is None and not first and data.startswith(b"\r\n", position):
            # The chunk is complete, the next size is not: let the chunk go.
            self._at = _At.FIRST_SIZE
            return position + 2
        if line is None:
            part = _FIRST_PART if first else _NEXT_PART
            if len(data) - position > _LINE_LIMIT or not part.fullmatch(data, position):
                raise BadFraming("a chunk does not begin with its size, or is longer than it")
            return -1
        if line.end() - position > _LINE_LIMIT:
            raise BadFraming("a chunk extension is too long")
        self._left = int(line[1], 16)
        self._at = _At.NEXT_SIZE if self._left else _At.TRAILERS
        return line.end()

    def _with_trailers(self, data: bytes, position: int) -> tuple[bytes, int]:
        """Finish the body; `position` is behind the last chunk's size line."""
        if data.startswith(b"\r\n", position):
            self.done = True
            return data[: position + 2], position + 2
        end = data.find(b"\r\n\r\n", position) + 4
        if (end if end >= 4 else len(data)) - position > _TRAILER_LIMIT:
            raise BadFraming("the trailers are too long")
        if end < 4:
            return data[:position], self._hold(data, position)
        self.done = True
        return data[:position] + self._rendered(data[position:end]), end

    def _rendered(self, block: bytes) -> bytes:
        try:
            fields = self._trailers(parse_fields(block))
        except BadHead as error:
            raise BadFraming("a trailer line is malformed") from error
        return b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"


def no_trailers(fields: Fields) -> Fields:
    """Let no trailer pass: for a receiver that could take one for a header (RFC 9110, 6.5.1)."""
    return []


def request_body(framing: Framing, length: int, trailers: TrailerFilter) -> Body | None:
    """Return the tracker of a request's body; None when there is no body."""
    if framing is Framing.CHUNKED:
        return ChunkedBody(trailers=trailers)
    return LengthBody(length) if length else None


def response_body(
    framing: Framing, length: int, trailers: TrailerFilter, *, modern: bool
) -> Body | None:
    """Return the tracker of a response's body; None when there is no body.

    Args:
        framing: how the upstream ends it.
        length: for LENGTH.
        trailers: what is left of trailers.
        modern: whether the client speaks HTTP/1.1, and so knows chunked.
    """
    if framing is Framing.CHUNKED:
        return ChunkedBody(trailers=trailers, decode=not modern)
    if framing is Framing.UNTIL_CLOSE:
        return UntilCloseBody(chunk=modern)
    return LengthBody(length) if length else None
