"""Projects in memory and in the database, and how every change of the catalogue is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy.exc import IntegrityError

from gateway.errors import Conflict, NotFound
from gateway.notebooks.configuration import FROM_PROJECT
from gateway.notebooks.database import Database
from gateway.notebooks.model import Lifetimes, Limits, LinkPage, Links, Project
from gateway.notebooks.names import check_slug
from gateway.notebooks.repositories import NotebookRows, ProjectRows, columns_of
from gateway.notebooks.rules import check_fields, check_not_under_lock, check_project

T = TypeVar("T")

_CHANGEABLE = frozenset(
    [
        "title",
        "source",
        "image",
        "limits",
        "environment",
        "labels",
        "staff",
        "lifetimes",
        "links",
        "links_page",
        "frame_ancestors",
        "anonymous",
    ]
)
_NOBODY: frozenset[str] = frozenset()

ProjectListener = Callable[[str], None]


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class ProjectCatalogue:
    """The projects of one installation; see catalogue.Catalogue, which adds the notebooks.

    Args:
        database: open; it stays the caller's to close.
        now: the time in UTC.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now
        self._projects: dict[str, Project] = {}
        self._staff: dict[str, frozenset[str]] = {}
        self._project_listeners: list[ProjectListener] = []
        # Changes happen one after the other, so that memory sees them in the database's order.
        self._turn = asyncio.Lock()

    def subscribe_projects(self, listener: ProjectListener) -> None:
        """Have `listener` called with a project's name after who may use or frame it has changed.

        It is called synchronously and must not raise.
        """
        self._project_listeners.append(listener)

    def staff(self, name: str) -> frozenset[str]:
        """Return the staff of a project; of one that is not there, nobody.

        Its notebooks share the set: there may be very many of them.
        """
        return self._staff.get(name, _NOBODY)

    def ancestors(self, name: str) -> tuple[str, ...] | None:
        """Return which origins may frame a project; None for the installation's.

        So it is for one that is not there.
        """
        project = self._projects.get(name)
        return None if project is None else project.frame_ancestors

    def projects(self) -> Sequence[Project]:
        """Return all projects, sorted by name."""
        return sorted(self._projects.values(), key=lambda project: project.name)

    def project(self, name: str) -> Project:
        """Return one project. Raises NotFound."""
        try:
            return self._projects[name]
        except KeyError:
            raise NotFound("project", name) from None

    async def add_project(  # noqa: PLR0913 - what a project has, by names
        self,
        name: str,
        *,
        title: str = "",
        source: str | None = None,
        image: str | None = None,
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        staff: Sequence[str] = (),
        lifetimes: Lifetimes | None = None,
        links: Links = Links.OFF,
        links_page: LinkPage = LinkPage.NOTEBOOK,
        frame_ancestors: Sequence[str] | None = None,
        anonymous: bool = False,
    ) -> Project:
        """Add a project; its title is its name where none is given.

        Raises:
            InvalidInput: name, source, staff or frame_ancestors cannot be used.
            Conflict: the name is taken.
        """
        check_project({"source": source, "staff": staff, "frame_ancestors": frame_ancestors})
        project = Project(
            name=check_slug(name),
            title=title or name,
            created=self._now(),
            source=source,
            image=image,
            limits=limits or Limits(),
            environment=dict(environment or {}),
            labels=dict(labels or {}),
            staff=tuple(staff),
            lifetimes=lifetimes or Lifetimes(),
            links=links,
            links_page=links_page,
            frame_ancestors=None if frame_ancestors is None else tuple(frame_ancestors),
            anonymous=anonymous,
        )
        await self._change(lambda: self._add_project(project), f"add-project-{name}")
        return project

    async def _add_project(self, project: Project) -> None:
        try:
            async with self._database.writing() as connection:
                await ProjectRows(connection).add(project)
        except IntegrityError:
            raise Conflict(
                f"project {project.name!r} exists already; choose another name"
            ) from None
        self._keep_project(project.name, project)

    async def update_project(self, name: str, /, **changes: Any) -> Project:
        """Change fields of a project by their names; return it as it is now.

        Raises:
            NotFound: there is none.
            InvalidInput: a field cannot be changed, or not to that.
            ProjectLocked: it would reconfigure notebooks that are locked.
        """
        check_fields(changes, _CHANGEABLE, "project")
        check_project(changes)
        if not changes:
            return self.project(name)
        return await self._change(
            lambda: self._update_project(name, changes), f"update-project-{name}"
        )

    async def _update_project(self, name: str, changes: Mapping[str, Any]) -> Project:
        async with self._database.writing() as connection:
            rows = ProjectRows(connection)
            project = await rows.get(name, for_change=True)
            if project is not None:
                if changes.keys() & FROM_PROJECT:
                    books = await NotebookRows(connection).of_project(name, for_change=True)
                    check_not_under_lock(project, replace(project, **changes), books)
                project = await rows.change(name, columns_of(changes))
        self._keep_project(name, project)
        if project is None:
            raise NotFound("project", name)
        return project

    async def remove_project(self, name: str) -> None:
        """Remove a project. Raises NotFound; Conflict while it has notebooks."""
        self.project(name)
        await self._change(lambda: self._remove_project(name), f"remove-project-{name}")

    async def _remove_project(self, name: str) -> None:
        try:
            async with self._database.writing() as connection:
                await ProjectRows(connection).delete(name)
        except IntegrityError:
            raise Conflict(f"project {name!r} has notebooks; delete them first") from None
        self._keep_project(name, None)

    def _keep_project(self, name: str, project: Project | None) -> None:
        before = (self.staff(name), self.ancestors(name))
        staff = frozenset(() if project is None else project.staff)
        if project is None:
            self._projects.pop(name, None)
            self._staff.pop(name, None)
        else:
            self._projects[name], self._staff[name] = project, staff
        if (staff, self.ancestors(name)) != before:
            for listener in self._project_listeners:
                listener(name)

    async def _change(self, change: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
        async def in_turn() -> T:
            async with self._turn:
                return await change()

        return await self._database.finish(in_turn(), name)
