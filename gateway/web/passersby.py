"""People without a name, where a course lets anybody try it: a space for their session alone.

There are so many of them in a course at once: nothing else bounds who has no name.
"""

from __future__ import annotations

from aiohttp import web

from gateway.errors import NotFound
from gateway.launch import deeplinks as links
from gateway.launch.cookies import state_cookie, state_from
from gateway.launch.deeplinks import DeepLink, Kind
from gateway.launch.targets import BadLink, Target, read_target
from gateway.notebooks.model import Project
from gateway.spaces import Source
from gateway.web.context import at_own_origin, cookie_of, is_https, pages_of
from gateway.web.door import DOOR, Arrival, known_visitor, sign_in
from gateway.web.notebook import unknown
from gateway.web.question import question
from gateway.web.render import say
from gateway.web.signin import see_other

routes = web.RouteTableDef()

_ASKED = "nbgate-cookie"
_AGAIN_AFTER = 300


def has_room(request: web.Request, course: str) -> bool:
    """Whether one more person without a name may come into a course."""
    here = pages_of(request).sessions.nameless.count(course)
    return here < request.config_dict[DOOR].most_passers_by


async def let_in(request: web.Request, course: str, *, gives_up: bool = False) -> Arrival | None:
    """Let one more without a name into a course, or return None: there is no room any more.

    `gives_up` is sign_in's.
    """
    async with request.config_dict[DOOR].entering:
        if not has_room(request, course):
            return None
        passer_by = links.passer_by(course)
        return await sign_in(request, course, passer_by, links.ANYBODY, gives_up=gives_up)


def no_room(request: web.Request) -> web.Response:
    """Say that as many without a name are there as may be."""
    request.config_dict[DOOR].count("anonymous", "full")
    answer = say(request, 429, "link.full", "too-many")
    answer.headers["Retry-After"] = str(_AGAIN_AFTER)
    return answer


@routes.get("/gateway/try/{rest:.+}", allow_head=False)
async def try_out(request: web.Request) -> web.Response:
    """Open a course for whoever comes, in a space that goes with their session."""
    try:
        target = read_target(request.raw_path)
    except BadLink:
        return unknown(request)
    if not at_own_origin(request):
        return see_other(f"{pages_of(request).origin}{target}")
    course, *parts = target.segments[2:]
    project = _open_to_all(request, course)
    if project is None:
        return unknown(request)
    link = DeepLink(Kind.OPEN, course, links.ANYBODY, tuple(part for part in parts if part))
    principal = known_visitor(request, course, links.ANYBODY)
    cookies: tuple[str, ...] = ()
    if principal is None:
        if (refused := _refused(request, target, course)) is not None:
            return refused
        arrival = await let_in(request, course)
        if arrival is None:
            return no_room(request)
        principal, cookies = arrival.principal, arrival.cookies
        request.config_dict[DOOR].count("anonymous", "opened")
    return see_other(await _place(request, project, link, principal.subject), *cookies)


def _open_to_all(request: web.Request, course: str) -> Project | None:
    try:
        project = pages_of(request).catalogue.project(course)
    except NotFound:
        return None
    return project if project.anonymous else None


def _refused(request: web.Request, target: Target, course: str) -> web.Response | None:
    """Return why nobody new comes in, or None; who keeps no cookie takes nobody's place."""
    if state_from(cookie_of(request), is_https(request)) is None:
        plain = Target(target.segments, ())
        if target.values(_ASKED):
            return question(request, 403, "link.cookies", tab=str(plain))
        again = Target(target.segments, ((_ASKED, "1"),))
        return see_other(str(again), state_cookie("link", is_https(request)))
    return None if has_room(request, course) else no_room(request)


async def _place(request: web.Request, project: Project, link: DeepLink, subject: str) -> str:
    ways, source = request.config_dict[DOOR].ways, Source.parse(project.source)
    book = await pages_of(request).catalogue.open_for(project.name, subject)
    await ways.spaces.ensure(book.slug, source)
    file = None
    if link.candidates:
        file = await ways.exercises.bring(book.slug, source, link.candidates)
    base = pages_of(request).namespace.url(book.slug)
    return f"{base}{links.page_of(link, file, project.links_page)}"
