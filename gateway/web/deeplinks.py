"""Where the links of an LMS arrive: who comes, what they ask for, and where they are sent.

A signed link makes a session and leads to the very URL without its signature; a plain one makes a
session where its course allows that. What then opens, opens for a session alone. What changes
something (putting a file back, stopping a server) is a button: following a link changes nothing.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from aiohttp import web

from gateway.errors import NotFound
from gateway.launch import deeplinks as links
from gateway.launch.cookies import state_cookie, state_from
from gateway.launch.deeplinks import DeepLink, Kind
from gateway.launch.session_table import Principal
from gateway.launch.signatures import is_signed
from gateway.launch.signed import LinkRefused, Wrong, unsigned
from gateway.launch.targets import BadLink, Target, read_target
from gateway.notebooks.model import Links, Notebook, Project
from gateway.spaces import Source
from gateway.web import notebook as notebook_pages
from gateway.web.context import (
    at_own_origin,
    cookie_of,
    from_own_page,
    is_https,
    pages_of,
    principals_of,
)
from gateway.web.door import DOOR, Arrival, Door, known_visitor, sign_in
from gateway.web.render import page, say, words_of
from gateway.web.signin import see_other
from gateway.web.static_notebook import static_notebook

logger = logging.getLogger(__name__)

_ASKED = "nbgate-cookie"
_MOST_TIMES = 4
_TIMES = ("", "1", "2", "3")
_REFUSED = {Wrong.FORGED: 403, Wrong.EXPIRED: 410, Wrong.USED: 410}


async def arrive(request: web.Request) -> web.Response:
    """Answer a link."""
    try:
        target = read_target(request.raw_path)
    except BadLink:
        return _unknown(request)
    if not at_own_origin(request):
        return see_other(f"{pages_of(request).origin}{target}")
    link = links.read_link(target)
    if request.method not in ("GET", "POST"):
        raise web.HTTPMethodNotAllowed(request.method, ("GET", "POST"))
    if link is None:
        return _unknown(request)
    return await (_signed if is_signed(target) else _unsigned)(request, target, link)


def _unknown(request: web.Request) -> web.Response:
    return notebook_pages.unknown(request)


def _project(request: web.Request, course: str) -> Project | None:
    """Return the course if links lead into it at all."""
    try:
        project = pages_of(request).catalogue.project(course)
    except NotFound:
        return None
    return None if project.links is Links.OFF else project


async def _signed(request: web.Request, target: Target, link: DeepLink) -> web.Response:
    door = request.config_dict[DOOR]
    if request.method != "GET":
        return _unknown(request)
    person = link.student or links.ANYBODY
    try:
        visitor = await door.ways.signed.visitor(target, link.course, person)
    except LinkRefused as refused:
        door.count("signed", refused.why.value)
        why = refused.why.value
        return say(request, _REFUSED[refused.why], f"link.{why}", f"link-{why}")
    project = _project(request, link.course)
    if project is None:
        door.count("signed", "off")
        return say(request, 403, "link.off", "link-off")
    door.count("signed", "opened")
    if link.kind is Kind.STATIC:
        return await _static(request, project, link, allowed=True)
    name = visitor.display_name or link.student
    arrival = await sign_in(request, project.name, visitor.subject, name)
    return see_other(str(unsigned(target)), *arrival.cookies)


async def _unsigned(request: web.Request, target: Target, link: DeepLink) -> web.Response:
    project = _project(request, link.course)
    if project is None:
        return _unknown(request)
    if link.kind is Kind.STATIC:
        return await _static(request, project, link, allowed=project.links is Links.PLAIN)
    principal = known_visitor(request, project.name, link.student)
    if request.method == "POST":
        return await _act(request, project, target, link, principal)
    if principal is not None:
        return await _show(request, project, target, link, principal)
    if project.links is Links.PLAIN:
        return await _plain(request, project, target, link)
    return say(request, 401, "link.needed", "login-required")


def _asked(target: Target, times: int) -> str:
    """Return a link that says how often a cookie was set: then it is known when to give up."""
    return str(Target(target.segments, (*_unasked(target).parameters, (_ASKED, str(times)))))


def _times_asked(target: Target) -> int:
    given = "".join(target.values(_ASKED)[:1])
    return _MOST_TIMES if given not in _TIMES else int(given or 0)


def _unasked(target: Target) -> Target:
    return target.without(frozenset((_ASKED,)))


async def _plain(
    request: web.Request, project: Project, target: Target, link: DeepLink
) -> web.Response:
    """Let somebody in who names themselves.

    A browser that keeps no cookie must not take an id: nobody could use it then. So it is given
    one first, and sent back. Several frames of one page may come with one id at once: one takes
    it, and the others are sent back until they have its cookie too.
    """
    door, https, times = request.config_dict[DOOR], is_https(request), _times_asked(target)
    if not links.is_plain_id(link.student):
        return _unknown(request)
    keeps_cookies = state_from(cookie_of(request), https) is not None
    if not keeps_cookies or (link.student == links.ANYBODY and times == _MOST_TIMES):
        if times:
            return _question(request, 403, "link.cookies", tab=str(_unasked(target)))
        return see_other(_asked(target, 1), state_cookie("link", https))
    arrival = await _admitted(request, door, project.name, link.student)
    if arrival is not None:
        door.count("plain", "opened")
        return see_other(_asked(target, times + 1), *arrival.cookies)
    if times < _MOST_TIMES:
        return see_other(_asked(target, times + 1))
    door.count("plain", "taken")
    return say(request, 409, "link.taken", "link-taken")


async def _admitted(request: web.Request, door: Door, course: str, student: str) -> Arrival | None:
    """Return the arrival of who came with a plain link, or None: the id is another session's."""
    if student == links.ANYBODY:
        return await sign_in(request, course, links.passer_by(course), student)
    if await door.ways.bindings.holder(course, student) is not None:
        return None
    arrival = await sign_in(request, course, links.plain_subject(course, student), student)
    if await door.ways.bindings.claim(course, student, arrival.principal.session):
        logger.info("an id of a plain link is taken course=%s", course)
        return arrival
    await pages_of(request).sessions.revoke(arrival.principal.session)
    return None


