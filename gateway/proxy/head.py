"""Strict parsing of request and response heads (RFC 9112). Pure: bytes in, heads out.

A head is matched as a whole against compiled grammars; what does not match is refused, never
repaired, so that the next server on the way cannot read it in another way than we did. How a
body is cut from the stream is framing.py's, which headers are forwarded is headers.py's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.proxy.messages import Framing, RequestHead, ResponseHead

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_FIELD_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]"
HEAD_END: Final = b"\r\n\r\n"

# Possessive quantifiers: a head of 64 KiB that does not match must not be tried in many ways.
_REQUEST_LINE: Final = re.compile(
    rb"(" + _TOKEN + rb"{1,64}+) ([\x21-\x7e\x80-\xff]++) (HTTP/[0-9]\.[0-9])\r\n"
)
_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9])(?: (" + _FIELD_VALUE + rb"*+))?\r\n"
)
_FIELDS: Final = re.compile(rb"(?:" + _TOKEN + rb"++:" + _FIELD_VALUE + rb"*+\r\n)*+\r\n")
_FIELD: Final = re.compile(rb"([^:\r\n]++):[ \t]*+([^\r\n]*+)\r\n")
_EMPTY_LINES: Final = re.compile(rb"\A(?:\r\n)++")
_MOST_FIELDS: Final = 200
_HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=%\-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{0,5})?"
)
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#]*+)([^#]*+)")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

# RFC 9110, 9.3, and WebDAV. CONNECT would make us a tunnel to anywhere; TRACE would show a
# client the headers that we inject.
METHODS: Final = frozenset(
    b"GET HEAD POST PUT DELETE PATCH OPTIONS PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK "
    b"SEARCH REPORT MKCALENDAR ACL BIND UNBIND REBIND LINK UNLINK MERGE PURGE QUERY".split()
)
BODYLESS_STATUS: Final = frozenset({204, 304})


class BadHead(Exception):
    """A head that is refused.

    Attributes:
        status: 400, 417, 431, 501 or 505; for the head of a response it has no meaning.
        reason: one line that names the fault.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def without_empty_lines(data: bytes) -> bytes:
    """Return `data` without the empty lines that may precede a request (RFC 9112, 2.2)."""
    return _EMPTY_LINES.sub(b"", data, count=1)


def check_partial(data: bytes, start: int) -> None:
    """Refuse early what can no longer become a head.

    Args:
        data: an incomplete head.
        start: what lies before was checked already.

    Raises:
        BadHead: there is a bare CR, a bare LF or NUL in it.
    """
    start = max(0, start - 1)
    if start and data.startswith(b"\n", start):
        start += 1  # its CR was there
    # Counting is several times as quick as a pattern that looks at each byte.
    pairs = data.count(b"\r\n", start)
    bare = data.count(b"\n", start) > pairs
    bare = bare or data.count(b"\r", start) - data.endswith(b"\r") > pairs
    if bare or data.find(b"\0", start) >= 0:
        raise BadHead(400, "a line of the head does not end in CR LF, or has a NUL")


def parse_fields(block: bytes, start: int = 0) -> list[tuple[bytes, bytes]]:
    """Return the field lines of `block` from `start` to its closing empty line.

    Raises:
        BadHead: obs-fold, a blank before a colon, a control character, a bare CR or LF, or
            anything else outside RFC 9112, section 5.
    """
    if block.count(b"\n", start) > _MOST_FIELDS:
        raise BadHead(431, f"the head has more than {_MOST_FIELDS} header lines")
    if not _FIELDS.fullmatch(block, start):
        raise BadHead(400, "a header line is malformed")
    fields = _FIELD.findall(block, start)
    return [(name, value.rstrip(b" \t")) for name, value in fields]


def parse_request(block: bytes) -> RequestHead:
    """Return the request head in `block`, which ends with its empty line.

    Raises:
        BadHead: it is outside the grammar, ambiguous, or asks for what is not offered.
    """
    line = _REQUEST_LINE.match(block)
    if line is None:
        raise BadHead(400, "the request line is malformed")
    method, target, protocol = line.groups()
    version = _request_version(protocol)
    if method not in METHODS:
        raise BadHead(501, "the method is not supported")
    headers = parse_fields(block, line.end())
    head = RequestHead(method, target, version, headers)
    known = _Known.of(headers)
    _check_host(head, known.host)
    _check_target(head)
    _frame_request(head, known)
    _set_connection(head, known)
    return head


@dataclass(slots=True)
class _Known:
    """The values of the headers that steer a connection, each in order of appearance."""

    host: list[bytes]
    length: list[bytes]
    coding: list[bytes]
    connection: list[bytes]
    upgrade: list[bytes]
    expect: list[bytes]

    @classmethod
    def of(cls, headers: list[tuple[bytes, bytes]]) -> _Known:
        known = cls([], [], [], [], [], [])
        places = {
            b"host": known.host,
            b"content-length": known.length,
            b"transfer-encoding": known.coding,
            b"connection": known.connection,
            b"upgrade": known.upgrade,
            b"expect": known.expect,
        }
        for name, value in headers:
            place = places.get(name.lower())
            if place is not None:
                place.append(value)
        return known


