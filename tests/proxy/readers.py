"""How upstreams read a stream of requests: our own strict reader, llhttp, h11 and Tornado.

None of them knows anything about the data path. Each takes the bytes of one connection and
returns the requests in it, so that what was forwarded can be compared with how it is read.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import h11
import httptools
from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError

from tests.support.waiting import PATIENCE

Headers = list[tuple[bytes, bytes]]

_LINE = re.compile(rb"([A-Z]+) (/[^\s\x00-\x20\x7f]*) HTTP/1\.1")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class Unreadable(ValueError):
    """A reader refuses the stream."""


@dataclass
class Request:
    """A request as one reader understands it.

    Attributes:
        method: as read.
        target: as read.
        headers: lower-case names, values without outer blanks.
        body: the payload; trailers are no part of it.
        complete: whether its end was seen.
    """

    method: bytes
    target: bytes
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of `name` (lower case)."""
        return [value for key, value in self.headers if key == name]

    @property
    def gist(self) -> tuple[bytes, bytes, bytes]:
        """What must be the same for every reader of a complete request."""
        return self.method, self.target, self.body


def strictly(stream: bytes) -> list[Request]:
    """Read `stream` by the letter of RFC 9112, allowing an incomplete last request.

    Raises:
        Unreadable: anything is out of order.
    """
    requests = []
    while stream:
        block, end, stream = stream.partition(b"\r\n\r\n")
        if not end:
            break
        request = _head(block)
        requests.append(request)
        if request.all(b"transfer-encoding"):
            stream = _chunks(request, stream)
        else:
            length = int((request.all(b"content-length") or [b"0"])[0])
            request.body, stream = stream[:length], stream[length:]
            request.complete = len(request.body) == length
    return requests


def _head(block: bytes) -> Request:
    start, *lines = block.split(b"\r\n")
    line = _LINE.fullmatch(start)
    if line is None:
        raise Unreadable(f"request line {start!r}")
    request = Request(line[1], line[2])
    for each in lines:
        matched = _HEADER.fullmatch(each)
        if matched is None:
            raise Unreadable(f"header line {each!r}")
        request.headers.append((matched[1].lower(), matched[2].strip(b" \t")))
    lengths, codings = request.all(b"content-length"), request.all(b"transfer-encoding")
    if len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]):
        raise Unreadable(f"framing {lengths} {codings}")
    if lengths and not lengths[0].isdigit():
        raise Unreadable(f"length {lengths[0]!r}")
    if len(request.all(b"host")) != 1:
        raise Unreadable("not one Host")
    return request


def _chunks(request: Request, stream: bytes) -> bytes:
    """Read a chunked body into `request`; return what follows it."""
    while True:
        line, end, rest = stream.partition(b"\r\n")
        size = line.partition(b";")[0].rstrip(b" \t")
        if end and not _SIZE.fullmatch(size):
            raise Unreadable(f"chunk size {line!r}")
        count = int(size, 16) if end else 0
        if not end or (count and len(rest) < count + 2):
            return b""
        if not count:
            return _trailers(request, rest)
        request.body += rest[:count]
        if rest[count : count + 2] != b"\r\n":
            raise Unreadable("no CR LF behind a chunk")
        stream = rest[count + 2 :]


def _trailers(request: Request, stream: bytes) -> bytes:
    while True:
        line, end, stream = stream.partition(b"\r\n")
        if not line:
            request.complete = bool(end)
            return stream
        if not end:
            return b""
        if not _HEADER.fullmatch(line):
            raise Unreadable(f"trailer {line!r}")


class _Callbacks:
    """Collects what llhttp tells."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.parser: httptools.HttpRequestParser | None = None
        self._in_body = False

    def on_message_begin(self) -> None:
        self.requests.append(Request(b"", b""))

    def on_url(self, url: bytes) -> None:
        self.requests[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:
            self.requests[-1].headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        assert self.parser is not None
        self._in_body = True
        self.requests[-1].method = self.parser.get_method()

    def on_body(self, body: bytes) -> None:
        self.requests[-1].body += body

    def on_message_complete(self) -> None:
        self._in_body = False
        self.requests[-1].complete = True


def by_llhttp(stream: bytes, *, lenient: bool = False) -> list[Request]:
    """Read `stream` as Node.js and others do.

    Args:
        stream: the bytes.
        lenient: switch on all its leniencies that concern where a message ends.

    Raises:
        Unreadable: it refuses.
    """
    collected = _Callbacks()
    collected.parser = parser = httptools.HttpRequestParser(collected)
    if lenient:
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_transfer_encoding=True,
            lenient_data_after_close=True,
            lenient_optional_lf_after_cr=True,
            lenient_optional_cr_before_lf=True,
            lenient_optional_crlf_after_chunk=True,
            lenient_spaces_after_chunk_size=True,
        )
    try:
        parser.feed_data(stream)
    except httptools.HttpParserUpgrade:
        return collected.requests
    except httptools.HttpParserError as error:
        raise Unreadable(repr(error)) from error
    return [request for request in collected.requests if request.method]


def by_h11(stream: bytes) -> list[Request]:
    """Read `stream` as Python's h11 does.

    Raises:
        Unreadable: it refuses.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    connection.receive_data(stream)
    requests: list[Request] = []
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                headers = [(name, value) for name, value in event.headers]
                requests.append(Request(event.method, event.target, headers))
            elif isinstance(event, h11.Data):
                requests[-1].body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                requests[-1].complete = True
                if not _next_cycle(connection):
                    return requests
            else:
                return requests
    except h11.RemoteProtocolError as error:
        raise Unreadable(str(error)) from error


