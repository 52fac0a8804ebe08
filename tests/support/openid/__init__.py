"""A real OpenID provider, the certified `oidc-provider`, and a person who signs in there."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import aiohttp

from tests.support.npm import await_listener, installed
from tests.support.places import free_port

PACKAGES = ("oidc-provider@9.13.3",)
CLIENT_ID = "nbgate"
CLIENT_SECRET = "not:a secret+of/anybody%"
_MOST_STEPS = 12
_ACTION = re.compile(r'<form[^>]* action="([^"]+)"')
_PROMPT = re.compile(r'name="prompt" value="([^"]+)"')


@dataclass(frozen=True, slots=True)
class RealProvider:
    """A running one."""

    issuer: str

    async def sign_in(self, url: str, login: str, client_url: str) -> str:
        """Sign somebody in who was sent to `url`; return where the browser is sent back to.

        Args:
            url: that the client sent the browser to.
            login: the person's name.
            client_url: what the addresses of the client begin with.
        """
        # A browser of its own, so that nobody is signed in there from before.
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as browser:
            form: dict[str, str] | None = None
            for _ in range(_MOST_STEPS):
                method = "GET" if form is None else "POST"
                async with browser.request(method, url, data=form, allow_redirects=False) as answer:
                    text, where = await answer.text(), answer.headers.get("Location")
                form = None
                if where is None:
                    action, prompt = _ACTION.search(text), _PROMPT.search(text)
                    assert action is not None, text
                    assert prompt is not None, text
                    where = html.unescape(action[1])
                    form = {"prompt": prompt[1], "login": login, "password": "any"}
                url = urljoin(url, where)
                if url.startswith(client_url):
                    return url
        raise AssertionError(f"it goes round and round: {url}")


@contextlib.contextmanager
def real_provider(folder: Path, client_url: str) -> Iterator[RealProvider]:
    """Run one until left.

    Args:
        folder: for its log.
        client_url: the origin of the gateway that is its client.
    """
    node, modules = installed("oidc-provider", PACKAGES)
    port = free_port()
    issuer, log = f"http://localhost:{port}", folder / "provider.log"
    client = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": [f"{client_url}/gateway/oidc/callback"],
        "post_logout_redirect_uris": [f"{client_url}/"],
    }
    module = (modules / "oidc-provider" / "lib" / "index.js").as_uri()
    told = {"module": module, "port": port, "issuer": issuer, "client": client}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [node, str(Path(__file__).with_name("provider.mjs"))],
            env={**os.environ, "PROVIDER": json.dumps(told)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        await_listener(port, process, log)
        yield RealProvider(issuer)
    finally:
        process.kill()
        process.wait()
