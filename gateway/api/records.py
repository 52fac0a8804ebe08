"""What clients get: notebooks, projects and routes as JSON objects."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from gateway.api.services import RouteRecord, Services
from gateway.errors import StartFailed
from gateway.notebooks.model import Lock, Notebook, Project

Record = dict[str, Any]


def route_record(route: RouteRecord) -> Record:
    """Return a route for clients; a cold one's target is null."""
    return {
        "key": route.key,
        "target": route.target,
        "hot": route.hot,
        "slug": route.slug,
        "owner": route.owner,
        "project": route.project,
        "engine_id": route.engine_id,
    }


def project_record(project: Project) -> Record:
    """Return a project for clients; memory in bytes, lifetimes in seconds."""
    return {
        "name": project.name,
        "title": project.title,
        "source": project.source,
        "image": project.image,
        "memory": project.limits.memory,
        "cpus": project.limits.cpus,
        "environment": dict(project.environment),
        "labels": dict(project.labels),
        "staff": list(project.staff),
        "links": str(project.links),
        "links_page": str(project.links_page),
        "frame_ancestors": _listed(project.frame_ancestors),
        "anonymous": project.anonymous,
        **dataclasses.asdict(project.lifetimes),
        "created": project.created.isoformat(),
    }


def notebook_record(notebook: Notebook, services: Services) -> Record:
    """Return a notebook for clients, with how far its start is and why the last one failed."""
    status = services.activator.status(notebook.slug)
    return {
        "slug": notebook.slug,
        "name": notebook.name,
        "project": notebook.project,
        "owner": notebook.owner,
        "shared_with": list(notebook.shared_with),
        "image": notebook.container_image,
        "memory": notebook.limits.memory,
        "cpus": notebook.limits.cpus,
        "environment": dict(notebook.environment),
        "labels": dict(notebook.labels),
        "state": str(notebook.state),
        "phase": str(status.phase),
        "queue_position": status.position,
        "failure": _failure(services.activator.failure(notebook.slug)),
        "generation": notebook.generation,
        "container_id": notebook.container_id,
        "port": notebook.port,
        "internal_url": notebook.internal_url,
        "engine_id": notebook.engine_id,
        "engine_status": notebook.engine_status,
        "health": None if notebook.health is None else str(notebook.health),
        "health_reason": notebook.health_reason,
        "started": _moment(notebook.started),
        "last_active": _moment(notebook.last_active),
        "lock": _lock(notebook.lock),
        "created": notebook.created.isoformat(),
    }


def _listed(items: tuple[str, ...] | None) -> list[str] | None:
    return None if items is None else list(items)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _lock(lock: Lock | None) -> Record | None:
    if lock is None:
        return None
    return {"by": lock.locked_by, "reason": lock.reason, "since": lock.since.isoformat()}


def _failure(failure: StartFailed | None) -> Record | None:
    if failure is None:
        return None
    return {
        "reason": failure.in_full,
        "retry_after": failure.retry_after,
        "log_tail": failure.log_tail,
    }