async def _show(
    request: web.Request, project: Project, target: Target, link: DeepLink, principal: Principal
) -> web.Response:
    """Open what the link asks for, or the page with the button that does it."""
    here = str(_unasked(target))
    if link.kind is Kind.SHARE:
        return web.json_response({"error": words_of(request)("link.share.detail")}, status=501)
    if link.kind is Kind.STOP:
        return _question(request, 200, "link.stop", action=here)
    if link.kind is Kind.OPEN and link.candidates and any(target.values(links.FORCE_COPY)):
        return _question(request, 200, "link.reset", action=here, file=link.candidates[0])
    return await _opened(request, project, target, link, principal)


async def _opened(
    request: web.Request, project: Project, target: Target, link: DeepLink, principal: Principal
) -> web.Response:
    """Send the browser to the notebook, which is brought into the person's space first."""
    book = await _book(request, project, principal)
    file = None
    if link.kind is Kind.OPEN and link.parts:
        exercises = request.config_dict[DOOR].ways.exercises
        file = await exercises.bring(book.slug, Source.parse(project.source), link.candidates)
        if file is None:
            return _missing(request)
    place = links.page_of(link, file, project.links_page)
    query = links.query_of(_unasked(target))
    return see_other(f"{pages_of(request).namespace.url(book.slug)}{place}{query}")


async def _book(request: web.Request, project: Project, principal: Principal) -> Notebook:
    book = await pages_of(request).catalogue.open_for(project.name, principal.subject)
    await request.config_dict[DOOR].ways.spaces.ensure(book.slug, Source.parse(project.source))
    return book


def _missing(request: web.Request) -> web.Response:
    return say(request, 404, "link.no-file", "not-found")


async def _act(
    request: web.Request,
    project: Project,
    target: Target,
    link: DeepLink,
    principal: Principal | None,
) -> web.Response:
    """Do what a button on our own page asks for."""
    if principal is None:
        return say(request, 401, "link.needed", "login-required")
    if not from_own_page(request):
        return say(request, 403, "foreign", "error")
    if link.kind is Kind.STOP:
        book = await _book(request, project, principal)
        await pages_of(request).stop(book.slug, principal.subject)
        return _question(request, 200, "link.stopped")
    if link.kind is not Kind.OPEN or not link.candidates:
        return _unknown(request)
    book = await _book(request, project, principal)
    exercises = request.config_dict[DOOR].ways.exercises
    done = await exercises.put_back(book.slug, Source.parse(project.source), link.candidates)
    if done is None:
        return _missing(request)
    onward = str(_unasked(target).without(frozenset((links.FORCE_COPY,))))
    key = "link.put" if done.kept is None else "link.kept"
    return _question(request, 200, key, onward=onward, file=done.kept or done.file)


def _question(
    request: web.Request,
    status: int,
    key: str,
    *,
    action: str = "",
    onward: str = "",
    tab: str = "",
    file: str = "",
) -> web.Response:
    """Return a page of links: a text, and one thing to do.

    Args:
        request: of the page.
        status: HTTP status code.
        key: of its words.
        action: what its button posts to; "" for no button.
        onward: what its link leads to; "" for no link.
        tab: likewise, in a tab of its own.
        file: that the text names.
    """
    for place in (action, onward, tab):
        assert not urlsplit(place).netloc
    values = {"key": key, "action": action, "onward": onward, "tab": tab, "file": file}
    return page(request, "link.html", status=status, **values)


async def _static(
    request: web.Request, project: Project, link: DeepLink, *, allowed: bool
) -> web.Response:
    """Show the course's notebook; no server is started for it."""
    door = request.config_dict[DOOR]
    if not allowed and not _of_course(request, project):
        return say(request, 401, "link.needed", "login-required")
    source = Source.parse(project.source)
    found = None if source is None else await door.ways.exercises.read(source, link.candidates)
    if found is None:
        return _missing(request)
    door.count("static", "opened")
    return static_notebook(request, *found)


def _of_course(request: web.Request, project: Project) -> bool:
    """Whether somebody of this browser has a notebook of the course, or teaches it."""
    people = {one.subject for one in principals_of(request)}
    owners = {book.owner for book in pages_of(request).catalogue.notebooks(project.name)}
    return bool(people & (owners | set(project.staff)))
