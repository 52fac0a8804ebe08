"""Where the links of an LMS arrive: who comes, what they ask for, and where they are sent.

A signed link makes a session and leads to the very URL without its signature; a plain one makes a
session where its course allows that. What then opens, opens for a session alone. What does
something (puts a file back, stops a server, shares) is a button: following a link changes nothing.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from gateway.errors import NotFound
from gateway.launch import deeplinks as links
from gateway.launch.deeplinks import DeepLink, Kind
from gateway.launch.session_table import Principal
from gateway.launch.signatures import is_signed
from gateway.launch.signed import LinkRefused, Wrong, unsigned
from gateway.launch.targets import BadLink, Target
from gateway.notebooks.model import Links, Notebook, Project
from gateway.notebooks.names import notebook_slug
from gateway.spaces import Source
from gateway.spaces.git import SourceUnavailable
from gateway.web import newtab, shares
from gateway.web import notebook as notebook_pages
from gateway.web import plainlinks as plainly
from gateway.web.context import (
    at_own_origin,
    from_own_page,
    pages_of,
    principals_of,
    wants_html,
)
from gateway.web.door import DOOR, known_visitor, sign_in
from gateway.web.people import is_framed
from gateway.web.plainlinks import unasked
from gateway.web.question import question
from gateway.web.render import say
from gateway.web.signin import see_other
from gateway.web.static_course import static_course
from gateway.web.static_notebook import static_notebook

logger = logging.getLogger(__name__)

_REFUSED = {Wrong.FORGED: 403, Wrong.EXPIRED: 410, Wrong.USED: 410}


async def arrive(request: web.Request) -> web.Response:
    """Answer a link."""
    try:
        target = links.target_of(request.raw_path)
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
    # With it, the address without a signature opens from now on.
    await pages_of(request).catalogue.open_for(project.name, visitor.subject)
    name = visitor.display_name or link.student
    arrival = await sign_in(request, project.name, visitor.subject, name)
    onward = await newtab.onward(request, unsigned(target), project.name, arrival.principal)
    return see_other(onward, *arrival.cookies)


async def _unsigned(request: web.Request, target: Target, link: DeepLink) -> web.Response:
    project = _project(request, link.course)
    if project is None:
        return _unknown(request)
    if link.kind is Kind.STATIC:
        return await _static(request, project, link, allowed=project.links is Links.PLAIN)
    principal = known_visitor(request, project.name, link.student)
    if principal is not None and not _takes_part(request, project, principal):
        principal = None
    if request.method == "POST":
        return await _posted(request, project, target, link, principal)
    if principal is not None:
        await newtab.void(request, target)
        return await _show(request, project, target, link, principal)
    return await _stranger(request, project, target, link)


async def _stranger(
    request: web.Request, project: Project, target: Target, link: DeepLink
) -> web.Response:
    """Answer somebody without a session, or whose browser keeps none here."""
    if link.kind is Kind.SHARE and not wants_html(request):
        return shares.refuse(request, 401, "link.needed", "login-required")
    if newtab.has_ticket(target):
        return await newtab.offer(request, target, str(unasked(target)))
    if project.links is Links.PLAIN:
        return await plainly.admit(request, project, target, link)
    if is_framed(request) and wants_html(request):
        return question(request, 401, "link.needed", tab=str(unasked(target)))
    return say(request, 401, "link.needed", "login-required")


async def _show(
    request: web.Request, project: Project, target: Target, link: DeepLink, principal: Principal
) -> web.Response:
    """Open what the link asks for, or the page with the button that does it."""
    here = str(unasked(target))
    if link.kind is Kind.SHARE:
        return await shares.offer(request, project, target, link, principal)
    if link.kind is Kind.STOP:
        return question(request, 200, "link.stop", action=here)
    if link.opens and link.candidates and any(target.values(links.FORCE_COPY)):
        return question(request, 200, "link.reset", action=here, file=link.candidates[0])
    return await _opened(request, project, target, link, principal)


async def _opened(
    request: web.Request, project: Project, target: Target, link: DeepLink, principal: Principal
) -> web.Response:
    """Send the browser to the notebook, which is brought into the person's space first."""
    book = await _book(request, project, principal)
    ways = request.config_dict[DOOR].ways
    if link.kind is Kind.CLONE:
        try:
            await ways.spaces.make_clone(book.slug, Source.parse(project.source))
        except SourceUnavailable as error:  # it is one the next time; what is there opens
            logger.warning("no clone slug=%s reason=%s", book.slug, error)
    file = None
    if link.opens and link.parts:
        file = await ways.exercises.bring(book.slug, Source.parse(project.source), link.candidates)
        if file is None:
            return _missing(request)
    place = links.page_of(link, file, project.links_page)
    query = links.query_of(unasked(target))
    return see_other(f"{pages_of(request).namespace.url(book.slug)}{place}{query}")


