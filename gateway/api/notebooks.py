"""Notebooks: list, make, read, reconfigure, delete; start, stop, sync; lock and unlock; logs.

Who holds the management token is an administrator.
"""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gateway.activation.operations import Kind, Operation
from gateway.api.bodies import (
    LockBody,
    NotebookBody,
    NotebookChange,
    PeopleBody,
    UnlockBody,
    body_of,
    flag,
    number,
)
from gateway.api.operations import location_of
from gateway.api.records import Record, notebook_record
from gateway.api.services import Services, services_of
from gateway.notebooks.model import Limits, Notebook
from gateway.notebooks.names import ADMINISTRATOR, check_notebook_slug

_REASON_LENGTH = 300
_ROOT = "/gateway/api/notebooks"
_ONE = f"{_ROOT}/{{slug}}"


def add_to(app: web.Application) -> None:
    """Register the handlers."""
    app.router.add_get(_ROOT, _list)
    app.router.add_post(_ROOT, _create)
    app.router.add_get(_ONE, _get)
    app.router.add_patch(_ONE, _change)
    app.router.add_delete(_ONE, _delete)
    app.router.add_post(f"{_ONE}/start", _start)
    app.router.add_post(f"{_ONE}/stop", _stop)
    app.router.add_post(f"{_ONE}/sync", _sync)
    app.router.add_post(f"{_ONE}/share", _share)
    app.router.add_post(f"{_ONE}/unshare", _unshare)
    app.router.add_post(f"{_ONE}/lock", _lock)
    app.router.add_post(f"{_ONE}/unlock", _unlock)
    app.router.add_get(f"{_ONE}/logs", _logs)


def _meant(request: web.Request) -> tuple[Services, Notebook]:
    """Return the services, and the notebook that the path names. Raises NotFound."""
    services = services_of(request)
    return services, services.catalogue.notebook(request.match_info["slug"])


def _current(services: Services, slug: str) -> Record:
    return notebook_record(services.catalogue.notebook(slug), services)


async def _list(request: web.Request) -> web.Response:
    services = services_of(request)
    project, owner = request.query.get("project"), request.query.get("owner")
    if project is not None:
        services.catalogue.project(project)
    found = services.catalogue.notebooks(project=project, owner=owner)
    return web.json_response({"notebooks": [notebook_record(one, services) for one in found]})


async def _create(request: web.Request) -> web.Response:
    services = services_of(request)
    body = await body_of(request, NotebookBody)
    notebook = _notebook(body)
    check_notebook_slug(notebook.slug, notebook.project, notebook.owner)
    async with services.operations.running(Kind.CREATE, notebook.slug, ADMINISTRATOR):
        notebook = await services.catalogue.add_notebook(notebook)
    headers = {"Location": f"{_ROOT}/{notebook.slug}"}
    record = notebook_record(notebook, services)
    return web.json_response(record, status=201, headers=headers)


async def _get(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    return web.json_response(notebook_record(notebook, services))


async def _change(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    change = await body_of(request, NotebookChange)
    changes = _changes(notebook, change)
    changed = await services.catalogue.update_notebook(notebook.slug, **changes)
    if changed.owner != notebook.owner:
        # Whoever had it keeps no open shell in it.
        await services.lifecycle.stop_container(notebook.slug, reason="its owner has changed")
        changed = services.catalogue.notebook(notebook.slug)
    return await _in_force(changed, services)


async def _in_force(changed: Notebook, services: Services) -> web.Response:
    """Answer with a changed notebook when whoever it shuts out is shut out."""
    await services.routes.settled()
    return web.json_response(notebook_record(changed, services))


async def _delete(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    wait, purge_space = flag(request, "wait", default=True), flag(request, "purge_space")
    operation = services.lifecycle.begin_delete(notebook.slug, purge_space=purge_space)
    services.activator.withdraw(notebook.slug)
    await _promised(services, operation, wait=wait)
    if purge_space:
        await services.ways.shares.forget(notebook.slug)
    if wait:
        return web.Response(status=204, headers=location_of(operation))
    return _answer({"slug": notebook.slug}, operation, wait=False)


async def _start(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    wait = flag(request, "wait")
    # Somebody asks on purpose: the back-off after a failure is for requests that just come in.
    services.activator.forgive(notebook.slug)
    start = services.activator.begin(notebook.slug, by=ADMINISTRATOR)
    # None where it is hot already.
    operation = services.operations.latest(notebook.slug, Kind.START)
    if wait:
        await asyncio.shield(start)
    return _answer(_current(services, notebook.slug), operation, wait=wait)


async def _stop(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    wait = flag(request, "wait", default=True)
    reason = " ".join(request.query.get("reason", "").split())[:_REASON_LENGTH]
    operation = services.lifecycle.begin_stop(notebook.slug, reason=reason)
    services.activator.withdraw(notebook.slug)
    await _promised(services, operation, wait=wait)
    return _answer(_current(services, notebook.slug), operation, wait=wait)


async def _promised(services: Services, operation: Operation, *, wait: bool) -> None:
    """Return when an operation has ended, or else when it is written down."""
    if wait:
        await services.operations.wait(operation)
    else:
        await services.operations.flush()


def _answer(record: Record, operation: Operation | None, *, wait: bool) -> web.Response:
    return web.json_response(
        record | {"operation": None if operation is None else operation.id},
        status=200 if wait else 202,
        headers={} if operation is None else location_of(operation),
    )


async def _sync(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    found = await services.lifecycle.sync_container(notebook.slug)
    return web.json_response(_current(services, notebook.slug) | {"found": found})


async def _share(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    people = (await body_of(request, PeopleBody)).people
    return await _in_force(await services.catalogue.share(notebook.slug, people), services)


async def _unshare(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    people = (await body_of(request, PeopleBody)).people
    return await _in_force(await services.catalogue.unshare(notebook.slug, people), services)


async def _lock(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    body = await body_of(request, LockBody)
    locked = await services.catalogue.lock(notebook.slug, body.by, body.reason)
    return web.json_response(notebook_record(locked, services))


async def _unlock(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    body = await body_of(request, UnlockBody)
    unlocked = await services.catalogue.unlock(
        notebook.slug, body.by, administrator=body.by == ADMINISTRATOR
    )
    return web.json_response(notebook_record(unlocked, services))


async def _logs(request: web.Request) -> web.Response:
    services, notebook = _meant(request)
    lines = number(request, "lines", default=200, largest=10_000)
    text = await services.lifecycle.logs(notebook.slug, lines)
    failure = services.activator.failure(notebook.slug)
    if not text and failure is not None:
        # A failed start is cleaned up; what it wrote is kept with the failure.
        text = failure.log_tail
    return web.json_response({"logs": text})


def _notebook(body: NotebookBody) -> Notebook:
    return Notebook(
        slug=body.slug,
        name=body.name or body.slug,
        project=body.project,
        owner=body.owner,
        created=datetime.now(UTC),
        container_image=body.image,
        limits=Limits(body.memory, body.cpus),
        environment=body.environment,
        labels=body.labels,
        shared_with=body.shared_with,
    )


def _changes(notebook: Notebook, change: NotebookChange) -> dict[str, Any]:
    changes = {name: getattr(change, name) for name in change.model_fields_set}
    if "image" in changes:
        changes["container_image"] = changes.pop("image")
    limits = {name: changes.pop(name) for name in ("memory", "cpus") if name in changes}
    if limits:
        changes["limits"] = dataclasses.replace(notebook.limits, **limits)
    return changes
