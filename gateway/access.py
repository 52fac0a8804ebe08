"""The Gate: for each request head, who may pass, and who wakes a cold notebook.

Pure policy over the route table and the session table; the waiting is the activator's. The
rules about browsers come from Fetch Metadata (https://www.w3.org/TR/fetch-metadata/) and
RFC 6454 (Origin).
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, cast

from gateway.errors import problem_of
from gateway.launch.cookies import tokens_from
from gateway.launch.session_table import Principal, SessionTable, token_digest
from gateway.notebooks.names import RESERVED
from gateway.proxy.interface import (
    Client,
    Decision,
    Hold,
    Local,
    Refuse,
    Relay,
    RouteEntry,
)
from gateway.proxy.messages import RequestHead
from routes.keys import canonical_host
from routes.table import Table

_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Wake(enum.Enum):
    """What a request may do to a cold notebook."""

    PAGE = "a person opens a page: start it, show the waiting page"
    CALL = "a program calls: start it, hold the request"
    BACKGROUND = "an open page polls: hold while starting, never start"


def is_navigation(head: RequestHead) -> bool:
    """Whether a person opens a document, in a tab or a frame."""
    if head.method not in (b"GET", b"HEAD") or head.upgrade:
        return False
    mode = head.get(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    return b"text/html" in (head.get(b"accept") or b"")


def wake_of(head: RequestHead) -> Wake:
    """Return what the request may do: a forgotten tab's polling never wakes a notebook."""
    if is_navigation(head):
        return Wake.PAGE
    marks = (b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-dest", b"referer", b"origin")
    if any(head.get(name) is not None for name in marks):
        return Wake.BACKGROUND
    return Wake.CALL


def crosses_origin(head: RequestHead, client: Client) -> bool:
    """Whether a foreign page sent this request in a way that could do or read something.

    With the hop secret injected, the notebook skips its own XSRF and Origin checks, so they
    are made here: unsafe methods and upgrades must come from the page's own origin, and so
    must everything that is not a navigation.
    """
    origin = head.get(b"origin")
    own = f"{client.scheme}://{client.host}".lower().encode("latin-1")
    unsafe = head.method not in _SAFE or bool(head.upgrade)
    if unsafe and origin is not None and origin.lower() != own:
        return True
    site = head.get(b"sec-fetch-site")
    if site in (None, b"same-origin", b"none"):
        return False
    return unsafe or head.get(b"sec-fetch-mode") != b"navigate"


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where notebooks live: under a path, or each at a host.

    Attributes:
        base_domain: the domain of host routing; "" for path routing.
        port_suffix: `:port` of the public origin in host routing, or "".
        scheme: of the public origin.
    """

    base_domain: str = ""
    port_suffix: str = ""
    scheme: str = "http"

    def key(self, slug: str) -> str:
        """Return the route key of a notebook."""
        return f"{slug}.{self.base_domain}" if self.base_domain else f"/nb/{slug}"

    def base_url(self, slug: str) -> str:
        """Return the prefix under which its Jupyter serves."""
        return "/" if self.base_domain else f"/nb/{slug}/"

    def url(self, slug: str) -> str:
        """Return where a person finds it: absolute in host routing, else a path; ends with `/`."""
        if self.base_domain:
            return f"{self.scheme}://{slug}.{self.base_domain}{self.port_suffix}/"
        return f"/nb/{slug}/"

    def holds(self, key: str) -> bool:
        """Whether a route key could be a notebook's, now or later."""
        if not self.base_domain:
            return key == "/nb" or key.startswith("/nb/")
        label, _, domain = key.partition(".")
        return domain == self.base_domain and label not in RESERVED

    def slug_of(self, host: bytes, path: bytes) -> str | None:
        """Return the slug that a request for an unknown notebook asks for, or None."""
        if not self.base_domain:
            first, _, rest = path.removeprefix(b"/").partition(b"/")
            slug = rest.partition(b"/")[0] if first == b"nb" else b""
        else:
            name = host.lower().partition(b":")[0]
            suffix = f".{self.base_domain}".encode()
            slug = name.removesuffix(suffix) if name.endswith(suffix) else b""
        return slug.decode("ascii", "replace") or None


class AccessGate:
    """What the data path asks for each request; see gateway.proxy.interface.Gate.

    Args:
        table: the routes.
        sessions: the sessions.
        namespace: where notebooks live.
        ensure: makes a notebook hot and returns its entry; raises GatewayError.
        suspected: told that connections to an entry's target fail; puts a cold, waking entry
            into the table and returns it, or None when nothing can be done.
        hold_timeout: seconds a request waits for its notebook.
    """

    def __init__(
        self,
        table: Table[RouteEntry],
        sessions: SessionTable,
        namespace: Namespace,
        ensure: Callable[[str], Awaitable[RouteEntry]],
        suspected: Callable[[RouteEntry], RouteEntry | None],
        hold_timeout: float,
    ) -> None:
        self._table = table
        self._sessions = sessions
        self._namespace = namespace
        self._by_host = bool(namespace.base_domain)
        self._ensure = ensure
        self._suspected = suspected
        self._hold_timeout = hold_timeout

    def decide(self, head: RequestHead, client: Client) -> Decision:
        """Return what to do with a request."""
        path = head.target.partition(b"?")[0]
        if path.startswith(b"/gateway/") or path == b"/gateway":
            return Local()
        entry = self._table.find(_host_key(head, client), path)
        if entry is None or (entry.slug is None and self._is_notebooks(entry, client, path)):
            return self._decide_unknown(head, client, path)
        if entry.slug is None:
            return Relay(entry)
        principal = self._principal(head, client, entry.owner)
        standing = head.standing
        if standing is None:
            return _decide_known(head, client, entry, principal)
        if standing.verdict is not None:
            of_entry, of_principal, of_method, verdict = standing.verdict
            if of_entry is entry and of_principal is principal and of_method == head.method:
                return cast("Decision", verdict)
        decision = _decide_known(head, client, entry, principal)
        standing.verdict = (entry, principal, head.method, decision)
        return decision

    def _is_notebooks(self, entry: RouteEntry, client: Client, path: bytes) -> bool:
        """Whether a plain route matches what can only be a notebook's that is not there.

        Else who asks for names could tell those that exist.
        """
        if not self._by_host and not path.startswith(b"/nb/"):
            return False  # the entry's key, of a million, is not looked at
        if entry.key != "/" and not (self._by_host and entry.key.startswith("/")):
            return False
        slug = self._namespace.slug_of(client.host.encode("latin-1"), path)
        return slug is not None and self._namespace.holds(self._namespace.key(slug))

    def _decide_unknown(self, head: RequestHead, client: Client, path: bytes) -> Decision:
        slug = self._namespace.slug_of(client.host.encode("latin-1"), path)
        if slug is None:
            return Local("unknown")
        if self._principal(head, client) is None:
            return _unauthenticated(head, slug)
        return Local("unknown", slug)

    def _principal(
        self, head: RequestHead, client: Client, owner: str | None = None
    ) -> Principal | None:
        standing = head.standing
        digests = None if standing is None else standing.tokens
        if digests is None:
            cookie = head.get(b"cookie") or b""
            digests = [
                token_digest(token) for token in tokens_from(cookie, client.scheme == "https")
            ]
            if standing is not None:
                standing.tokens = digests
        return self._sessions.first(digests, client.host, owner)

    async def awaken(self, hold: Hold) -> Relay | Refuse:
        """Wait until the notebook is hot; see Gate.awaken."""
        assert hold.entry.slug is not None
        try:
            async with asyncio.timeout(self._hold_timeout):
                entry = await self._ensure(hold.entry.slug)
        except TimeoutError:
            return Refuse(503, "starting", "the notebook is still starting; try again", 2)
        except Exception as error:  # noqa: BLE001 - whatever failed, the client gets its problem
            problem = problem_of(error)
            return Refuse(problem.status, problem.code, problem.detail, problem.retry_after)
        return Relay(entry, hold.user)

    def stands(self, relay: Relay) -> bool:
        """Whether the relay's notebook is still behind its target; see Gate.stands."""
        entry = relay.entry
        if entry.slug is None:
            return True
        now = self._table.get(entry.key)
        return now is not None and (now.target, now.generation) == (entry.target, entry.generation)

    def suspect(self, relay: Relay) -> Hold | None:
        """Mark the relay's target as suspect; see Gate.suspect."""
        replaced = self._suspected(relay.entry)
        return Hold(replaced, relay.user) if replaced and relay.may_wake else None


def may_use(principal: Principal, owner: str | None) -> bool:
    """Whether the principal may use a notebook of `owner`."""
    return principal.administrator or principal.subject == owner


def _host_key(head: RequestHead, client: Client) -> str:
    standing = head.standing
    if standing is None:
        return canonical_host(client.host.encode("latin-1"))
    if standing.host is None:
        standing.host = canonical_host(client.host.encode("latin-1"))
    return standing.host


def _decide_known(
    head: RequestHead, client: Client, entry: RouteEntry, principal: Principal | None
) -> Decision:
    """Decide from the arguments alone, so that equal requests need it once."""
    assert entry.slug is not None
    if principal is None:
        return _unauthenticated(head, entry.slug)
    if not may_use(principal, entry.owner):
        return Local("unknown", entry.slug)
    if crosses_origin(head, client):
        return Refuse(403, "cross-origin", "another site's page may not send this request")
    if entry.target is not None:
        return Relay(entry, principal.subject, may_wake=wake_of(head) is not Wake.BACKGROUND)
    return _decide_cold(head, entry, principal.subject)


def _unauthenticated(head: RequestHead, slug: str) -> Decision:
    # Known and unknown notebooks get the same answer: slugs name people.
    if is_navigation(head):
        return Local("login", slug)
    return Refuse(401, "login-required", "open the notebook by its login link first")


def _decide_cold(head: RequestHead, entry: RouteEntry, user: str) -> Decision:
    wake = wake_of(head)
    if wake is Wake.PAGE:
        return Local("waiting", entry.slug or "")
    if wake is Wake.CALL or entry.waking:
        return Hold(entry, user)
    return Refuse(424, "notebook-stopped", "the notebook is stopped; open its page to start it")
