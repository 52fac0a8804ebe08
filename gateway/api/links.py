"""Links: the way in for a person, as a one-time login URL."""

from __future__ import annotations

from aiohttp import web

from gateway.api.bodies import LinkBody, body_of
from gateway.api.services import services_of
from gateway.errors import InvalidInput
from gateway.notebooks.model import Notebook


def add_to(app: web.Application) -> None:
    """Register the handler."""
    app.router.add_post("/gateway/api/links", _create)


async def _create(request: web.Request) -> web.Response:
    body = await body_of(request, LinkBody)
    links = services_of(request).links
    notebook = await _notebook_meant(request, body)
    make = links.direct if body.direct else links.login
    link = await make(notebook, body.file)
    return web.json_response(
        {
            "url": link.url,
            "slug": notebook.slug,
            "expires": None if link.expires is None else link.expires.isoformat(),
        },
        status=201,
    )


async def _notebook_meant(request: web.Request, body: LinkBody) -> Notebook:
    catalogue = services_of(request).catalogue
    if body.slug is not None and body.project is None and body.person is None:
        return catalogue.notebook(body.slug)
    if body.slug is None and body.project is not None and body.person is not None:
        return await catalogue.open_for(body.project, body.person)
    raise InvalidInput("slug: give either slug, or project and person")
