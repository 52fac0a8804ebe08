"""What a person's browser does with a hub: logs in, opens a server, runs code in a kernel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator
from http.cookies import BaseCookie
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tests.hub.hub import TOKEN, Hub
from tests.support.waiting import PATIENCE

_NOWHERE = URL()
# Less than the five seconds after which the proxy closes an idle connection: a hub takes longer to
# start, and a POST that meets the end of its connection is not sent again.
_KEPT_SECONDS = 2.0
_FORM_TOKEN = re.compile(r'name="_xsrf"\s+value="([^"]+)"')


class Here(AbstractResolver):
    """Finds every host name on this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the loopback address."""
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Nothing is open."""


class Cookies(aiohttp.CookieJar):
    """Cookies for the paths as they are sent, where aiohttp compares what they decode to."""

    def filter_cookies(self, request_url: URL = _NOWHERE) -> BaseCookie[str]:
        """Return what belongs to a request."""
        return super().filter_cookies(request_url.with_path(request_url.raw_path))


class Person:
    """Somebody with a browser.

    Args:
        hub: where.
        name: the user's name, as it is typed.
        session: the browser: cookies and connections.
    """

    def __init__(self, hub: Hub, name: str, session: aiohttp.ClientSession) -> None:
        self.hub, self.name, self.session = hub, name, session
        self.server = URL()

    async def log_in(self) -> str:
        """Log in by the form, and go on to the hub's home page; return what it shows."""
        page = await self.text("GET", f"{self.hub.url}/hub/login")
        found = _FORM_TOKEN.search(page)
        assert found is not None, page
        form = {"_xsrf": found[1], "username": self.name, "password": "any"}
        home = URL(f"{self.hub.url}/hub/home", encoded=True).raw_path
        target = f"{self.hub.url}/hub/login?next={quote(home)}"
        return await self.text("POST", target, data=form)

    async def spawn(self) -> URL:
        """Ask for the server, follow its progress until it is ready; return its URL.

        A server that runs already is ready at once.
        """
        await self.text("GET", f"{self.hub.url}/hub/spawn")
        progress = f"{self.hub.url}/hub/api/users/{quote(self.name)}/server/progress"
        told: dict[str, Any] = {}
        async with self.session.get(progress, headers=self._proof(progress)) as events:
            assert events.status == 200, await events.text()
            async for line in events.content:
                if line.startswith(b"data:"):
                    told = json.loads(line.removeprefix(b"data:"))
        assert told.get("ready"), told
        await self.find_server()
        return self.server

    async def find_server(self) -> None:
        """Go to the own server by the hub's link for everybody, which signs in there too."""
        link = f"{self.hub.url}/hub/user-redirect/lab"
        async with self.session.get(link) as answer:
            assert answer.status == 200, await answer.text()
            self.server = answer.url.parent / ""

    async def run(self, code: str) -> str:
        """Run code in a new kernel over a WebSocket; return what it printed."""
        address = self.server / "api/kernels"
        kernel = json.loads(await self.text("POST", address, headers=self._proof(address)))
        channels = address / kernel["id"] / "channels"
        channels = channels.with_query(_xsrf=self._xsrf(address))
        async with asyncio.timeout(PATIENCE), self.session.ws_connect(channels) as wire:
            request = _execute(code)
            await wire.send_json(request)
            return await _printed(wire, request["header"]["msg_id"])

    async def reaches_server(self, but_not_by: int) -> bool:
        """Return whether the server answers, through another proxy than that process was."""
        try:
            if self.hub.proxy_pid == but_not_by:
                return False
            async with self.session.get(self.server / "api/status") as answer:
                return answer.status == 200
        except (OSError, ValueError, aiohttp.ClientError):
            return False

    async def text(self, method: str, url: str | URL, **options: Any) -> str:
        """Send a request, follow redirects; return the body of an answer below 400."""
        async with self.session.request(method, url, **options) as answer:
            body = await answer.text()
            assert answer.status < 400, f"{answer.status} {answer.url}: {body[:500]}"
            return body

    def _proof(self, url: str | URL) -> dict[str, str]:
        """Return the header that scripts of the page send, against forged requests."""
        return {"X-XSRFToken": self._xsrf(url)}

    def _xsrf(self, url: str | URL) -> str:
        return self.session.cookie_jar.filter_cookies(URL(url))["_xsrf"].value


@contextlib.asynccontextmanager
async def browser(
    *, trust: ssl.SSLContext | None = None, unix: str = ""
) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a browser with cookies of its own.

    Args:
        trust: which certificates it trusts; None for the system's.
        unix: the Unix socket that everything is behind; "" for ports on this machine.
    """
    connector = (
        aiohttp.UnixConnector(unix, keepalive_timeout=_KEPT_SECONDS)
        if unix
        else aiohttp.TCPConnector(
            resolver=Here(), ssl=trust or True, keepalive_timeout=_KEPT_SECONDS
        )
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=Cookies(unsafe=True),
        timeout=aiohttp.ClientTimeout(total=PATIENCE),
    ) as session:
        yield session


@contextlib.asynccontextmanager
async def person(
    hub: Hub, name: str, *, trust: ssl.SSLContext | None = None, unix: str = ""
) -> AsyncIterator[Person]:
    """Yield somebody with a browser of their own, see `browser`."""
    async with browser(trust=trust, unix=unix) as session:
        yield Person(hub, name, session)


async def ask_hub(somebody: Person, method: str, path: str, body: object = None) -> Any:
    """Call the hub's API by the proxy, as a service that may administer; return its JSON."""
    async with (
        aiohttp.ClientSession(
            connector=somebody.session.connector, connector_owner=False
        ) as session,
        session.request(
            method,
            f"{somebody.hub.url}/hub/api{path}",
            json=body,
            headers={"Authorization": f"token {TOKEN}"},
        ) as answer,
    ):
        text = await answer.text()
        assert answer.status < 400, f"{answer.status}: {text}"
        return json.loads(text) if text else None


def _execute(code: str) -> dict[str, Any]:
    header = {"msg_id": uuid4().hex, "msg_type": "execute_request", "username": "", "session": ""}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    return {
        "channel": "shell",
        "header": {**header, "version": "5.3", "date": "2000-01-01T00:00:00Z"},
        "parent_header": {},
        "metadata": {},
        "content": content,
        "buffers": [],
    }


async def _printed(wire: aiohttp.ClientWebSocketResponse, request: str) -> str:
    """Return what was printed until the kernel has done what it was asked."""
    text = ""
    async for message in wire:
        assert message.type is aiohttp.WSMsgType.TEXT, message
        told = json.loads(message.data)
        kind, content = told["msg_type"], told["content"]
        if told["parent_header"].get("msg_id") != request:
            continue
        assert kind != "error", content
        if kind == "stream":
            text += content["text"]
        if kind == "status" and content["execution_state"] == "idle":
            return text
    raise AssertionError(f"the WebSocket was closed: {wire.close_code}")
