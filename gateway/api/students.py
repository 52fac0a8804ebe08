"""Students: who has a notebook in a course; what there is of one, and its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from aiohttp import web

from gateway.api.records import Record
from gateway.api.services import Services, services_of
from gateway.errors import Conflict, NotFound
from gateway.launch.deeplinks import plain_subject
from gateway.notebooks.model import Notebook

_OF_PROJECT = "/gateway/api/projects/{name}/students"


def add_to(app: web.Application) -> None:
    """Register the handlers."""
    app.router.add_get("/gateway/api/students", _list_all)
    app.router.add_get(_OF_PROJECT, _list)
    app.router.add_get(f"{_OF_PROJECT}/{{person}}", _get)
    app.router.add_delete(f"{_OF_PROJECT}/{{person}}", _delete)


async def _list_all(request: web.Request) -> web.Response:
    services = services_of(request)
    return _listed(services, services.catalogue.notebooks())


async def _list(request: web.Request) -> web.Response:
    services = services_of(request)
    project = services.catalogue.project(request.match_info["name"])
    return _listed(services, services.catalogue.notebooks(project.name))


def _listed(services: Services, books: Sequence[Notebook]) -> web.Response:
    open_sessions = _sessions(services)
    ordered = sorted(books, key=lambda book: (book.project, book.owner, book.slug))
    return web.json_response({"students": [_record(book, open_sessions) for book in ordered]})


async def _get(request: web.Request) -> web.Response:
    services = services_of(request)
    person, books = _meant(request, services)
    open_sessions = _sessions(services)
    return web.json_response(
        {
            "person": person,
            "project": request.match_info["name"],
            "sessions": open_sessions[person],
            "notebooks": [_record(book, open_sessions) for book in books],
        }
    )


async def _delete(request: web.Request) -> web.Response:
    """Delete what a course has of a person: sessions, servers, files, and the id of plain links."""
    services = services_of(request)
    person, books = _meant(request, services)
    await remove_person(services, request.match_info["name"], person, books)
    return web.Response(status=204)


async def remove_person(
    services: Services, course: str, person: str, books: Sequence[Notebook]
) -> None:
    """Remove what a course has of a person: sessions, servers, files, and the id of plain links.

    Args:
        services: that know it.
        course: its name.
        person: by their subject.
        books: all that they have in the course.

    Raises:
        NotebookLocked: one of `books` is locked; nothing was removed.
    """
    for book in books:
        services.catalogue.check_unlocked(book.slug)
    sessions, student = services.ways.sessions, person.partition(":")[2]
    # First of all nobody comes in any more: else an open page would make the notebook anew.
    with sessions.kept_out(person):
        await sessions.revoke_all(person)
        if person == plain_subject(course, student):  # else it is somebody else's of the same name
            await services.ways.release(course, student)
        for book in books:
            services.activator.withdraw(book.slug)
            operation = services.lifecycle.begin_delete(book.slug, purge_space=True)
            await services.operations.wait(operation)
            await services.ways.shares.forget(book.slug)
        await sessions.revoke_all(person)  # begun at another gateway meanwhile


def _meant(request: web.Request, services: Services) -> tuple[str, Sequence[Notebook]]:
    """Return a person of the course and their notebooks there.

    They are named by their subject, or by what links call them, where that is one person.

    Raises:
        NotFound: there is no such course or person.
        Conflict: links call several people so.
    """
    project, named = services.catalogue.project(request.match_info["name"]), _named(request)
    books = services.catalogue.notebooks(project.name)
    people = {book.owner for book in books}
    fitting = {named} & people or {one for one in people if one.partition(":")[2] == named}
    if not fitting:
        raise NotFound(f"student of course {project.name!r}", named)
    if len(fitting) > 1:
        raise Conflict(f"{named!r} may be {' or '.join(sorted(fitting))}; write one of these")
    person = fitting.pop()
    return person, [book for book in books if book.owner == person]


def _named(request: web.Request) -> str:
    return request.match_info["person"]


def _record(book: Notebook, open_sessions: Mapping[str, int]) -> Record:
    return {
        "person": book.owner,
        "project": book.project,
        "slug": book.slug,
        "state": str(book.state),
        "last_active": None if book.last_active is None else book.last_active.isoformat(),
        "created": book.created.isoformat(),
        "locked_by": None if book.lock is None else book.lock.locked_by,
        "sessions": open_sessions.get(book.owner, 0),
    }


def _sessions(services: Services) -> Counter[str]:
    """Return how many sessions each person has."""
    found = {one.session: one.subject for *_, one in services.ways.sessions.table.tokens()}
    return Counter(found.values())