def _next_cycle(connection: h11.Connection) -> bool:
    """Answer, so that the next request can be read; False when the connection ends here."""
    answer = h11.Response(status_code=200, headers=[("Content-Length", "0")])
    connection.send(answer)
    connection.send(h11.EndOfMessage())
    if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
        return False
    connection.start_next_cycle()
    return True


class _Handler(HTTPMessageDelegate):
    """Collects what Tornado tells of one request, and answers it."""

    def __init__(self, connection: HTTP1Connection, requests: list[Request]) -> None:
        self._connection = connection
        self._requests = requests

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        assert isinstance(start_line, RequestStartLine)
        HTTPServerRequest(start_line=start_line, headers=headers)  # looks at Host
        method, target, _ = (part.encode("latin-1") for part in start_line)
        fields = [(name.lower(), value) for name, value in headers.get_all()]
        read = [(name.encode(), value.encode("latin-1")) for name, value in fields]
        self._requests.append(Request(method, target, read))

    def data_received(self, chunk: bytes) -> None:
        self._requests[-1].body += chunk

    def finish(self) -> None:
        self._requests[-1].complete = True
        headers = HTTPHeaders({"Content-Length": "0"})
        self._connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers)
        self._connection.finish()


def by_tornado(stream: bytes) -> list[Request]:
    """Read `stream` as Jupyter does.

    Raises:
        Unreadable: it refuses.
    """
    # A loop of its own: the tests' may be running.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _served(stream)).result()


async def _served(stream: bytes) -> list[Request]:
    requests: list[Request] = []
    ours, theirs = socket.socketpair()
    server = IOStream(theirs)
    with ours:
        ours.sendall(stream)
        ours.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(PATIENCE):
                await _serve(server, requests)
        finally:
            server.close()
        if b"HTTP/1.1 400 " in ours.recv(2**20):
            raise Unreadable("answered with 400")
    return requests


async def _serve(server: IOStream, requests: list[Request]) -> None:
    """Read requests until the stream ends; as HTTP1ServerConnection does, which hides errors."""
    going_on = True
    while going_on:
        connection = HTTP1Connection(server, is_client=False)
        try:
            going_on = await connection.read_response(_Handler(connection, requests))
        except StreamClosedError as error:
            if error.real_error is not None:
                raise Unreadable(repr(error.real_error)) from error
            return


READERS: Mapping[str, Callable[[bytes], list[Request]]] = {
    "llhttp": by_llhttp,
    "lenient llhttp": partial(by_llhttp, lenient=True),
    "h11": by_h11,
    "tornado": by_tornado,
}
"""Those that are not ours, by name."""


@dataclass
class Answer:
    """A response as a client reads it.

    Attributes:
        status: of the final response.
        headers: as in Request.
        body: the payload.
        complete: whether its end was seen.
        surplus: what lies behind its end.
        keep_alive: whether another response may follow on the connection.
    """

    status: int
    headers: Headers
    body: bytes = b""
    complete: bool = False
    surplus: bytes = b""
    keep_alive: bool = False


def answer_by_h11(method: bytes, stream: bytes, *, closed: bool = False) -> Answer:
    """Read an answer to a request with `method` as a client with h11 does.

    Args:
        method: of the request.
        stream: interim responses and the final one; perhaps more behind that.
        closed: whether the server closes behind `stream`.

    Raises:
        Unreadable: it refuses, or there is no final response.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(stream)
    if closed:
        connection.receive_data(b"")
    try:
        return _answer(connection)
    except h11.RemoteProtocolError as error:
        raise Unreadable(str(error)) from error


def _answer(connection: h11.Connection) -> Answer:
    answer = None
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            answer = Answer(event.status_code, list(event.headers))
        elif isinstance(event, h11.InformationalResponse):
            continue
        elif answer is None:
            raise Unreadable(f"no final response: {event!r}")
        elif isinstance(event, h11.Data):
            answer.body += bytes(event.data)
        else:
            answer.complete = isinstance(event, h11.EndOfMessage)
            answer.surplus = connection.trailing_data[0]
            answer.keep_alive = connection.their_state is h11.DONE
            return answer
