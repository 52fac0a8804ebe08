"""The ways in by links, put together; and the end of the spaces that were for a moment."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from gateway.activation.lifecycle import Lifecycle
from gateway.app.chores import each
from gateway.app.control import Control
from gateway.errors import GatewayError
from gateway.launch.bindings import Bindings
from gateway.launch.deeplinks import is_passer_by
from gateway.launch.linkkeys import LinkKeys
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.launch.shares import FOLDER, Shares
from gateway.launch.signed import SignedLinks
from gateway.launch.ways import Ways
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.projects import utc_now
from gateway.settings import Settings
from gateway.spaces import Exercises, Reading
from routes.errors import RouteFileError

logger = logging.getLogger(__name__)

_YOUNG = timedelta(minutes=10)
_LOOK_SECONDS = 600.0
_LOOKS = 4  # in the time that an unused session lives, at least


def ways_of(settings: Settings, control: Control) -> Ways:
    """Return what stands behind links."""
    keys = LinkKeys(control.database, control.identity)
    return Ways(
        signed=SignedLinks(keys, settings.origin),
        bindings=Bindings(control.database),
        spaces=control.spaces,
        exercises=Exercises(control.spaces),
        reading=Reading(control.spaces),
        sessions=control.sessions,
        shares=Shares(
            settings.spaces_path / FOLDER, control.spaces.exists, settings.share_lifetime
        ),
    )


async def look_after_passers_by(settings: Settings, control: Control) -> None:
    """See to it, for ever, that nameless people stay while they work, and go when they do not."""
    table, catalogue, lifecycle = control.session_table, control.catalogue, control.lifecycle
    pause = min(_LOOK_SECONDS, settings.anonymous_lifetime / _LOOKS)

    def last_traffic(slug: str) -> float:
        entry = control.routes.entry(control.namespace.key(slug))
        return 0.0 if entry is None or entry.activity is None else entry.activity.last

    keep = partial(keep_passers_by, control.sessions, catalogue, last_traffic)
    forget = partial(forget_passers_by, table, catalogue, lifecycle)
    while True:
        await asyncio.sleep(pause)
        await each((("keeping passers-by", keep), ("forgetting passers-by", forget)))


async def keep_passers_by(
    sessions: Sessions,
    catalogue: Catalogue,
    last_traffic: Callable[[str], float],
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = utc_now,
) -> None:
    """Put off the ends of nameless people's sessions, by when their notebooks were last of use.

    Args:
        sessions: theirs too.
        catalogue: tells of use elsewhere, and of work without a person, as far as it is recorded.
        last_traffic: tells when a person was last seen in a notebook here, in the clock's seconds;
            0.0 for never.
        clock: monotonic seconds.
        now: the time in UTC.
    """
    used: dict[str, datetime] = {}
    for book in catalogue.notebooks():
        if not is_passer_by(book.owner):
            continue
        last = [moment for moment in (book.started, book.last_active) if moment is not None]
        if traffic := last_traffic(book.slug):
            last.append(now() - timedelta(seconds=clock() - traffic))
        if last:
            used[book.owner] = max(*last, used.get(book.owner, last[0]))
    if used:
        await sessions.put_off(used)


async def forget_passers_by(
    table: SessionTable,
    catalogue: Catalogue,
    lifecycle: Lifecycle,
    now: Callable[[], datetime] = utc_now,
) -> None:
    """Delete the notebooks, with their files, of nameless people whose session has ended.

    Another gateway's session may be heard of after its notebook, so young ones stay.
    """
    here = {principal.subject for _, _, _, principal in table.tokens()}
    for book in catalogue.notebooks():
        if not is_passer_by(book.owner) or book.owner in here or now() - book.created < _YOUNG:
            continue
        if lifecycle.lock(book.slug).locked():
            continue  # who is at it may take long, e.g. pull an image
        try:
            await lifecycle.delete(book.slug, purge_space=True)
        except (GatewayError, RouteFileError, OSError) as error:
            logger.warning("a passer-by's notebook stays slug=%s reason=%s", book.slug, error)
