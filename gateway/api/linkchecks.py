"""Checks of a course's links: somebody of its own who opens each of them, and is removed again.

Opening is the caller's, as a browser at the public address; what is here names the person, makes
the links, and takes everything of the person away. A check that was ended before it could do that
is cleared up by the course's next one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from aiohttp import web

from gateway.api.links import course_links, link_fault, shown
from gateway.api.services import Services, services_of
from gateway.api.students import remove_person
from gateway.errors import NotFound
from gateway.launch.checkers import Checkers
from gateway.launch.deeplinks import DeepLink, Kind, page_of
from gateway.launch.targets import Target
from gateway.notebooks.model import Links, Project
from gateway.notebooks.projects import utc_now

_CHECKS = "/gateway/api/projects/{name}/link-checks"
_LIFETIME = 7200.0
_TIMES = 3


def add_to(app: web.Application) -> None:
    """Register the handlers."""
    app.router.add_post(_CHECKS, _begin)
    app.router.add_delete(f"{_CHECKS}/{{person}}", _end)


async def _begin(request: web.Request) -> web.Response:
    """Name somebody, and return a link of theirs to each notebook of the course."""
    services = services_of(request)
    project, files = await course_links(services, request.match_info["name"])
    checkers = Checkers(services.ways.signed.keys)
    over = utc_now() - timedelta(seconds=_LIFETIME)
    old = {
        book.owner
        for book in services.catalogue.notebooks(project.name)
        if book.created < over and checkers.made(book.owner)
    }
    await _remove(services, project.name, old.__contains__)
    person = checkers.new()
    links = [await _trying(services, project, file, person) for file in files]
    return web.json_response({"person": person, "links": links}, status=201)


async def _trying(
    services: Services, project: Project, file: str, person: str
) -> dict[str, str | None]:
    fault = link_fault(file)
    if fault:
        return {"file": shown(file), "fault": fault, "url": None, "place": None}
    signed, parts = services.ways.signed, tuple(file.split("/"))
    target = Target(("ipythonExercice", project.name, *parts, person))
    url = f"{signed.origin}{target}"
    if project.links is Links.SIGNED:
        url, _ = await signed.sign(target, project.name, _LIFETIME)
    link = DeepLink(Kind.OPEN, project.name, person, parts)
    place = page_of(link, file, project.links_page)
    return {"file": file, "fault": "", "url": url, "place": place}


async def _end(request: web.Request) -> web.Response:
    """Remove a person of a check, with session, server and files; it does no harm twice."""
    services, person = services_of(request), request.match_info["person"]
    project = services.catalogue.project(request.match_info["name"])
    if not Checkers(services.ways.signed.keys).made(person):
        raise NotFound(f"check of course {project.name!r}", person)
    # A request that was under way may bring something back once more.
    for _ in range(_TIMES):
        if not await _remove(services, project.name, _called(person)):
            break
    return web.Response(status=204)


def _called(person: str) -> Callable[[str], bool]:
    return lambda subject: person in (subject, subject.partition(":")[2])


async def _remove(services: Services, course: str, concerned: Callable[[str], bool]) -> bool:
    """Remove the people of a course whom it concerns; return whether there were any."""
    books = [book for book in services.catalogue.notebooks(course) if concerned(book.owner)]
    tokens = services.ways.sessions.table.tokens()
    people = {book.owner for book in books} | {
        one.subject for *_, one in tokens if concerned(one.subject)
    }
    for person in people:
        of_person = [book for book in books if book.owner == person]
        await remove_person(services, course, person, of_person)
    return bool(people)
