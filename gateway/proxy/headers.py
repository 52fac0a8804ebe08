"""Which headers pass, which are removed and which are added, in both directions. Pure.

Hop-by-hop headers end here (RFC 9110, 7.6.1); secrets are injected towards a notebook and never
come back; what a client could use to speak in our name is removed. How a head is read is
head.py's, how it is written fields.py's, who the client is forwarded.py's, and what a request
is called requestids.py's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, cast
from urllib.parse import quote, unquote_to_bytes

from gateway.proxy.ancestors import FrameRules, framed
from gateway.proxy.fields import (
    FOR_ORIGIN,
    FRAMING,
    HOP_BY_HOP,
    Field,
    authority,
    beneath,
    connection_lines,
    ending_here,
    passing,
    request_lines,
    response_head,
)
from gateway.proxy.interface import Client, Local, Relay
from gateway.proxy.messages import RequestHead, ResponseHead

# Headers that we make ourselves, or that upstreams read as a proxy's word on the client.
_OURS: Final = frozenset(b"forwarded x-request-id x-real-ip x-scheme x-forwarded".split())
_NOT_TO_CLIENTS: Final = HOP_BY_HOP | {b"x-request-id"}
# Never taken from trailers (RFC 9110, 6.5.1): framing, routing, credentials, control; nor what is
# no upstream's to say in a header.
_NOT_IN_TRAILERS: Final = (
    HOP_BY_HOP
    | FOR_ORIGIN
    | FRAMING
    | frozenset(
        b"host content-length content-type content-encoding content-range authorization cookie "
        b"set-cookie expect range cache-control max-forwards trailer x-request-id".split()
    )
)
# A cookie for a whole domain would reach other notebooks' origins, and the gateway's.
_DOMAIN: Final = re.compile(rb";\s*domain\s*=", re.IGNORECASE)
_MOST_COOKIES: Final = 32
_LOGIN_COOKIE: Final = b"username-"
# Of a person's name in characters, each at most twelve bytes as it is sent.
_LONGEST_NAME: Final = 100


def without_token(target: bytes) -> bytes:
    """Return `target` without `token` in its query; all else stays byte for byte.

    Jupyter prefers `?token=` to the Authorization header, so a stale one would lock its user
    out. The name is compared as the upstream decodes it.
    """
    path, mark, query = target.partition(b"?")
    if not mark:
        return target
    kept = [pair for pair in query.split(b"&") if not _names_token(pair)]
    rest = b"&".join(kept)
    return path + mark + rest if rest or not query else path


def _names_token(pair: bytes) -> bool:
    name = pair.partition(b"=")[0]
    return name == b"token" or (b"%" in name and unquote_to_bytes(name) == b"token")


class HeaderRules:
    """The header rules of one installation.

    Args:
        gateway_cookies: names of the gateway's own cookies; with `~` and more behind it a
            name is the gateway's too.
        user_headers: lower-case names of headers in which a proxy in front names a person; they
            go no further.
    """

    def __init__(
        self, gateway_cookies: frozenset[bytes], user_headers: Sequence[bytes] = ()
    ) -> None:
        self._cookies = gateway_cookies
        self._removed = HOP_BY_HOP | _OURS | frozenset(user_headers)
        self._frames = FrameRules()

    def to_route(
        self, head: RequestHead, relay: Relay, forwarding: bytes, request_id: bytes
    ) -> bytes:
        """Return the head that goes to the target of `relay`, which is set.

        Args:
            head: the client's.
            relay: the route, and the session's subject.
            forwarding: header lines that tell who the client is.
            request_id: told in X-Request-ID.
        """
        entry, path = relay.entry, head.target
        if entry.slug is not None and b"?" in path:
            path = without_token(path)
        return b"%b %b HTTP/1.1\r\n%bX-Request-ID: %b\r\n\r\n" % (
            head.method,
            beneath(entry.target, path),
            self._known_lines_to(head, relay, forwarding),
            request_id,
        )

    def _known_lines_to(self, head: RequestHead, relay: Relay, forwarding: bytes) -> bytes:
        """Return what `_lines_to` does, for the latest such request made once."""
        standing, entry = head.standing, relay.entry
        if standing is None:
            return self._lines_to(head, relay, forwarding)
        notebook = entry.slug is not None
        known = cast("_KnownLines | None", standing.lines)
        if (
            known is None
            or known.notebook is not notebook
            or known.user != relay.user
            or known.user_name != relay.user_name
            or known.secret != entry.secret
        ):
            lines = self._lines_to(head, relay, forwarding)
            standing.lines = known = _KnownLines(relay, lines)
        return known.lines

    def _lines_to(self, head: RequestHead, relay: Relay, forwarding: bytes) -> bytes:
        """Return the header lines for `relay`, which do not depend on the request line."""
        entry = relay.entry
        removed = self._removed
        lines = [forwarding]
        if entry.slug is not None:
            removed |= {b"authorization"}
            if relay.user is not None:
                lines.append(_person_lines(relay.user, relay.user_name))
        if entry.secret is not None:
            removed |= {b"authorization"}
            lines.append(b"Authorization: token %b\r\n" % entry.secret.encode())
        kept = self._without_gateway_cookies(_kept(head, removed))
        return request_lines(head, kept, authority(entry.target), lines)

    def to_pages(
        self,
        head: RequestHead,
        local: Local,
        client: Client,
        forwarding: bytes,
        request_id: bytes,
    ) -> bytes:
        """Return the head that goes to the gateway's own application.

        Of the cookies, only the gateway's own go there: scripts on a notebook's page can set
        others, as large as they like.
        """
        lines = [
            forwarding,
            b"X-Request-ID: %b\r\n" % request_id,
            b"X-Nbgate-Client: %b\r\n" % client.address.encode(),
            b"X-Nbgate-Scheme: %b\r\n" % client.scheme.encode(),
            b"X-Nbgate-Host: %b\r\n" % client.host.encode("latin-1"),
            b"X-Nbgate-Reason: %b\r\n" % quote(local.reason).encode(),
            b"X-Nbgate-Slug: %b\r\n" % quote(local.slug).encode(),
        ]
        if client.user is not None:
            lines.append(b"X-Nbgate-Told-User: %b\r\n" % quote(client.user, safe="").encode())
            lines.append(b"X-Nbgate-Told-Name: %b\r\n" % quote(client.user_name, safe="").encode())
        kept = self._with_gateway_cookies_alone(_kept(head, self._removed))
        rendered = request_lines(head, kept, b"localhost", lines)
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (head.method, head.target, rendered)

    def to_client(
        self,
        head: ResponseHead,
        request: RequestHead,
        request_id: bytes,
        *,
        relay: Relay | None,
        keep_alive: bool,
    ) -> bytes:
        """Return the head that goes to the client.

        Args:
            head: the upstream's.
            request: what it answers.
            request_id: told to the client in place of what the upstream may say.
            relay: how it was asked for; None for the gateway's own pages. Cookies with the
                gateway's names do not pass; of a notebook, neither do login cookies, cookies for
                a domain, CORS permissions and what is said for a whole origin; who may frame it
                is what its route says.
            keep_alive: whether the client's connection lives on.
        """
        plain = head.plain
        if plain is not None:
            if relay is not None and relay.entry.ancestors is not None:
                plain = self._frames.head_with(relay.entry.ancestors, plain, head.policy)
            if keep_alive and request.version == 11:
                return b"%bX-Request-ID: %b\r\n\r\n" % (plain, request_id)
            ending = connection_lines(head, request, keep_alive=keep_alive)
            return b"%bX-Request-ID: %b\r\n%b\r\n" % (plain, request_id, ending)
        fields = passing(head, _NOT_TO_CLIENTS)
        if relay is not None:
            may_leave = (
                self._may_leave_notebook if relay.entry.slug is not None else self._may_leave
            )
            fields = [field for field in fields if may_leave(*field)]
            if relay.entry.ancestors is not None and head.status >= 200:
                fields = framed(fields, relay.entry.ancestors)
        ending = connection_lines(head, request, keep_alive=keep_alive)
        return response_head(head, fields, b"X-Request-ID: %b\r\n%b" % (request_id, ending))

    def request_trailers(self, fields: list[Field]) -> list[Field]:
        """Return the trailers of a request that may go upstream."""
        return [
            (name, value)
            for name, value in fields
            if (low := _comparable(name)) not in _NOT_IN_TRAILERS
            and low not in _OURS
            and low not in self._removed
            and not low.startswith((b"x-nbgate-", b"x-forwarded-"))
        ]

    def response_trailers(self, fields: list[Field]) -> list[Field]:
        """Return the trailers of a response that may go to the client."""
        return [
            (name, value)
            for name, value in fields
            if (low := name.lower()) not in _NOT_IN_TRAILERS
            and not low.startswith(b"access-control-")
        ]

    def _without_gateway_cookies(self, fields: list[Field]) -> list[Field]:
        kept = []
        for name, value in fields:
            if name.lower() == b"cookie" and any(cookie in value for cookie in self._cookies):
                others = [pair for pair in value.split(b";") if not self._is_ours(pair)]
                if others:
                    kept.append((name, b";".join(others).strip()))
            else:
                kept.append((name, value))
        return kept

    def _with_gateway_cookies_alone(self, fields: list[Field]) -> list[Field]:
        kept = []
        for name, value in fields:
            if name.lower() != b"cookie":
                kept.append((name, value))
            elif ours := [pair.strip() for pair in value.split(b";") if self._is_ours(pair)]:
                kept.append((name, b"; ".join(ours[:_MOST_COOKIES])))
        return kept

    def _is_ours(self, pair: bytes) -> bool:
        return pair.partition(b"=")[0].partition(b"~")[0].strip() in self._cookies

    def _may_leave(self, name: bytes, value: bytes) -> bool:
        return name.lower() != b"set-cookie" or not self._is_ours(_pair(value))

    def _may_leave_notebook(self, name: bytes, value: bytes) -> bool:
        low = name.lower()
        if low == b"set-cookie":
            pair, foreign = _pair(value), _DOMAIN.search(value) is not None
            return not (foreign or pair.lower().startswith(_LOGIN_COOKIE) or self._is_ours(pair))
        return low not in FOR_ORIGIN and not low.startswith(b"access-control-")


class _KnownLines:
    """The header lines for an upstream, and what they depend on besides the header block."""

    __slots__ = ("lines", "notebook", "secret", "user", "user_name")

    def __init__(self, relay: Relay, lines: bytes) -> None:
        self.user = relay.user
        self.user_name = relay.user_name
        self.secret = relay.entry.secret
        self.lines = lines
        self.notebook = relay.entry.slug is not None


def _person_lines(user: str, name: str) -> bytes:
    """Return the header lines that tell a notebook who sends the request, and what to call them.

    Percent-encoded UTF-8, so that nothing in them ends a line. The name is left out where it says
    no more than the subject.
    """
    line = b"X-Nbgate-User: %b\r\n" % quote(user, safe="@+,=").encode()
    if not name or name == user:
        return line
    told = quote(name[:_LONGEST_NAME], safe="@+,=", errors="replace")
    return b"%bX-Nbgate-User-Name: %b\r\n" % (line, told.encode())


def _pair(cookie: bytes) -> bytes:
    """Return `name=value` of a Set-Cookie, as browsers send it: a nameless one's value is both."""
    return cookie.partition(b";")[0].lstrip(b"= \t")


def _comparable(name: bytes) -> bytes:
    """Return `name` as upstreams that read `_` as `-` (CGI, WSGI) compare it."""
    return name.lower().replace(b"_", b"-")


def _kept(head: RequestHead, removed: frozenset[bytes]) -> list[Field]:
    """Return the client's headers that may go upstream."""
    removed = ending_here(head, removed)
    return [
        (name, value)
        for name, value in head.headers
        if (low := _comparable(name)) not in removed
        and not (low.startswith(b"x-") and low.startswith((b"x-nbgate-", b"x-forwarded-")))
    ]
