"""Routes: list, read, set, delete, check, rebuild, reload, flush.

Keys hold slashes, so one route is addressed by a query argument.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from gateway.api.bodies import RouteBody, body_of
from gateway.api.records import route_record
from gateway.api.services import services_of
from gateway.errors import InvalidInput

_ROOT = "/gateway/api/routes"


def add_to(app: web.Application) -> None:
    """Register the handlers."""
    app.router.add_get(_ROOT, _list)
    app.router.add_get(f"{_ROOT}/one", _get)
    app.router.add_put(f"{_ROOT}/one", _set)
    app.router.add_delete(f"{_ROOT}/one", _delete)
    app.router.add_get(f"{_ROOT}/check", _check)
    app.router.add_post(f"{_ROOT}/rebuild", _rebuild)
    app.router.add_post(f"{_ROOT}/reload", _reload)
    app.router.add_post(f"{_ROOT}/flush", _flush)


def _key(request: web.Request) -> str:
    key = request.query.get("key")
    if not key:
        raise InvalidInput("key: is required, as ?key=/path or ?key=host")
    return key


async def _list(request: web.Request) -> web.Response:
    routes = services_of(request).routes.list()
    return web.json_response({"routes": [route_record(route) for route in routes]})


async def _get(request: web.Request) -> web.Response:
    return web.json_response(route_record(services_of(request).routes.get(_key(request))))


async def _set(request: web.Request) -> web.Response:
    key, body = _key(request), await body_of(request, RouteBody)
    route = await services_of(request).routes.set(key, body.target)
    return web.json_response(route_record(route))


async def _delete(request: web.Request) -> web.Response:
    await services_of(request).routes.delete(_key(request))
    return web.Response(status=204)


async def _check(request: web.Request) -> web.Response:
    # It reads the whole file.
    findings = await asyncio.to_thread(services_of(request).routes.check)
    return web.json_response({"findings": list(findings)})


async def _rebuild(request: web.Request) -> web.Response:
    return web.json_response({"result": await services_of(request).routes.rebuild()})


async def _reload(request: web.Request) -> web.Response:
    return web.json_response({"routes": await services_of(request).routes.reload()})


async def _flush(request: web.Request) -> web.Response:
    await services_of(request).routes.flush()
    return web.Response(status=204)
