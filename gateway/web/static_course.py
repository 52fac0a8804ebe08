"""A course as a page to read: the list of its notebooks, each with the page that shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from gateway.launch.deeplinks import read_link
from gateway.launch.targets import BadLink, Target, read_target
from gateway.notebooks.model import Project
from gateway.spaces import Source
from gateway.spaces.exercises import MOST_LISTED
from gateway.web.door import DOOR
from gateway.web.render import page


async def static_course(request: web.Request, project: Project) -> web.Response:
    """Return the page of a course; no server is started for it.

    Raises:
        SourceUnavailable, SpaceError: see Spaces.ensure.
    """
    door, source = request.config_dict[DOOR], Source.parse(project.source)
    async with door.reading:
        files = [] if source is None else await door.ways.exercises.notebooks(source)
        return await asyncio.to_thread(_page, request, project, files)


def _page(request: web.Request, project: Project, files: Sequence[str]) -> web.Response:
    places = ((file, _place(project.name, file)) for file in files)
    shown = {file: place for file, place in places if place}
    full = len(files) >= MOST_LISTED
    return page(request, "course.html", title=project.title, files=shown, full=full)


def _place(course: str, file: str) -> str:
    """Return where a notebook is read; "" where no link means it."""
    try:
        place = str(Target(("auditor", "notebook", course, *file.split("/"))))
        link = read_link(read_target(place))
    except (BadLink, UnicodeEncodeError):
        return ""
    return place if link is not None and link.candidates[:1] == [file] else ""
