"""Reading heads quickly where most of them was read before. Pure; the grammar is head.py's.

A client repeats its headers from request to request, an upstream its header lines from response
to response. What the strict grammar has accepted once is recognised byte for byte; all else goes
through it.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.proxy.fields import FOR_ORIGIN, FRAMING, HOP_BY_HOP
from gateway.proxy.head import BODYLESS_STATUS, METHODS, parse_request, parse_response
from gateway.proxy.messages import Framing, RequestHead, ResponseHead, Standing

# What nearly every request line is: origin-form, without a fragment, HTTP/1.1.
_PLAIN_LINE: Final = re.compile(rb"([A-Z]{3,11}+) (/[\x21\x22\x24-\x7e\x80-\xff]*+) HTTP/1\.1\r\n")
_STEERING: Final = (b"content-length", b"transfer-encoding", b"upgrade", b"expect")
_MOST_BLOCKS: Final = 8
_LONGEST_BLOCK: Final = 8192

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) [\t\x20-\x7e\x80-\xff]*+")
_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
# What is to be done about a header line; for a Content-Length it is the value itself.
_PASSES, _DROPPED, _SPECIAL, _FRAMES = b"passes", b"dropped", b"special", b"frames"
_TOUCHED: Final = HOP_BY_HOP | FOR_ORIGIN | {b"x-request-id", b"set-cookie"}
_MOST_LINES: Final = 2048
_LONGEST_LINE: Final = 512
_MOST_FIELDS: Final = 100


class RequestReader:
    """Reads the heads of one connection; nothing is shared between connections."""

    __slots__ = ("_known", "_latest", "_latest_head")

    def __init__(self) -> None:
        self._known: dict[bytes, RequestHead] = {}
        self._latest = b""
        self._latest_head: RequestHead | None = None

    def read(self, block: bytes) -> RequestHead:
        """Return the head in `block`, which ends with its empty line. Raises BadHead."""
        line = _PLAIN_LINE.match(block)
        if line is None:
            return parse_request(block)
        method, target = line.groups()
        known = self._recall(block, line.end())
        if known is None or method not in METHODS:
            head = parse_request(block)
            self._learn(head, block[line.end() :])
            return head
        return RequestHead(
            method,
            target,
            11,
            known.headers,
            keep_alive=known.keep_alive,
            standing=known.standing,
        )

    def _recall(self, block: bytes, start: int) -> RequestHead | None:
        """Return a head that had the header lines in `block` from `start`; None if none had."""
        if len(block) - start == len(self._latest) and block.endswith(self._latest):
            return self._latest_head
        rest = block[start:]
        known = self._known.get(rest)
        if known is not None:
            self._latest, self._latest_head = rest, known
        return known

    def _learn(self, head: RequestHead, rest: bytes) -> None:
        if not head.host:
            return  # what stands in for it depends on the route
        standing = Standing(head.headers)
        if len(rest) > _LONGEST_BLOCK or any(name in standing.values for name in _STEERING):
            return
        head.standing = standing
        if len(self._known) >= _MOST_BLOCKS:
            self._known.clear()
        self._known[rest] = head


class ResponseReader:
    """Reads response heads; knows header lines by what has to be done about each.

    A line says the same in every response, whoever sent it, so that connections may share one.
    """

    __slots__ = ("_kinds", "_passing", "_statuses")

    def __init__(self) -> None:
        self._passing: set[bytes] = set()
        self._kinds: dict[bytes, bytes] = {}
        self._statuses: dict[bytes, int] = {}

    def read(self, block: bytes, method: bytes) -> ResponseHead:
        """Return the head in `block`, which answers a request with `method`. Raises BadHead."""
        return self._read_plain(block, method) or parse_response(block, method)

    def _read_plain(self, block: bytes, method: bytes) -> ResponseHead | None:
        """Return the head if no line of it is for us to touch, else None."""
        line, *fields = block[:-4].split(b"\r\n")
        status = self._statuses.get(line) or self._learn_status(line)
        if status == 204 or not status or len(fields) > _MOST_FIELDS:
            return None
        length, policy, passing = -1, b"", self._passing
        for field in [field for field in fields if field not in passing]:
            kind = self._kinds.get(field) or self._learn(field)
            if kind is _DROPPED:
                fields.remove(field)
            elif kind is _FRAMES and not policy:
                policy = field
            elif kind is _SPECIAL or kind is _FRAMES or (kind is not _PASSES and length >= 0):
                return None
            elif kind is not _PASSES:
                length = int(kind)
        framing = Framing.NONE
        if method == b"HEAD" or status in BODYLESS_STATUS:
            length = 0
        elif length > 0:
            framing = Framing.LENGTH
        elif length < 0:
            return None
        fields.append(b"")
        plain = b"%b\r\n%b" % (line, b"\r\n".join(fields))
        head = ResponseHead(status, b"", 11, [], framing=framing, length=length, plain=plain)
        head.policy = policy
        return head

    def _learn_status(self, line: bytes) -> int:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            return 0
        if len(self._statuses) < _MOST_LINES and len(line) <= _LONGEST_LINE:
            self._statuses[line] = int(match[1])
        return int(match[1])

    def _learn(self, field: bytes) -> bytes:
        kind = _kind_of(field)
        if kind is not _SPECIAL and len(field) <= _LONGEST_LINE:
            if len(self._kinds) + len(self._passing) >= _MOST_LINES:
                self._kinds.clear()
                self._passing.clear()
            if kind is _PASSES:
                self._passing.add(field)
            else:
                self._kinds[field] = kind
        return kind


def _kind_of(line: bytes) -> bytes:
    """Return a Content-Length's value, or what else has to be done about the line."""
    field = _LINE.fullmatch(line)
    if field is None:
        return _SPECIAL
    name = field[1].lower()
    if name == b"content-length":
        return field[2] if _LENGTH.fullmatch(field[2]) else _SPECIAL
    if name == b"connection" and field[2].lower() == b"keep-alive":
        return _DROPPED
    if name in FRAMING:
        return _FRAMES
    if name in _TOUCHED or name.startswith(b"access-control-"):
        return _SPECIAL
    return _PASSES
