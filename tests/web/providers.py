"""Fixtures: pages at which people sign in, at a real provider or at one that misbehaves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from joserfc import jwk, jwt

from gateway.launch.cookies import cookie_name
from gateway.launch.oidc import Registration
from gateway.launch.provider import Provider
from gateway.launch.subjects import Naming
from gateway.proxy.interface import Local
from gateway.web import build_pages
from gateway.web.context import Pages
from gateway.web.people import SIGN_IN, SignIn
from tests.proxy.harness import Rig, rig
from tests.proxy.wire import Message
from tests.support.openid import CLIENT_ID, CLIENT_SECRET
from tests.web.browser import HOST, Browser

OURS = f"http://{HOST}"


class Liar:
    """A provider that says whatever a test wants it to.

    Attributes:
        issuer: its URL, once it serves.
        key: signs its ID tokens.
        document: changes its document.
        claims: change an ID token's; None takes one out.
        header: of its ID tokens.
        token: an ID token in place of its own; None for its own.
        published: the keys that it tells of.
        down: whether it answers 500 to everything.
        forms: what was sent for codes.
        asked: how often each path was asked for.
    """

    def __init__(self) -> None:
        self.issuer = ""
        self.key = jwk.RSAKey.generate_key(2048, {"kid": "one"})
        self.document: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.token: str | None = None
        self.published: list[dict[str, Any]] = [dict(self.key.as_dict(private=False))]
        self.down = False
        self.userinfo: dict[str, Any] = {}
        self.token_status = 200
        self.forms: list[dict[str, str]] = []
        self.asked: list[str] = []
        self.nonce = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Liar]:
        app = web.Application(middlewares=[self._noted])
        app.router.add_get("/.well-known/openid-configuration", self._document)
        app.router.add_get("/keys", self._keys)
        app.router.add_post("/token", self._token)
        app.router.add_get("/me", self._userinfo)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield self
        await runner.cleanup()

    @web.middleware
    async def _noted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.down:
            return web.Response(status=500, text="out of order")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _document(self, request: web.Request) -> web.Response:
        ours = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/me",
        }
        return web.json_response(ours | self.document)

    async def _keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": self.published})

    async def _userinfo(self, request: web.Request) -> web.Response:
        return web.json_response({"sub": "mary", "name": "Mary"} | self.userinfo)

    async def _token(self, request: web.Request) -> web.Response:
        self.forms.append({name: str(text) for name, text in (await request.post()).items()})
        if self.token_status != 200:
            return web.json_response({"error": "invalid_grant"}, status=self.token_status)
        return web.json_response({"id_token": self.token or self.id_token(), "access_token": "a"})

    def id_token(self) -> str:
        """Return an ID token with the claims as they are now."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "mary",
            "nonce": self.nonce,
            "iat": now,
            "exp": now + 60,
        }
        claims = {k: v for k, v in (claims | self.claims).items() if v is not None}
        return jwt.encode(self.header, claims, self.key)


@dataclass
class House:
    """Pages at which people sign in.

    Attributes:
        clock: monotonic seconds of the provider's memory, in a list.
    """

    proxy: Rig
    pages: Pages
    sign_in: SignIn
    clock: list[float] = field(default_factory=lambda: [0.0])

    def browser(self) -> Browser:
        return Browser(self.proxy)

    def who(self, browser: Browser) -> str | None:
        """Return whose session a browser has."""
        token = browser.cookies.get(cookie_name(https=False), "")
        found = self.pages.table.lookup(token.encode(), HOST)
        return None if found is None else found.subject


@contextlib.asynccontextmanager
async def house(
    folder: Path, pages: Pages, issuer: str, *, straight_on: bool = False, **naming: Any
) -> AsyncIterator[House]:
    """Serve pages behind a real data path; people sign in at `issuer`."""
    clock = [0.0]
    provider = Provider(
        Registration(issuer, CLIENT_ID, CLIENT_SECRET, f"{OURS}/gateway/oidc/callback"),
        clock=lambda: clock[0],
    )
    app = build_pages(pages)
    sign_in = SignIn(provider, Naming(issuer, **naming), "the Test", straight_on)
    app[SIGN_IN] = sign_in
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(folder / "pages.sock")).start()
    async with rig(folder) as proxy:
        proxy.gate.rule = lambda head, client: Local()
        yield House(proxy, pages, sign_in, clock)
    await runner.cleanup()
    await provider.close()


async def begun(browser: Browser, onward: str = "/nb/demo-x-mary/lab?a=b") -> str:
    """Begin to sign in; return where the browser is sent."""
    answer = await browser.ask(f"/gateway/oidc/begin?next={quoted(onward)}")
    assert answer.status == 303, answer.body
    return (answer.one(b"location") or b"").decode()


def quoted(text: str) -> str:
    """Return `text` as a value in a query."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def parameters(url: str) -> dict[str, str]:
    """Return the query of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def path_of(url: str) -> str:
    """Return path and query of a URL of ours."""
    assert url.startswith(OURS), url
    return url.removeprefix(OURS)


def signs_nobody_in(answer: Message, status: int) -> bool:
    """Whether an answer is a page of ours that gives nobody a session."""
    named = (line.partition(b"=")[0] for line in answer.all(b"set-cookie"))
    return answer.status == status and cookie_name(https=False).encode() not in named
