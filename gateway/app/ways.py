"""The ways in by links, put together; and the end of the spaces that were for a moment."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from gateway.activation.lifecycle import Lifecycle
from gateway.app.control import Control
from gateway.errors import GatewayError
from gateway.launch.bindings import Bindings
from gateway.launch.deeplinks import is_passer_by
from gateway.launch.linkkeys import LinkKeys
from gateway.launch.session_table import SessionTable
from gateway.launch.signed import SignedLinks
from gateway.launch.ways import Ways
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.projects import utc_now
from gateway.settings import Settings
from gateway.spaces import Exercises

logger = logging.getLogger(__name__)

_YOUNG = timedelta(minutes=10)


def ways_of(settings: Settings, control: Control) -> Ways:
    """Return what stands behind links."""
    keys = LinkKeys(control.database, control.identity)
    return Ways(
        signed=SignedLinks(keys, settings.origin),
        bindings=Bindings(control.database),
        spaces=control.spaces,
        exercises=Exercises(control.spaces),
        sessions=control.sessions,
    )


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
        try:
            await lifecycle.delete(book.slug, purge_space=True)
        except GatewayError as error:
            logger.warning("a passer-by's notebook stays slug=%s reason=%s", book.slug, error)
