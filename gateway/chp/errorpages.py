"""What people are told about errors: the hub's page, the operator's file, or a plain one.

The hub's own page is fetched with `GET {error target}/{status}?url={the request's}`; of its answer
only the body and what describes it are used. The status is always this proxy's own.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote_plus

import aiohttp
from yarl import URL

from gateway.chp.gate import HEALTHY
from gateway.problems import Problem
from gateway.proxy.messages import RequestHead
from routes.keys import Target

logger = logging.getLogger(__name__)

_FETCH_SECONDS = 5.0
_LARGEST = 2**20
_DESCRIBING = ("Content-Type", "Content-Encoding")
_HTML = b"text/html; charset=utf-8"
_DOCUMENT = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{status} {phrase}</title></head>
<body><h1>{status} {phrase}</h1><p>{detail}</p></body>
</html>
"""
_DETAILS = {404: "Nothing is served at this address.", 503: "The server behind it does not answer."}


@dataclass(frozen=True, slots=True)
class Page:
    """An answer of the proxy's own.

    Attributes:
        status: HTTP status code.
        body: bytes.
        fields: header fields that describe the body.
        reason: why, for the log.
    """

    status: int
    body: bytes = b""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    reason: str = ""


def rendered(page: Page, request: RequestHead, *, keep_alive: bool) -> bytes:
    """Return the whole answer to `request`."""
    lines = [
        b"HTTP/1.1 %d %b" % (page.status, _phrase(page.status).encode()),
        *(b"%b: %b" % field for field in page.fields),
        b"Content-Length: %d" % len(page.body),
        b"Connection: keep-alive" if keep_alive else b"Connection: close",
    ]
    body = b"" if request.method == b"HEAD" else page.body
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class ErrorPages:
    """Makes pages of problems.

    Args:
        target: has a page for each status; None for none.
        folder: has `{status}.html` and `error.html`; None for none.
        tls: returns what speaks TLS with the target.
    """

    def __init__(
        self,
        target: Target | None = None,
        folder: Path | None = None,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        self._target = target
        self._folder = folder
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close what is open to the target."""
        if self._session is not None:
            await self._session.close()

    def at_once(self, problem: Problem, head: RequestHead) -> Page | None:
        """Return the page for a problem, or None where it has to be fetched."""
        if problem.code == HEALTHY.code:
            return Page(200, b'{"status":"OK"}', ((b"Content-Type", b"application/json"),))
        status = _status_of(problem)
        if head.upgrade:
            return Page(status, reason=problem.detail)
        if self._target is not None or self._folder is not None:
            return None
        phrase, detail = _phrase(status), _DETAILS.get(status, "The proxy could not do this.")
        text = _DOCUMENT.format(status=status, phrase=phrase, detail=detail)
        return Page(status, text.encode(), ((b"Content-Type", _HTML),), problem.detail)

    async def fetch(self, problem: Problem, head: RequestHead) -> Page:
        """Return the page for a problem; the bare reason phrase where there is none."""
        status = _status_of(problem)
        try:
            if self._target is not None:
                page = await self._fetched(self._target, status, head, problem.detail)
            else:
                page = await asyncio.to_thread(self._read, status, problem.detail)
        except Exception:  # whatever it was, somebody waits for an answer
            logger.exception("Failed to make an error page")
            page = None
        return page or Page(status, _phrase(status).encode(), reason=problem.detail)

    async def _fetched(
        self, target: Target, status: int, head: RequestHead, reason: str
    ) -> Page | None:
        host = f"[{target.host}]" if ":" in target.host else target.host
        url = f"{target.scheme}://{host}:{target.port}{target.path}/{status}"
        url += f"?url={quote_plus(head.target)}"
        try:
            async with self._client(target).get(
                URL(url, encoded=True), ssl=self._tls() or True, allow_redirects=False
            ) as told:
                body = await _bounded(told)
                fields = [(name, told.headers.get(name)) for name in _DESCRIBING]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            logger.error("Failed to get custom error page: %r", error)
            return None
        kept = ((name.encode(), value.encode()) for name, value in fields if value)
        return Page(status, body, tuple(kept), reason)

    def _client(self, target: Target) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.UnixConnector(target.socket) if target.socket else None
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=_FETCH_SECONDS),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept-Encoding",),
            )
        return self._session

    def _read(self, status: int, reason: str) -> Page | None:
        assert self._folder is not None
        for name in (f"{status}.html", "error.html"):
            try:
                body = (self._folder / name).read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                logger.error("Error reading %s: %s", self._folder / name, error.strerror)
                return None
            return Page(status, body, ((b"Content-Type", _HTML),), reason)
        logger.error("No error file %s", self._folder / "error.html")
        return None


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = await answer.content.read(_LARGEST + 1)
    while len(body) <= _LARGEST and (more := await answer.content.read(_LARGEST)):
        body += more
    if len(body) > _LARGEST:
        raise ValueError("the error page is larger than 1 MiB")
    return body


def _status_of(problem: Problem) -> int:
    """Return what a client is told: whatever failed behind the proxy is 503."""
    return 503 if problem.status in (502, 504) else problem.status


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
