"""Links: one-time login URLs, signed links of an LMS with their keys, and ids of plain ones."""

from __future__ import annotations

import os
from typing import Any

from aiohttp import web

from gateway.api.bodies import KeyBody, LinkBody, SignBody, body_of
from gateway.api.services import Services, services_of
from gateway.errors import Conflict, InvalidInput, NotFound
from gateway.launch.deeplinks import DeepLink, Kind
from gateway.launch.linkkeys import LinkKey
from gateway.launch.links import check_file
from gateway.launch.targets import BadLink, Target, read_target
from gateway.launch.ways import Ways
from gateway.notebooks.model import Links, Notebook, Project
from gateway.spaces import Source

STUDENT = "%%USER_ID%%"
"""What an Open edX page holds in place of the student's id."""

_KEYS = "/gateway/api/link-keys"
_TRYING = 600.0
_AROUND = "x" * 600  # as long as what is around a notebook's name in a link
_OFF = (
    "course {name!r} takes no links; allow them with `nbgate project update {name} --links signed`"
)


def add_to(app: web.Application) -> None:
    """Register the handlers."""
    app.router.add_post("/gateway/api/links", _create)
    app.router.add_post("/gateway/api/links/signed", _sign)
    app.router.add_get("/gateway/api/projects/{name}/links", _list_links)
    app.router.add_get(_KEYS, _list_keys)
    app.router.add_post(_KEYS, _add_key)
    app.router.add_delete(f"{_KEYS}/{{kid}}", _remove_key)
    app.router.add_delete("/gateway/api/projects/{name}/students/{student}/session", _release)


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


async def _sign(request: web.Request) -> web.Response:
    body = await body_of(request, SignBody)
    project = services_of(request).catalogue.project(body.project)
    if project.links is Links.OFF:
        raise Conflict(_OFF.format(name=project.name))
    file = check_file(body.notebook).split("/") if body.notebook else []
    target = Target(("gateway", "open", project.name, *file, body.person))
    url, expires = await services_of(request).ways.signed.sign(
        target, project.name, body.lifetime, kid=body.kid, name=body.name, once=body.once
    )
    return web.json_response({"url": url, "expires": expires.isoformat()}, status=201)


async def _list_links(request: web.Request) -> web.Response:
    """List a course's notebooks, with what an LMS shows them by, and a URL to read each."""
    services = services_of(request)
    project, files = await course_links(services, request.match_info["name"])
    links = [await _lms_link(services.ways, project, file) for file in files]
    return web.json_response({"links": links})


async def course_links(services: Services, name: str) -> tuple[Project, list[str]]:
    """Return a course and its notebooks, relative to its source.

    Raises:
        NotFound: there is no such course.
        Conflict: it takes no links.
        SourceUnavailable, SpaceError: see Spaces.ensure.
    """
    project = services.catalogue.project(name)
    if project.links is Links.OFF:
        raise Conflict(_OFF.format(name=project.name))
    source = Source.parse(project.source)
    files = [] if source is None else await services.ways.exercises.notebooks(source)
    return project, files


def link_fault(file: str) -> str:
    """Return why no link can name a file of a course, and what to do; "" if one can."""
    parts = tuple(file.split("/"))
    try:
        read_target(str(Target((_AROUND, *parts))))
    except UnicodeEncodeError:
        return "no link can name it: its name is not UTF-8; rename it in the course"
    except BadLink as error:
        return f"no link can name it: {error}; rename it in the course"
    meant = DeepLink(Kind.STATIC, "", "", parts).candidates[0]
    return "" if meant == file else f"links mean {meant!r} by its name; rename it in the course"


def shown(file: str) -> str:
    """Return a file's name as text, also where it is none."""
    return os.fsencode(file).decode("utf-8", "replace")


async def _lms_link(ways: Ways, project: Project, file: str) -> dict[str, str]:
    if fault := link_fault(file):
        return {"file": shown(file), "fault": fault, "url": "", "static": "", "try": ""}
    parts = tuple(file.split("/"))
    reading = Target(("ipythonStaticNotebook", project.name, *parts))
    trying = f"{ways.signed.origin}{reading}"
    if project.links is Links.SIGNED:
        trying, _ = await ways.signed.sign(reading, project.name, _TRYING)
    opening = Target(("ipythonExercice", project.name, *parts))
    return {
        "file": file,
        "fault": "",
        "url": f"{ways.signed.origin}{opening}/{STUDENT}",
        "static": f"{ways.signed.origin}{reading}",
        "try": trying,
    }


async def _list_keys(request: web.Request) -> web.Response:
    keys = await services_of(request).ways.signed.keys.all()
    return web.json_response({"keys": [_record(key) for key in keys]})


async def _add_key(request: web.Request) -> web.Response:
    body = await body_of(request, KeyBody)
    keys = services_of(request).ways.signed.keys
    key = await keys.add(issuer=body.issuer, project=body.project, own_people=body.own_people)
    # The one time that it is shown; it is not logged.
    record = _record(key) | {"secret": keys.secret(key.kid)}
    headers = {"Location": f"{_KEYS}/{key.kid}", "Cache-Control": "no-store"}
    return web.json_response(record, status=201, headers=headers)


async def _remove_key(request: web.Request) -> web.Response:
    await services_of(request).ways.signed.keys.remove(request.match_info["kid"])
    return web.Response(status=204)


def _record(key: LinkKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "issuer": key.issuer,
        "project": key.project,
        "created": key.created.isoformat(),
    }


async def _release(request: web.Request) -> web.Response:
    services, student = services_of(request), request.match_info["student"]
    project = services.catalogue.project(request.match_info["name"])
    if not await services.ways.release(project.name, student):
        raise NotFound(f"browser that has, in course {project.name!r}, the id", student)
    return web.Response(status=204)
