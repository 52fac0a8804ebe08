"""The home page: a person's notebooks, those that they share and those that they teach.

What they can do there is a button each: open, start, stop, sign out. A start is done from here
without leaving the page; what else there is to a start is notebook.py's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from gateway.access import may_use
from gateway.activation.progress import Phase
from gateway.errors import AllPlacesTaken, StartFailed, TooManyRunning
from gateway.launch.session_table import Principal
from gateway.notebooks.model import Notebook, State
from gateway.web.context import (
    Pages,
    from_own_page,
    own_notebook,
    pages_of,
    principals_of,
    title_of,
    user_of,
)
from gateway.web.notebook import limit_page, unknown
from gateway.web.people import sign_in_of
from gateway.web.read import address
from gateway.web.render import page, say
from gateway.web.signin import see_other, sign_in_page

routes = web.RouteTableDef()

MOST = 50
"""Notebooks of a group that are shown; a teacher of a large course finds the others by name."""

_LONGEST_FIND = 100
_STOPPABLE = frozenset({Phase.QUEUED.value, State.STARTING.value, State.RUNNING.value})
_STARTABLE = frozenset({State.COLD.value, State.FAILED.value})
_MOVING = frozenset({Phase.QUEUED.value, State.STARTING.value, State.STOPPING.value})


@dataclass(frozen=True, slots=True)
class Item:
    """A notebook on the page.

    Attributes:
        title: what it is called.
        slug: its slug.
        owner: whose it is; "" for one's own.
        url: opens it.
        state: in the model's words, or `queued`.
    """

    title: str
    slug: str
    owner: str
    url: str
    state: str

    @property
    def startable(self) -> bool:
        """Whether there is a button that starts it."""
        return self.state in _STARTABLE

    @property
    def stoppable(self) -> bool:
        """Whether there is a button that stops it."""
        return self.state in _STOPPABLE


@dataclass(slots=True)
class Group:
    """Notebooks under one heading.

    Attributes:
        key: of the words.
        books: all of them that fit what is looked for.
        items: those that are shown.
    """

    key: str
    books: list[Notebook] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)


async def index(request: web.Request) -> web.Response:
    """List the notebooks of whoever is signed in."""
    people = principals_of(request)
    if not people and sign_in_of(request) is not None:
        return sign_in_page(request, 200, "sign-in", "login-required", "/")
    find = request.query.get("find", "")[:_LONGEST_FIND].strip()
    groups = _groups(request, people, find)
    for group in groups:
        shown = sorted(group.books, key=lambda book: (book.state is State.COLD, book.slug))[:MOST]
        group.items = [_item(request, book, group.key) for book in shown]
    states = {item.state for group in groups for item in group.items}
    return page(
        request,
        "index.html",
        groups=groups,
        names=list(dict.fromkeys(person.display_name or person.subject for person in people)),
        find=find,
        findable=bool(find) or any(len(group.books) > MOST for group in groups),
        moving=bool(states & _MOVING),
    )


def _groups(request: web.Request, people: Sequence[Principal], find: str) -> list[Group]:
    """Return the groups that have something in them."""
    own, shared = Group("index.own"), Group("index.shared")
    everything = any(person.administrator for person in people)
    taught = Group("index.administered" if everything else "index.taught")
    subjects = {person.subject for person in people}
    catalogue = pages_of(request).catalogue
    for book in catalogue.notebooks() if people else ():
        others = catalogue.others(book)
        if not any(may_use(person, book.owner, others) for person in people):
            continue
        if find and not _fits(request, book, find):
            continue
        if book.owner in subjects:
            own.books.append(book)
        else:
            (shared if subjects.intersection(book.shared_with) else taught).books.append(book)
    return [group for group in (own, shared, taught) if group.books]


def _fits(request: web.Request, book: Notebook, find: str) -> bool:
    texts: Iterable[str] = (book.slug, book.owner, title_of(request, book))
    return any(find.casefold() in text.casefold() for text in texts)


def _item(request: web.Request, book: Notebook, key: str) -> Item:
    pages = pages_of(request)
    waits = pages.activator.status(book.slug).phase is Phase.QUEUED
    return Item(
        title=title_of(request, book),
        slug=book.slug,
        owner="" if key == "index.own" else book.owner,
        url=_opens(pages, book, own=key == "index.own"),
        state=Phase.QUEUED.value if waits else book.state.value,
    )


def _opens(pages: Pages, book: Notebook, *, own: bool) -> str:
    """Return where a notebook is opened: under path routing somebody else's is read."""
    if own or pages.namespace.base_domain:
        return pages.namespace.url(book.slug) + "lab"
    return address(book.slug)


@routes.post("/gateway/home/start/{slug}")
async def start(request: web.Request) -> web.Response:
    """Start a notebook and come back: the button on the list."""
    slug = request.match_info["slug"]
    principal = user_of(request, own_notebook(request, slug))
    if principal is None:
        return unknown(request)
    if not from_own_page(request):
        return say(request, 403, "foreign", "error")
    activator = pages_of(request).activator
    if activator.status(slug).phase is Phase.FAILED:
        activator.forgive(slug)
    try:
        with contextlib.suppress(StartFailed):  # the list says so
            activator.begin(slug, by=principal.subject)
    except (TooManyRunning, AllPlacesTaken) as limit:
        return limit_page(request, limit)
    return see_other("/")