def list_tokens(values: list[bytes]) -> list[bytes]:
    """Return the lower-case members of a comma list over several lines (RFC 9110, 5.6.1)."""
    members = b",".join(values).lower().split(b",")
    return [token for member in members if (token := member.strip(b" \t"))]


def _request_version(protocol: bytes) -> int:
    if not protocol.startswith(b"HTTP/1."):
        raise BadHead(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    return 10 if protocol == b"HTTP/1.0" else 11


def _check_host(head: RequestHead, hosts: list[bytes]) -> None:
    """RFC 9112, 3.2: exactly one Host, valid; HTTP/1.0 may do without."""
    if not hosts and head.version == 10:
        return
    if len(hosts) != 1:
        raise BadHead(400, "a request needs exactly one Host header")
    if not _HOST.fullmatch(hosts[0]):
        raise BadHead(400, "the Host header is not a host")


def _check_target(head: RequestHead) -> None:
    """Bring an absolute-form target into origin-form (RFC 9112, 3.2.2); refuse other forms.

    The authority of an absolute target would win over Host; where they differ, somebody on the
    way may have read the other one, so that is refused.
    """
    target = head.target
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or absolute[1].lower() != head.host.lower():
            raise BadHead(400, "the request target is not a path")
        rest = absolute[2]
        head.target = rest if rest.startswith(b"/") else b"/" + rest
    if b"#" in target:
        raise BadHead(400, "the request target has a fragment")


def _frame_request(head: RequestHead, known: _Known) -> None:
    """RFC 9112, 6.3, without any of its leniency."""
    if known.coding:
        if known.length:
            raise BadHead(400, "a request has either Content-Length or Transfer-Encoding")
        if head.version == 10:
            raise BadHead(400, "HTTP/1.0 has no Transfer-Encoding")
        _check_coding(_codings(known.coding))
        head.framing = Framing.CHUNKED
    elif known.length:
        head.framing, head.length = Framing.LENGTH, _content_length(known.length)


def _codings(values: list[bytes]) -> list[bytes]:
    """Return the transfer codings. RFC 9110, 5.6.1.2 lets empty members pass; others may not."""
    codings = [coding.strip(b" \t") for coding in b",".join(values).lower().split(b",")]
    if b"" in codings:
        raise BadHead(400, "Transfer-Encoding has an empty member")
    return codings


def _check_coding(codings: list[bytes]) -> None:
    if codings == [b"chunked"]:
        return
    if codings.count(b"chunked") != 1 or codings[-1] == b"chunked":
        unknown = [coding for coding in codings if coding != b"chunked"]
        status = 501 if unknown else 400
        raise BadHead(status, "no transfer coding but a single chunked is supported")
    raise BadHead(400, "chunked is not the last transfer coding")


def _content_length(values: list[bytes]) -> int:
    if len(values) != 1 or not _LENGTH.fullmatch(values[0]):
        raise BadHead(400, "Content-Length is repeated or not a number")
    return int(values[0])


def _set_connection(head: RequestHead, known: _Known) -> None:
    tokens = list_tokens(known.connection)
    if head.version == 10:
        head.keep_alive = b"keep-alive" in tokens and b"close" not in tokens
        return
    head.keep_alive = b"close" not in tokens
    has_body = head.framing is Framing.CHUNKED or head.length > 0
    if known.upgrade and b"upgrade" in tokens and b"websocket" in list_tokens(known.upgrade):
        if has_body:
            raise BadHead(400, "a request that asks for a WebSocket has no body")
        if head.method == b"GET":
            head.upgrade = b"websocket"
    if known.expect:
        if list_tokens(known.expect) != [b"100-continue"]:
            raise BadHead(417, "the only expectation that is met is 100-continue")
        head.expect_continue = has_body


def parse_response(block: bytes, method: bytes) -> ResponseHead:
    """Return the response head in `block`, which answers a request with `method`.

    Raises:
        BadHead: it is outside the grammar or its framing is ambiguous.
    """
    line = _STATUS_LINE.match(block)
    if line is None:
        raise BadHead(502, "the status line is malformed")
    version = 10 if line[1] == b"0" else 11
    headers = parse_fields(block, line.end())
    head = ResponseHead(int(line[2]), line[3] or b"", version, headers)
    known = _Known.of(headers)
    tokens = list_tokens(known.connection)
    if version == 10:
        head.keep_alive = b"keep-alive" in tokens and b"close" not in tokens
    else:
        head.keep_alive = b"close" not in tokens
    _frame_response(head, known, method)
    return head


def _frame_response(head: ResponseHead, known: _Known, method: bytes) -> None:
    """RFC 9112, 6.3: what ends the body, given the request's method."""
    # We never send TE, so an upstream has no reason to use anything but chunked.
    if known.coding and (
        known.length
        or head.version == 10
        or [coding.lower() for coding in known.coding] != [b"chunked"]
    ):
        raise BadHead(502, "the framing of the response is ambiguous")
    if known.length:
        head.length = _content_length(known.length)
    if method == b"HEAD" or head.status < 200 or head.status in BODYLESS_STATUS:
        head.length = 0
    elif known.coding:
        head.framing = Framing.CHUNKED
    elif known.length:
        head.framing = Framing.LENGTH if head.length else Framing.NONE
    else:
        head.framing, head.keep_alive = Framing.UNTIL_CLOSE, False
