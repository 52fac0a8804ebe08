"""The management application: middleware and handlers put together."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.api import linkchecks, links, notebooks, operations, projects, routes, students
from gateway.api.middleware import check_host, check_token, report_problems
from gateway.api.services import SERVICES, Services, services_of

BODY_BYTES = 2**20


def build_management_app(services: Services, *further: Middleware) -> web.Application:
    """Return the application for the management listener.

    Request bodies are bounded to 1 MiB; more is 413.

    Args:
        services: what the handlers use.
        further: what may answer before the token is looked at.
    """
    app = web.Application(
        middlewares=[report_problems, check_host, *further, check_token],
        client_max_size=BODY_BYTES,
    )
    app[SERVICES] = services
    app.router.add_get("/gateway/health", _health)
    app.router.add_get("/gateway/metrics", _metrics)
    app.router.add_get("/gateway/api", _about)
    app.router.add_get("/gateway/api/", _about)
    for noun in (routes, projects, notebooks, operations, links, linkchecks, students):
        noun.add_to(app)
    return app


async def _health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _metrics(request: web.Request) -> web.Response:
    # The text format 0.0.4, which every Prometheus reads.
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=services_of(request).render_metrics(), headers=headers)


async def _about(request: web.Request) -> web.Response:
    facts = services_of(request).facts
    return web.json_response(
        {
            "name": "nbgate",
            "version": facts.version,
            "installation": facts.installation,
            "spawner": facts.spawner,
            "mode": facts.mode(),
        }
    )
