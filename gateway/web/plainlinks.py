"""Plain links: whoever comes with one is whom it names, unless the id is another browser's.

Nothing proves it, so an id is the first browser's that came with it, and only a click in that
browser gives it up.
"""

from __future__ import annotations

import logging
import math

from aiohttp import web

from gateway.launch import deeplinks as links
from gateway.launch.cookies import state_cookie, state_from
from gateway.launch.deeplinks import DeepLink
from gateway.launch.session_table import Principal
from gateway.launch.targets import Target
from gateway.notebooks.model import Links, Project
from gateway.notebooks.names import notebook_slug
from gateway.web import newtab
from gateway.web.context import cookie_of, from_own_page, is_https, pages_of
from gateway.web.door import DOOR, Arrival, known_visitor, last_visitor, sign_in
from gateway.web.notebook import unknown
from gateway.web.passersby import has_room, let_in, no_room
from gateway.web.question import question
from gateway.web.render import say
from gateway.web.signin import see_other

logger = logging.getLogger(__name__)

_ASKED = "nbgate-cookie"
_INSTEAD = "nbgate-instead"
_MOST_TIMES = 4
_TIMES = ("", "1", "2", "3")


def _asked(target: Target, times: int) -> str:
    """Return a link that says how often a cookie was set: then it is known when to give up."""
    return str(Target(target.segments, (*unasked(target).parameters, (_ASKED, str(times)))))


def _times_asked(target: Target) -> int:
    given = "".join(target.values(_ASKED)[:1])
    return _MOST_TIMES if given not in _TIMES else int(given or 0)


def unasked(target: Target) -> Target:
    """Return a link without what we put into it ourselves."""
    return target.without(frozenset((_ASKED, _INSTEAD, newtab.TICKET)))


async def admit(
    request: web.Request, project: Project, target: Target, link: DeepLink
) -> web.Response:
    """Let somebody in who names themselves.

    A browser that keeps no cookie must not take an id: nobody could use it then. So it is given
    one first, and sent back. Several frames of one page may come with one id at once: one takes
    it, and the others are sent back until they have its cookie too.
    """
    if not links.is_plain_id(link.student):
        return unknown(request)
    last = last_visitor(request, project.name)
    if last is not None and links.has_plain_id(last.subject) and await _is_free(request, link):
        return _ask_instead(request, target, last)
    return await _admit_new(request, project, target, link)


async def _admit_new(
    request: web.Request, project: Project, target: Target, link: DeepLink
) -> web.Response:
    door, https, times = request.config_dict[DOOR], is_https(request), _times_asked(target)
    keeps_cookies = state_from(cookie_of(request), https) is not None
    if not keeps_cookies or (link.student == links.ANYBODY and times == _MOST_TIMES):
        if times:
            return question(request, 403, "link.cookies", tab=str(unasked(target)))
        return see_other(_asked(target, 1), state_cookie("link", https))
    if (refused := await _refused(request, project.name, link)) is not None:
        return refused
    arrival = await _admitted(request, project.name, link.student)
    if arrival is not None:
        door.count("plain", "opened")
        return see_other(_asked(target, times + 1), *arrival.cookies)
    if times < _MOST_TIMES:
        return see_other(_asked(target, times + 1))
    door.count("plain", "taken")
    return say(request, 409, "link.taken", "link-taken")


def is_instead(target: Target) -> bool:
    """Whether it is what the button posts to; see `instead`."""
    return bool(target.values(_INSTEAD))


async def _is_free(request: web.Request, link: DeepLink) -> bool:
    if link.student == links.ANYBODY:
        return True
    return await request.config_dict[DOOR].ways.bindings.holder(link.course, link.student) is None


def _ask_instead(request: web.Request, target: Target, last: Principal) -> web.Response:
    """Ask whether somebody takes another's place in this browser.

    That gives the other's id away, so following a link must not do it.
    """
    asked = Target(target.segments, (*unasked(target).parameters, (_INSTEAD, "1")))
    who = last.display_name or last.subject
    return question(request, 200, "link.instead", action=str(asked), who=who)


async def instead(
    request: web.Request, project: Project, target: Target, link: DeepLink
) -> web.Response:
    """Sign whoever a plain link names in, in the place of who is; the button does it."""
    onward, last = str(unasked(target)), last_visitor(request, project.name)
    if project.links is not Links.PLAIN or last is None or not links.is_plain_id(link.student):
        return say(request, 401, "link.needed", "login-required")
    if not from_own_page(request):
        return say(request, 403, "foreign", "error")
    if known_visitor(request, project.name, link.student) is not None:
        return see_other(onward)
    if (refused := await _refused(request, project.name, link)) is not None:
        return refused
    door = request.config_dict[DOOR]
    arrival = await _admitted(request, project.name, link.student, gives_up=True)
    if arrival is None:
        door.count("plain", "taken")
        return say(request, 409, "link.taken", "link-taken")
    door.count("plain", "opened")
    return see_other(onward, *arrival.cookies)


async def _refused(request: web.Request, course: str, link: DeepLink) -> web.Response | None:
    """Return why nobody new comes in, or None; ids that the course knows are not new."""
    if link.student == links.ANYBODY:
        return None if has_room(request, course) else no_room(request)
    slug = notebook_slug(course, links.plain_subject(course, link.student))
    if pages_of(request).catalogue.find(slug) is not None or not await _is_free(request, link):
        return None
    door = request.config_dict[DOOR]
    seconds = door.newcomers.wait(course, link.student)
    if not seconds:
        return None
    door.count("plain", "full")
    answer = say(request, 429, "link.newcomers", "too-many")
    answer.headers["Retry-After"] = str(math.ceil(seconds))
    return answer


async def _admitted(
    request: web.Request, course: str, student: str, *, gives_up: bool = False
) -> Arrival | None:
    """Return the arrival of who came with a plain link, or None: the id is another session's.

    Or the last place is somebody else's by now, of those for people without a name.

    `gives_up` is sign_in's.
    """
    bindings = request.config_dict[DOOR].ways.bindings
    if student == links.ANYBODY:
        return await let_in(request, course, gives_up=gives_up)
    if await bindings.holder(course, student) is not None:
        return None
    subject = links.plain_subject(course, student)
    arrival = await sign_in(request, course, subject, student, gives_up=gives_up)
    if await bindings.claim(course, student, arrival.principal.session):
        logger.info("an id of a plain link is taken course=%s", course)
        return arrival
    await pages_of(request).sessions.revoke(arrival.principal.session)
    return None
