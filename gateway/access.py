"""The Gate: for each request head, who may pass, and who wakes a cold notebook.

Pure policy over the route table and the session table; the waiting is the activator's. The
rules about browsers come from Fetch Metadata (https://www.w3.org/TR/fetch-metadata/) and
RFC 6454 (Origin).
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Final, cast

from gateway.errors import GatewayError
from gateway.launch.cookies import MOST_TOKENS, tokens_from, tokens_of_course
from gateway.launch.session_table import Principal, SessionTable, token_digest
from gateway.namespace import Namespace
from gateway.problems import problem_of
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
        principal = self._principal(head, client, entry)
        standing = head.standing
        if standing is None:
            return _decide_known(head, client, entry, principal, self._by_host)
        if standing.verdict is not None:
            of_entry, of_principal, of_method, verdict = standing.verdict
            if of_entry is entry and of_principal is principal and of_method == head.method:
                return cast("Decision", verdict)
        decision = _decide_known(head, client, entry, principal, self._by_host)
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
        self, head: RequestHead, client: Client, entry: RouteEntry | None = None
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
        told = client.user
        if told is not None:
            # A proxy in front has authenticated somebody: nobody else's session counts.
            found = self._sessions.first(digests, client.host, told)
            return found if found is not None and found.subject == told else None
        if entry is None:
            return self._sessions.first(digests, client.host)
        found = self._sessions.first(digests, client.host, entry.owner, entry.others)
        if len(digests) < MOST_TOKENS or (found and may_use(found, entry.owner, entry.others)):
            return found
        return self._of_course(head, client, entry) or found

    def _of_course(self, head: RequestHead, client: Client, entry: RouteEntry) -> Principal | None:
        """Return who came into the notebook's course, in a browser that was in very many."""
        cookie, https = head.get(b"cookie") or b"", client.scheme == "https"
        tokens = tokens_of_course(cookie, https, entry.project or "")
        digests = [token_digest(token) for token in tokens]
        return self._sessions.first(digests, client.host, entry.owner, entry.others)

    async def awaken(self, hold: Hold) -> Relay | Refuse:
        """Wait until the notebook is hot; see Gate.awaken."""
        assert hold.entry.slug is not None
        try:
            async with asyncio.timeout(self._hold_timeout):
                entry = await self._ensure(hold.entry.slug)
        except TimeoutError:
            return Refuse(503, "starting", "the notebook is still starting; try again", 2)
        except GatewayError as error:  # anything else is the exchange's to log
            problem = problem_of(error)
            return Refuse(problem.status, problem.code, problem.detail, problem.retry_after)
        return Relay(entry, hold.user, session=hold.session, user_name=hold.user_name)

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
        if replaced is None or not relay.may_wake:
            return None
        return Hold(replaced, relay.user, relay.session, relay.user_name)


def may_use(principal: Principal, owner: str | None, others: frozenset[str] | None = None) -> bool:
    """Whether the principal may use a notebook of `owner`; under path routing others read it.

    `others` may as well: see RouteEntry.
    """
    if principal.subject == owner or principal.administrator:
        return True
    return others is not None and principal.subject in others


def _host_key(head: RequestHead, client: Client) -> str:
    standing = head.standing
    if standing is None:
        return canonical_host(client.host.encode("latin-1"))
    if standing.host is None:
        standing.host = canonical_host(client.host.encode("latin-1"))
    return standing.host


def _decide_known(
    head: RequestHead,
    client: Client,
    entry: RouteEntry,
    principal: Principal | None,
    by_host: bool,
) -> Decision:
    """Decide from the arguments alone, so that equal requests need it once."""
    assert entry.slug is not None
    if principal is None:
        return _unauthenticated(head, entry.slug)
    if principal.subject != entry.owner:
        if not may_use(principal, entry.owner, entry.others):
            return Local("unknown", entry.slug)
        if not by_host:
            # One origin for all: its script would have whatever this person may use.
            return Local("reading" if is_navigation(head) else "unknown", entry.slug)
    if crosses_origin(head, client):
        return Refuse(403, "cross-origin", "another site's page may not send this request")
    if entry.target is not None:
        may_wake = wake_of(head) is not Wake.BACKGROUND
        return Relay(
            entry,
            principal.subject,
            may_wake=may_wake,
            session=principal.session,
            user_name=principal.display_name,
        )
    return _decide_cold(head, entry, principal)


def _unauthenticated(head: RequestHead, slug: str) -> Decision:
    # Known and unknown notebooks get the same answer: slugs name people.
    if is_navigation(head):
        return Local("login", slug)
    return Refuse(401, "login-required", "open the notebook by its login link first")


def _decide_cold(head: RequestHead, entry: RouteEntry, principal: Principal) -> Decision:
    wake = wake_of(head)
    if wake is Wake.PAGE:
        return Local("waiting", entry.slug or "")
    if wake is Wake.CALL or entry.waking:
        return Hold(entry, principal.subject, principal.session, principal.display_name)
    return Refuse(424, "notebook-stopped", "the notebook is stopped; open its page to start it")
