"""The REST API on the routes, at `/api/routes`: what JupyterHub calls.

Beside it is one path of nbgate's own, by which a caller waits until the routes are in the file.
Paths are taken as they were sent: percent-decoded once, never normalised. Bodies may have 1 MiB,
which is aiohttp's own bound.
"""

from __future__ import annotations

import hmac
import json
import logging
import math
import re
from datetime import UTC, datetime
from typing import NoReturn
from urllib.parse import parse_qs

from aiohttp import web

from gateway.chp.book import Book, NotKept
from gateway.chp.paths import key_of, shortened
from gateway.chp.tally import Tally
from gateway.errors import Conflict
from routes.errors import RouteFileError
from routes.keys import InvalidKey, InvalidTarget

logger = logging.getLogger(__name__)

_BASE = "/api/routes"
_FLUSH = "/gateway/api/routes/flush"  # where the management API of `nbgate serve` has it
_TOKEN = re.compile(r"token[ \t]+(\S+)")
_YEAR = re.compile(r"[0-9]{4}(?:-[0-9]{2})?")
_LOCAL = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]*)?", re.IGNORECASE)


class RoutesApi:
    """Answers the requests of one listener.

    Args:
        book: the routes.
        tally: counts.
        token: what callers have to know; "" to let every program on this machine in, but no
            page of a browser.
    """

    def __init__(self, book: Book, tally: Tally, token: str) -> None:
        self._book = book
        self._tally = tally
        self._token = token

    @staticmethod
    def is_for(request: web.BaseRequest) -> bool:
        """Whether a request is for the API on the routes."""
        path = request.raw_path.partition("?")[0]
        return path == _BASE or path.startswith(_BASE + "/")

    def server(self) -> web.Server:
        """Return what a listener needs. There is no router: it would decode paths itself."""
        return web.Server(self.handle)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer any request, and log it."""
        path, _, query = request.raw_path.partition("?")
        try:
            response = await self._answer(request, path, query)
        except web.HTTPException as error:
            response = _told(error.status, error.reason)
        except Exception:
            logger.exception("Error in handler for %s %s", request.method, path)
            response = _told(500, "Internal Server Error")
        self._tally.api_statuses[response.status] += 1
        level = logging.INFO if response.status < 400 else logging.WARNING
        why = f": {response.text!a}" if response.status >= 400 and response.text else ""
        logger.log(level, "%d %s %s%s", response.status, request.method, path, why)
        return response

    async def _answer(self, request: web.BaseRequest, path: str, query: str) -> web.Response:
        refused = self._refused(request, path)
        if refused is not None:
            return refused
        try:
            if path == _FLUSH:
                return await self._flush()
            return await self._operate(request, key_of(path[len(_BASE) :]), query)
        except (InvalidKey, InvalidTarget) as error:
            return _told(400, str(error))
        except (Conflict, NotKept) as error:
            return _told(409, str(error))

    def _refused(self, request: web.BaseRequest, path: str) -> web.Response | None:
        if not self.is_for(request) and path != _FLUSH:
            return _told(404, "Not Found")
        if request.method not in (("POST",) if path == _FLUSH else ("GET", "POST", "DELETE")):
            return _told(405, "Method not supported")
        return None if self._admits(request) else web.Response(status=403)

    async def _operate(self, request: web.BaseRequest, key: str, query: str) -> web.Response:
        if request.method == "POST":
            return await self._post(shortened(key), request)
        if request.method == "DELETE":
            return await self._delete(key)
        return await self._list(query) if key == "/" else self._get(shortened(key))

    def _admits(self, request: web.BaseRequest) -> bool:
        if not self._token:
            here = _LOCAL.fullmatch(request.headers.get("Host", "")) or _over_unix(request)
            return bool(here) and "Origin" not in request.headers
        given = _TOKEN.fullmatch(request.headers.get("Authorization", "").strip())
        told = "" if given is None else given[1]
        return hmac.compare_digest(told.encode("utf-8", "surrogateescape"), self._token.encode())

    async def _list(self, query: str) -> web.Response:
        since = None
        named = parse_qs(query)
        told = named.get("inactiveSince") or named.get("inactive_since")
        if told:
            since = moment(told[0])
            if since is None:
                return _told(400, f"Invalid datestamp '{told[0]}' must be ISO8601.")
        self._tally.listed += 1
        return _json(await self._book.listing(since))

    def _get(self, key: str) -> web.Response:
        route = self._book.get(key)
        return web.Response(status=404) if route is None else _json(route.encode("ascii"))

    async def _post(self, key: str, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        try:
            data = json.loads(body, parse_constant=_no_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            return _told(400, f"Body not valid JSON: {error}")
        if not isinstance(data, dict) or not isinstance(data.get("target"), str):
            return _told(400, "Must specify 'target' as string")
        self._book.put(key, data)
        await self._book.settled()
        logger.info("Route added %s -> %s", key, data["target"])
        self._tally.added += 1
        return web.Response(status=201)

    async def _delete(self, key: str) -> web.Response:
        self._tally.deleted += 1
        if not self._book.remove(key):
            return web.Response(status=404)
        await self._book.settled()
        logger.info("Removing route %s", key)
        return web.Response(status=204)

    async def _flush(self) -> web.Response:
        try:
            await self._book.flush()
        except (RouteFileError, OSError) as error:
            return _told(500, str(error) or type(error).__name__)
        return web.Response(status=204)


def moment(text: str) -> float | None:
    """Return an ISO 8601 date or time as seconds since the epoch; None when it is none.

    As in ECMAScript, a year or month will do; a date alone is meant in UTC, a time without a zone
    in the local one.
    """
    if _YEAR.fullmatch(text):
        text += "-01-01"[len(text) - 4 :]
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None and len(text) <= 10:
            found = found.replace(tzinfo=UTC)
        return found.timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _over_unix(request: web.BaseRequest) -> bool:
    return request.transport is not None and not isinstance(
        request.transport.get_extra_info("sockname"), tuple
    )


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _told(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):  # it would be told as what is no JSON
        raise ValueError(f"{text} is too large a number")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