async def _book(request: web.Request, project: Project, principal: Principal) -> Notebook:
    book = await pages_of(request).catalogue.open_for(project.name, principal.subject)
    await request.config_dict[DOOR].ways.spaces.ensure(book.slug, Source.parse(project.source))
    return book


async def _posted(
    request: web.Request,
    project: Project,
    target: Target,
    link: DeepLink,
    principal: Principal | None,
) -> web.Response:
    """Do what a button asks for, if somebody of the course has pressed it on our own page."""
    if plainly.is_instead(target):
        return await plainly.instead(request, project, target, link)
    refuse = shares.refuse if link.kind is Kind.SHARE else say
    if principal is None:
        return refuse(request, 401, "link.needed", "login-required")
    if not from_own_page(request):
        return refuse(request, 403, "foreign", "error")
    if link.kind is Kind.SHARE:
        return await shares.act(request, project, target, link, principal)
    return await _act(request, project, target, link, principal)


def _missing(request: web.Request) -> web.Response:
    return say(request, 404, "link.no-file", "not-found")


async def _act(
    request: web.Request, project: Project, target: Target, link: DeepLink, principal: Principal
) -> web.Response:
    """Do what a button on our own page asks for."""
    if link.kind is Kind.STOP:
        book = await _book(request, project, principal)
        await pages_of(request).stop(book.slug, principal.subject)
        return question(request, 200, "link.stopped")
    if not (link.opens and link.candidates):
        return _unknown(request)
    book = await _book(request, project, principal)
    exercises = request.config_dict[DOOR].ways.exercises
    done = await exercises.put_back(book.slug, Source.parse(project.source), link.candidates)
    if done is None:
        return _missing(request)
    onward = str(unasked(target).without(frozenset((links.FORCE_COPY,))))
    key = "link.put" if done.kept is None else "link.kept"
    return question(request, 200, key, onward=onward, file=done.kept or done.file)


async def _static(
    request: web.Request, project: Project, link: DeepLink, *, allowed: bool
) -> web.Response:
    """Show the course's notebook, or the list of them; no server is started for it."""
    door = request.config_dict[DOOR]
    if not allowed and not _of_course(request, project):
        return say(request, 401, "link.needed", "login-required")
    if not link.parts:
        door.count("static", "opened")
        return await static_course(request, project)
    source = Source.parse(project.source)
    found = None if source is None else await door.ways.exercises.read(source, link.candidates)
    if found is None:
        return _missing(request)
    door.count("static", "opened")
    async with door.reading:
        return await asyncio.to_thread(static_notebook, request, *found)


def _takes_part(request: web.Request, project: Project, principal: Principal) -> bool:
    """Whether somebody was let into the course before; a session of another one says nothing."""
    if project.links is Links.PLAIN or principal.subject in project.staff:
        return True
    slug = notebook_slug(project.name, principal.subject)
    return pages_of(request).catalogue.find(slug) is not None


def _of_course(request: web.Request, project: Project) -> bool:
    """Whether somebody of this browser has a notebook of the course, or teaches it."""
    people = {one.subject for one in principals_of(request)}
    owners = {book.owner for book in pages_of(request).catalogue.notebooks(project.name)}
    return bool(people & (owners | set(project.staff)))
