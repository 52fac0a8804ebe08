"""An OpenID provider, as it is asked: its document, its keys, a code's worth, a person's claims."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

import aiohttp

from gateway.launch.oidc import (
    Attempt,
    Key,
    Metadata,
    ProviderFailed,
    ProviderUnreachable,
    Registration,
    SignInRefused,
    UnknownKey,
    read_id_token,
    read_keys,
    read_metadata,
    with_query,
)

logger = logging.getLogger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=10.0, sock_connect=5.0)
_MOST_BYTES = 512 * 1024
_FRESH = 3600.0
_AGAIN = 30.0


class Provider:
    """One provider; what it tells of itself is remembered for an hour.

    Args:
        registration: ours.
        now: seconds since the epoch.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        registration: Registration,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registration = registration
        self._now = now
        self._clock = clock
        self._turn = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._look_again = 0.0
        self._failure: ProviderFailed | None = None
        self._keys: list[Key] = []
        self._keys_until = 0.0
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()

    async def metadata(self) -> Metadata:
        """Return what it tells of itself; an older word while it cannot be asked.

        Raises:
            ProviderFailed: it cannot be asked, or says what is of no use.
        """
        before = self._failure
        async with self._turn:
            if self._metadata is None and self._failure is not before:
                assert self._failure is not None
                raise replace(self._failure)  # who waited for it does not wait for one more
            if self._metadata is None or self._clock() >= self._look_again:
                await self._discover()
            assert self._metadata is not None
            return self._metadata

    async def _discover(self) -> None:
        issuer = self.registration.issuer
        try:
            url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
            self._metadata = read_metadata(await self._get(url), issuer)
        except ProviderFailed as failure:
            if self._metadata is None:
                self._failure = replace(failure)
                raise
            logger.warning("provider's document is not renewed reason=%s", failure)
            self._look_again = self._clock() + _AGAIN
            return
        self._look_again = self._clock() + _FRESH

    async def claims(self, code: str, attempt: Attempt, wanted: frozenset[str]) -> dict[str, Any]:
        """Return what the provider says of who came back with `code`.

        Args:
            code: as the browser brought it.
            attempt: that it belongs to.
            wanted: claims to ask for where the ID token has none of them.

        Raises:
            ProviderFailed: it cannot be asked, or says what is of no use.
            SignInRefused: it did not mean this attempt, or us.
        """
        metadata = await self.metadata()
        answer = await self._redeem(metadata, code, attempt)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderFailed("the provider sent no ID token")
        claims = await self._read(metadata, token, attempt)
        access = answer.get("access_token")
        if metadata.userinfo is None or not isinstance(access, str) or wanted <= claims.keys():
            return claims
        more = await self._get(metadata.userinfo, Authorization=f"Bearer {access}")
        # OpenID Connect Core 1.0, section 5.3.2: else the claims could be another person's.
        if more.get("sub") != claims["sub"]:
            raise SignInRefused("userinfo: of another person")
        return {**more, **claims}

    async def _read(self, metadata: Metadata, token: str, attempt: Attempt) -> dict[str, Any]:
        registration, nonce = self.registration, attempt.nonce
        for renewed in (False, True):
            keys = await self._current_keys(metadata, renewed=renewed)
            try:
                return read_id_token(token, keys, registration, nonce, self._now())
            except UnknownKey as unknown:
                missing = unknown
        raise SignInRefused(f"ID token: {missing}")

    async def _current_keys(self, metadata: Metadata, *, renewed: bool) -> list[Key]:
        if renewed or self._clock() >= self._keys_until:
            self._keys = read_keys(await self._get(metadata.keys))
            self._keys_until = self._clock() + _FRESH
        return self._keys

    async def _redeem(self, metadata: Metadata, code: str, attempt: Attempt) -> dict[str, Any]:
        ours = self.registration
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": ours.redirect_uri,
            "code_verifier": attempt.verifier,
            "client_id": ours.client_id,
        }
        headers = {}
        if ours.client_secret and metadata.basic:
            headers["Authorization"] = _basic(ours.client_id, ours.client_secret)
        elif ours.client_secret:
            form["client_secret"] = ours.client_secret
        status, answer = await self._ask("POST", metadata.token, form, headers)
        error = str(answer.get("error", ""))[:80]
        if error == "invalid_grant":
            raise SignInRefused("the provider refuses the code")
        if status != 200:
            raise ProviderFailed(f"POST {metadata.token}: {status} {error!r}")
        return answer

    async def _get(self, url: str, **headers: str) -> dict[str, Any]:
        status, answer = await self._ask("GET", url, None, headers)
        if status != 200:
            failed = ProviderUnreachable if status >= 500 else ProviderFailed
            raise failed(f"GET {url}: {status}")
        return answer

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON object of an answer; {} for what is none."""
        if self._session is None:
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(
                timeout=_TIMEOUT, cookie_jar=jar, trust_env=True, auto_decompress=True
            )
        try:
            async with self._session.request(
                method,
                url,
                data=form,
                headers={"Accept": "application/json", **headers},
                allow_redirects=False,
            ) as answer:
                return answer.status, _object(await _body(answer))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProviderUnreachable(f"{method} {url}: {error!r}"[:300]) from error

    async def goodbye(self, home: str) -> str | None:
        """Return where a browser ends its session at the provider, or None; `home` comes next."""
        end = (await self.metadata()).end_session
        if end is None:
            return None
        client = self.registration.client_id
        return with_query(end, client_id=client, post_logout_redirect_uri=home)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for part in answer.content.iter_chunked(65536):
        body += part
        if len(body) > _MOST_BYTES:
            raise ProviderFailed(f"{answer.method} {answer.url}: too long an answer")
    return body


def _object(body: bytes) -> dict[str, Any]:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _basic(client_id: str, client_secret: str) -> str:
    """Return the client's credentials (RFC 6749, 2.3.1: each part form-encoded first)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
