"""All projects and notebooks: in memory for reading, written through to the database.

Reading is synchronous and does no I/O. A change is made in the database first, then in memory,
then told to the listeners; once begun it is finished, whatever happens to who asked for it.
Two gateways may share the database: each change starts from what is stored, not from memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError

from gateway.errors import Conflict, InvalidInput, NotFound
from gateway.notebooks import rules
from gateway.notebooks.database import Database
from gateway.notebooks.model import Notebook
from gateway.notebooks.names import ADMINISTRATOR, check_notebook_slug, check_person, notebook_slug
from gateway.notebooks.projects import ProjectCatalogue, utc_now
from gateway.notebooks.repositories import NotebookRows, ProjectRows, columns_of

Listener = Callable[[str, Notebook | None], None]


class Catalogue(ProjectCatalogue):
    """The projects and notebooks of one installation.

    Args:
        database: open; it stays the caller's to close.
        now: the time in UTC.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        super().__init__(database, now)
        self._notebooks: dict[str, Notebook] = {}
        self._presumed: dict[str, Mapping[str, Any]] = {}
        self._slugs: list[str] | None = None  # sorted; None where one has come or gone since
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Have `listener` called after each change of a notebook: (slug, its new value or None).

        It is called synchronously, in the order of the changes, and must not raise.
        """
        self._listeners.append(listener)

    async def load(self) -> None:
        """Read everything from the database; listeners are told the differences."""
        await self._change(self._load, "catalogue-load")

    async def _load(self) -> None:
        async with self._database.reading() as connection:
            projects = await ProjectRows(connection).all()
            notebooks = await NotebookRows(connection).all()
        for name in self._projects.keys() - {project.name for project in projects}:
            self._keep_project(name, None)
        for project in projects:
            self._keep_project(project.name, project)
        for slug in self._notebooks.keys() - {notebook.slug for notebook in notebooks}:
            self._keep(slug, None)
        for notebook in notebooks:
            self._keep(notebook.slug, notebook)

    async def refresh(self, slugs: Collection[str], projects: Collection[str]) -> None:
        """Read some anew that another gateway has changed; listeners are told the differences."""
        await self._change(lambda: self._refresh(slugs, projects), "catalogue-refresh")

    async def _refresh(self, slugs: Collection[str], projects: Collection[str]) -> None:
        async with self._database.reading() as connection:
            rows = ProjectRows(connection)
            for name in projects:
                self._keep_project(name, await rows.get(name))
            found = await NotebookRows(connection).some(slugs)
        stored = {notebook.slug: notebook for notebook in found}
        for slug in slugs:
            self._keep(slug, stored.get(slug))

    def notebooks(self, project: str | None = None, owner: str | None = None) -> Sequence[Notebook]:
        """Return the notebooks, sorted by slug; None means of any project, of any owner."""
        if self._slugs is None:
            self._slugs = sorted(self._notebooks)
        every = map(self._notebooks.__getitem__, self._slugs)
        if project is None and owner is None:
            return list(every)
        return [
            notebook
            for notebook in every
            if project in (None, notebook.project) and owner in (None, notebook.owner)
        ]

    def others(self, notebook: Notebook) -> frozenset[str] | None:
        """Return who may use a notebook beside its owner; None for nobody.

        They are who teaches its project, and who it is shared with.
        """
        staff = self.staff(notebook.project)
        return (staff.union(notebook.shared_with) if notebook.shared_with else staff) or None

    def find(self, slug: str) -> Notebook | None:
        """Return one notebook, or None."""
        return self._notebooks.get(slug)

    def notebook(self, slug: str) -> Notebook:
        """Return one notebook. Raises NotFound."""
        try:
            return self._notebooks[slug]
        except KeyError:
            raise NotFound("notebook", slug) from None

    def check_unlocked(self, slug: str) -> None:
        """Return if the notebook may be stopped, deleted and reconfigured.

        Raises:
            NotFound: there is none.
            NotebookLocked: it is locked; carries who and why.
        """
        rules.check_unlocked(self.notebook(slug))

    async def add_notebook(self, notebook: Notebook) -> Notebook:
        """Add a notebook; return it as stored.

        Raises:
            InvalidInput: slug or owner cannot be used.
            NotFound: there is no such project.
            Conflict: the slug is taken.
        """
        check_person(notebook.owner)
        rules.check_shared(notebook.shared_with)
        check_notebook_slug(notebook.slug, notebook.project, notebook.owner)
        self.project(notebook.project)
        return await self._change(lambda: self._add_notebook(notebook), f"add-{notebook.slug}")

    async def _add_notebook(self, notebook: Notebook) -> Notebook:
        added = await self._insert_or_find(notebook)
        if added is not None:
            raise Conflict(f"notebook {notebook.slug!r} exists already; choose another slug")
        return notebook

    async def open_for(self, project: str, person: str) -> Notebook:
        """Return the notebook of (project, person), made if it is new.

        Called twice at once, also by two gateways, it makes one.

        Raises:
            InvalidInput: the person's name cannot be used.
            NotFound: there is no such project.
            Conflict: somebody else's notebook has its slug.
        """
        if person == ADMINISTRATOR:
            raise InvalidInput(f"{person!r} is the administrator's name; no person has it")
        slug = notebook_slug(project, person)
        self.project(project)
        notebook = self.find(slug)
        if notebook is None:
            fresh = Notebook(
                slug=slug, name=project, project=project, owner=person, created=self._now()
            )
            notebook = await self._change(lambda: self._open(fresh), f"open-{slug}")
        if (notebook.project, notebook.owner) != (project, person):
            raise Conflict(f"notebook {slug!r} is not the one of {person!r} in {project!r}")
        return notebook

    async def _open(self, fresh: Notebook) -> Notebook:
        return await self._insert_or_find(fresh) or fresh

    async def _insert_or_find(self, fresh: Notebook) -> Notebook | None:
        """Store `fresh` and return None, or return the notebook that has its slug already."""
        try:
            async with self._database.writing() as connection:
                await NotebookRows(connection).add(fresh)
        except IntegrityError:
            async with self._database.reading() as connection:
                stored = await NotebookRows(connection).get(fresh.slug)
            if stored is None:
                raise NotFound("project", fresh.project) from None
            self._keep(fresh.slug, stored)
            return stored
        self._keep(fresh.slug, fresh)
        return None

    async def update_notebook(self, slug: str, /, **changes: Any) -> Notebook:
        """Change fields of a notebook by their names; return it as it is now.

        `generation` and `lock` have methods of their own; slug, project and created stay.

        Raises:
            NotFound: there is none.
            InvalidInput: a field cannot be changed, or not to that.
            NotebookLocked: it is locked, and more than the engine's facts is to be changed.
        """
        rules.check_fields(changes, rules.CONFIGURATION | rules.FACTS, "notebook")
        if not changes:
            return self.notebook(slug)
        return await self._update(slug, rules.changing(changes))

    @property
    def presumed(self) -> Mapping[str, Mapping[str, Any]]:
        """The facts, by slug, that stand in memory and are not stored yet."""
        return self._presumed

    def presume(self, slug: str, /, **facts: Any) -> None:
        """Have facts stand in memory, whatever is read or stored, until they are stored themselves.

        For while the database cannot be written. Raises NotFound.
        """
        rules.check_fields(facts, rules.FACTS, "notebook")
        notebook = self.notebook(slug)
        self._presumed[slug] = facts
        self._keep(slug, notebook)

    async def next_generation(self, slug: str) -> int:
        """Count the notebook's generation up and return it; no two callers get the same.

        Raises:
            NotFound: there is none.
        """
        return await self._change(lambda: self._next_generation(slug), f"generation-{slug}")

    async def _next_generation(self, slug: str) -> int:
        async with self._database.writing() as connection:
            notebook = await NotebookRows(connection).next_generation(slug)
        return self._kept(slug, notebook).generation

    async def lock(self, slug: str, by: str, reason: str) -> Notebook:
        """Lock the notebook; who locked it may lock it again with another reason.

        Raises:
            NotFound: there is none.
            InvalidInput: no reason is given, or `by` names nobody.
            NotebookLocked: somebody else has locked it.
        """
        return await self._update(slug, rules.locking(by, reason, self._now))

    async def unlock(self, slug: str, by: str, administrator: bool = False) -> Notebook:
        """Unlock the notebook; nothing happens to one that is not locked.

        Raises:
            NotFound: there is none.
            Forbidden: `by` is neither its owner, nor who locked it, nor an administrator.
        """
        return await self._update(slug, rules.unlocking(by, administrator))

    async def share(self, slug: str, people: Collection[str]) -> Notebook:
        """Let some people use the notebook as its owner does.

        Raises:
            NotFound: there is none.
            InvalidInput: somebody's name cannot be used, or there are too many.
            NotebookLocked: it is locked.
        """
        return await self._update(slug, rules.sharing(people))

    async def unshare(self, slug: str, people: Collection[str]) -> Notebook:
        """Let some people use the notebook no more; it may be locked. Raises NotFound."""
        return await self._update(slug, rules.unsharing(people))

    async def remove_notebook(self, slug: str) -> None:
        """Forget a notebook. Raises NotFound, NotebookLocked."""
        await self._change(lambda: self._remove_notebook(slug), f"remove-{slug}")

    async def _remove_notebook(self, slug: str) -> None:
        async with self._database.writing() as connection:
            rows = NotebookRows(connection)
            notebook = await rows.get(slug, for_change=True)
            if notebook is not None:
                rules.check_unlocked(notebook)
                await rows.delete(slug)
        self._keep(slug, None)
        if notebook is None:
            raise NotFound("notebook", slug)

    async def _update(self, slug: str, rule: rules.Rule) -> Notebook:
        """Apply what `rule` says to the stored notebook."""

        async def change() -> Notebook:
            changes: Mapping[str, Any] = {}
            async with self._database.writing() as connection:
                rows = NotebookRows(connection)
                stored = await rows.get(slug, for_change=True)
                if stored is not None:
                    changes = rule(stored)
                    stored = await rows.change(slug, columns_of(changes))
            self._stored(slug, changes)
            return self._kept(slug, stored)

        return await self._change(change, f"update-{slug}")

    def _stored(self, slug: str, changes: Mapping[str, Any]) -> None:
        """Presume no more what is stored now."""
        presumed = self._presumed.pop(slug, {}).items()
        left = {name: it for name, it in presumed if name not in changes or changes[name] != it}
        if left:
            self._presumed[slug] = left

    def _kept(self, slug: str, notebook: Notebook | None) -> Notebook:
        self._keep(slug, notebook)
        return self.notebook(slug)

    def _keep(self, slug: str, notebook: Notebook | None) -> None:
        if notebook is None:
            self._presumed.pop(slug, None)
        elif slug in self._presumed:
            notebook = dataclasses.replace(notebook, **self._presumed[slug])
        if self._notebooks.get(slug) == notebook:
            return
        if notebook is None or slug not in self._notebooks:
            self._slugs = None
        if notebook is None:
            del self._notebooks[slug]
        else:
            self._notebooks[slug] = notebook
        for listener in self._listeners:
            listener(slug, notebook)
