"""Crafted requests that are legal, and may be read in one way only. Data alone.

Each message is what one client sends over one connection.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tests.proxy.smuggling_words import CHUNKED, GET, HELLO, NEXT, POST, SMUGGLED, asked


@dataclass(frozen=True)
class Accepted:
    """What is read in one way only.

    Attributes:
        data: what the client sends.
        requests: (method, target, body) of each request in it.
        then: status of the answer behind those of the requests: the connection ends with it;
            None when the connection lives on, 0 when it ends without another answer.
        refusals: readers that may refuse what is legal, but rare. They may never read it in
            another way.
    """

    data: bytes
    requests: Sequence[tuple[bytes, bytes, bytes]]
    then: int | None = None
    refusals: Collection[str] = ()


def _posted(body: bytes, target: bytes = b"/") -> list[tuple[bytes, bytes, bytes]]:
    return [(b"POST", target, body)]


_GOT = [(b"GET", b"/", b"")]
_GOT_NEXT = (b"GET", b"/next", b"")
# It knows neither chunk extensions nor trailers.
_TORNADO = ("tornado",)


def _fixed(body: bytes, lines: bytes = b"") -> bytes:
    return POST + lines + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


ACCEPTED = {
    "request in a body of known length": Accepted(_fixed(SMUGGLED), _posted(SMUGGLED)),
    "request in a chunk": Accepted(
        CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), _posted(SMUGGLED)
    ),
    "end of chunks in a chunk": Accepted(
        CHUNKED + b"d\r\n\r\n0\r\n\r\nGET / \r\n0\r\n\r\n", _posted(b"\r\n0\r\n\r\nGET / ")
    ),
    "end of chunks in a body of known length": Accepted(
        _fixed(b"0\r\n\r\n" + SMUGGLED), _posted(b"0\r\n\r\n" + SMUGGLED)
    ),
    "next request behind a length": Accepted(
        _fixed(b"hello") + NEXT, [*_posted(b"hello"), _GOT_NEXT]
    ),
    "next request behind chunks": Accepted(CHUNKED + HELLO + NEXT, [*_posted(b"hello"), _GOT_NEXT]),
    "next request behind length zero": Accepted(_fixed(b"") + NEXT, [*_posted(b""), _GOT_NEXT]),
    "next request behind no length": Accepted(POST + b"\r\n" + NEXT, [*_posted(b""), _GOT_NEXT]),
    "next request behind empty lines": Accepted(
        _fixed(b"hello") + b"\r\n\r\n" + NEXT, [*_posted(b"hello"), _GOT_NEXT]
    ),
    "ten uploads at once": Accepted(
        b"".join(_fixed(b"%d" % number) for number in range(7)) + CHUNKED + HELLO,
        [
            *(posted for number in range(7) for posted in _posted(b"%d" % number)),
            *_posted(b"hello"),
        ],
    ),
    "body cut short by the next request's bytes": Accepted(
        POST + b"Content-Length: 3\r\n\r\nhel" + NEXT,
        [*_posted(b"hel"), _GOT_NEXT],
    ),
    "bad head behind a good request": Accepted(
        GET + b"\r\nGET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n" + SMUGGLED, _GOT, then=400
    ),
    "conflict behind a good request": Accepted(
        _fixed(b"hi")
        + POST
        + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + SMUGGLED,
        _posted(b"hi"),
        then=400,
    ),
    "surplus of a body behind a good request": Accepted(
        _fixed(b"hi") + b"surplus\r\n\r\n" + SMUGGLED, _posted(b"hi"), then=400
    ),
    "close, and a request behind it": Accepted(
        GET + b"Connection: close\r\n\r\n" + SMUGGLED, _GOT, then=0
    ),
    "keep-alive and close": Accepted(
        GET + b"Connection: keep-alive\r\nConnection: x, CLOSE\r\n\r\n" + SMUGGLED, _GOT, then=0
    ),
    "close behind an upload": Accepted(
        _fixed(b"hi", b"Connection: close\r\n") + SMUGGLED, _posted(b"hi"), then=0
    ),
    "coding in capitals": Accepted(
        POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + HELLO, _posted(b"hello")
    ),
    "coding between blanks": Accepted(
        POST + b"Transfer-Encoding:\t  chunked \t\r\n\r\n" + HELLO, _posted(b"hello")
    ),
    "coding without a blank": Accepted(
        POST + b"Transfer-Encoding:chunked\r\n\r\n" + HELLO, _posted(b"hello")
    ),
    "length between blanks": Accepted(
        POST + b"Content-Length: \t 5 \t\r\n\r\nhello", _posted(b"hello")
    ),
    "length with zeros": Accepted(POST + b"Content-Length: 0005\r\n\r\nhello", _posted(b"hello")),
    "length in other letters": Accepted(
        POST + b"cONTENT-lENGTH: 5\r\n\r\nhello" + NEXT, [*_posted(b"hello"), _GOT_NEXT]
    ),
    "names that look like framing": Accepted(
        POST + b"X-Content-Length: 9\r\nContent-Length-X: 9\r\nX-Transfer-Encoding: chunked\r\n"
        b"Content-Length: 2\r\n\r\nhi",
        _posted(b"hi"),
    ),
    "underscores for hyphens": Accepted(
        POST + b"Transfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi" + NEXT,
        [*_posted(b"hi"), _GOT_NEXT],
    ),
    "framing in a value": Accepted(
        GET + b"X: Transfer-Encoding: chunked\r\nY: \tContent-Length: 5\r\n\r\n" + NEXT,
        [*_GOT, _GOT_NEXT],
    ),
    "GET with a body": Accepted(
        GET + b"Content-Length: 5\r\n\r\nhello" + NEXT,
        [(b"GET", b"/", b"hello"), _GOT_NEXT],
    ),
    "GET with chunks": Accepted(
        GET + b"Transfer-Encoding: chunked\r\n\r\n" + HELLO + NEXT,
        [(b"GET", b"/", b"hello"), _GOT_NEXT],
    ),
    "HEAD with a body": Accepted(
        b"HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + NEXT,
        [(b"HEAD", b"/", b"hello"), _GOT_NEXT],
    ),
    "DELETE with a body": Accepted(
        b"DELETE / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + NEXT,
        [(b"DELETE", b"/", b"hello"), _GOT_NEXT],
    ),
    "sizes in both cases with zeros": Accepted(
        CHUNKED + b"00A\r\n0123456789\r\n0b\r\n01234567890\r\n000\r\n\r\n" + NEXT,
        [*_posted(b"012345678901234567890"), _GOT_NEXT],
    ),
    "chunks of one byte": Accepted(
        CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in b"0\r\n\r\n") + b"0\r\n\r\n" + NEXT,
        [*_posted(b"0\r\n\r\n"), _GOT_NEXT],
    ),
    "chunk extensions": Accepted(
        CHUNKED + b'5;a=b;c="d e"\r\nhello\r\n0;last=1\r\n\r\n' + NEXT,
        [*_posted(b"hello"), _GOT_NEXT],
        refusals=_TORNADO,
    ),
    "chunk extension that looks like a size": Accepted(
        CHUNKED + b"5;0\r\nhello\r\n0;5\r\n\r\n" + NEXT,
        [*_posted(b"hello"), _GOT_NEXT],
        refusals=_TORNADO,
    ),
    "blank before a chunk extension": Accepted(
        CHUNKED + b"5 ;a\r\nhello\r\n0\r\n\r\n" + NEXT,
        [*_posted(b"hello"), _GOT_NEXT],
        refusals=("llhttp", "h11", *_TORNADO),
    ),
    "chunk extension outside the grammar": Accepted(
        CHUNKED + b'5;"; \xff=\r\nhello\r\n0\r\n\r\n' + NEXT,
        [*_posted(b"hello"), _GOT_NEXT],
        refusals=("llhttp", "lenient llhttp", *_TORNADO),
    ),
    "trailers that would frame or speak for somebody": Accepted(
        CHUNKED + b"5\r\nhello\r\n0\r\nHost: evil\r\nContent-Length: 9\r\n"
        b"Transfer-Encoding: chunked\r\nAuthorization: token x\r\nCookie: a=b\r\n"
        b"X-Nbgate-User: root\r\nX_Nbgate_User: root\r\nX-Forwarded-For: 6.6.6.6\r\n"
        b"Connection: close\r\nExpect: 100-continue\r\n\r\n" + NEXT,
        [*_posted(b"hello"), _GOT_NEXT],
    ),
    "trailers that may pass": Accepted(
        CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Empty:\r\n\r\n" + NEXT,
        [*_posted(b"hello"), _GOT_NEXT],
        refusals=_TORNADO,
    ),
    "absolute form": Accepted(asked(b"GET http://h/a?b"), [(b"GET", b"/a?b", b"")]),
    "absolute form in other letters": Accepted(
        b"GET HTTP://H:80/a HTTP/1.1\r\nHost: h:80\r\n\r\n", [(b"GET", b"/a", b"")]
    ),
    "absolute form without a path": Accepted(asked(b"GET http://h"), [(b"GET", b"/", b"")]),
    "absolute form with a query alone": Accepted(asked(b"GET http://h?a"), [(b"GET", b"/?a", b"")]),
    "absolute form behind a slash": Accepted(
        asked(b"GET /http://evil/a"), [(b"GET", b"/http://evil/a", b"")]
    ),
    "path that looks like an authority": Accepted(
        asked(b"GET //evil/a"), [(b"GET", b"//evil/a", b"")]
    ),
    "absolute form whose path looks like an authority": Accepted(
        asked(b"GET http://h//evil/a"), [(b"GET", b"//evil/a", b"")]
    ),
    "line ends in percent signs": Accepted(
        asked(b"GET /a%0d%0aHost:%20evil%00"),
        [(b"GET", b"/a%0d%0aHost:%20evil%00", b"")],
    ),
    "bytes outside ASCII in a target": Accepted(
        asked(b"GET /\xc3\xa9\x85\xa0"),
        [(b"GET", b"/\xc3\xa9\x85\xa0", b"")],
        refusals=("llhttp", "lenient llhttp", "h11"),
    ),
    "bytes outside ASCII in a value": Accepted(
        GET + b"X: \x85Transfer-Encoding: chunked\xa0\r\n\r\n" + NEXT, [*_GOT, _GOT_NEXT]
    ),
    "every sign of a name": Accepted(GET + b"!#$%&'*+-.^_`|~09az: 1\r\nX:\r\n\r\n", _GOT),
    "HTTP/1.0 with a length": Accepted(
        b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi" + SMUGGLED, _posted(b"hi"), then=0
    ),
    "HTTP/1.0 that keeps its connection": Accepted(
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi" + NEXT,
        [*_posted(b"hi"), _GOT_NEXT],
    ),
    "HTTP/1.0 that asks for an upgrade": Accepted(
        b"GET / HTTP/1.0\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        _GOT,
        then=0,
    ),
    "HTTP/1.0 with an expectation": Accepted(
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        _posted(b"hi"),
        then=0,
    ),
    "HTTP/1.2": Accepted(
        b"POST / HTTP/1.2\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" + NEXT,
        [*_posted(b"hi"), _GOT_NEXT],
    ),
    "h2c upgrade": Accepted(
        GET
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        + NEXT,
        [*_GOT, _GOT_NEXT],
    ),
    "h2c upgrade with a body": Accepted(
        _fixed(b"hi", b"Connection: Upgrade\r\nUpgrade: h2c\r\n") + NEXT,
        [*_posted(b"hi"), _GOT_NEXT],
    ),
    "Upgrade that Connection does not name, with a body": Accepted(
        _fixed(b"hi", b"Upgrade: websocket\r\n") + NEXT, [*_posted(b"hi"), _GOT_NEXT]
    ),
    "Connection names the length": Accepted(
        _fixed(SMUGGLED, b"Connection: Content-Length\r\n") + NEXT,
        [*_posted(SMUGGLED), _GOT_NEXT],
    ),
    "Connection names the coding": Accepted(
        POST + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO,
        _posted(b"hello"),
    ),
    "Connection names Host": Accepted(GET + b"Connection: Host\r\n\r\n", _GOT),
    "Connection names who the client is": Accepted(
        GET + b"Connection: X-Forwarded-For, X-Nbgate-User, Forwarded, X-Request-ID\r\n\r\n", _GOT
    ),
    "lines in our name": Accepted(
        GET + b"X-Nbgate-User: root\r\nx_nbgate_user: root\r\nX-Nbgate-Client: 6.6.6.6\r\n"
        b"X-Nbgate_Slug: x\r\nX-NBGATE-HOST: evil\r\nX-Nbgate-Told-User: root\r\n\r\n",
        _GOT,
    ),
    "all hop-by-hop headers": Accepted(
        _fixed(
            b"hi",
            b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Proxy-Connection: keep-alive\r\nTE: trailers\r\nProxy-Authorization: x\r\n"
            b"Trailer: X-Sum\r\n",
        ),
        _posted(b"hi"),
    ),
    "expectation with the body at once": Accepted(
        _fixed(b"hi", b"Expect: 100-Continue\r\n") + NEXT, [*_posted(b"hi"), _GOT_NEXT]
    ),
    "expectation without a body": Accepted(
        GET + b"Expect: 100-continue\r\n\r\n" + NEXT, [*_GOT, _GOT_NEXT]
    ),
    "expectation with chunks": Accepted(
        POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + NEXT,
        [*_posted(b"hello"), _GOT_NEXT],
    ),
}
