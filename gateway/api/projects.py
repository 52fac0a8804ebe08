"""Projects: list, add, read, change, remove."""

from __future__ import annotations

import dataclasses
from typing import Any

from aiohttp import web

from gateway.api.bodies import LIFETIMES, ProjectBody, ProjectChange, body_of
from gateway.api.records import project_record
from gateway.api.services import services_of
from gateway.errors import InvalidInput
from gateway.notebooks.model import Lifetimes, Limits, Project
from gateway.spaces import Source
from gateway.spaces.git import SourceUnavailable

_ROOT = "/gateway/api/projects"


def add_to(app: web.Application) -> None:
    """Register the handlers."""
    app.router.add_get(_ROOT, _list)
    app.router.add_post(_ROOT, _add)
    app.router.add_get(f"{_ROOT}/{{name}}", _get)
    app.router.add_patch(f"{_ROOT}/{{name}}", _change)
    app.router.add_delete(f"{_ROOT}/{{name}}", _remove)


async def _list(request: web.Request) -> web.Response:
    projects = services_of(request).catalogue.projects()
    return web.json_response({"projects": [project_record(project) for project in projects]})


async def _add(request: web.Request) -> web.Response:
    body = await body_of(request, ProjectBody)
    await _check_source(request, body.source)
    project = await services_of(request).catalogue.add_project(
        body.name,
        title=body.title,
        source=body.source,
        image=body.image,
        limits=Limits(body.memory, body.cpus),
        environment=body.environment,
        labels=body.labels,
        staff=body.staff,
        links=body.links,
        links_page=body.links_page,
        frame_ancestors=body.frame_ancestors,
        anonymous=body.anonymous,
        lifetimes=Lifetimes(**{name: getattr(body, name) for name in LIFETIMES}),
    )
    headers = {"Location": f"{_ROOT}/{project.name}"}
    return web.json_response(project_record(project), status=201, headers=headers)


async def _get(request: web.Request) -> web.Response:
    project = services_of(request).catalogue.project(request.match_info["name"])
    return web.json_response(project_record(project))


async def _change(request: web.Request) -> web.Response:
    change = await body_of(request, ProjectChange)
    catalogue = services_of(request).catalogue
    project = catalogue.project(request.match_info["name"])
    await _check_source(request, change.source)
    changed = await catalogue.update_project(project.name, **_changes(project, change))
    await services_of(request).routes.settled()
    return web.json_response(project_record(changed))


async def _remove(request: web.Request) -> web.Response:
    await services_of(request).catalogue.remove_project(request.match_info["name"])
    return web.Response(status=204)


async def _check_source(request: web.Request, source: str | None) -> None:
    """Refuse a folder that is not there now: later, it would be a student's failed start."""
    try:
        await services_of(request).spaces.check_source(Source.parse(source))
    except SourceUnavailable as error:
        raise InvalidInput(str(error)) from error


def _changes(project: Project, change: ProjectChange) -> dict[str, Any]:
    changes = {name: getattr(change, name) for name in change.model_fields_set}
    limits = {name: changes.pop(name) for name in ("memory", "cpus") if name in changes}
    if limits:
        changes["limits"] = dataclasses.replace(project.limits, **limits)
    lifetimes = {name: changes.pop(name) for name in LIFETIMES if name in changes}
    if lifetimes:
        changes["lifetimes"] = dataclasses.replace(project.lifetimes, **lifetimes)
    return changes
