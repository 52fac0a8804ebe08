"""The ways in by links, put together; and the end of the spaces that were for a moment."""

from __future__ import annotations

import logging

from gateway.app.control import Control
from gateway.errors import GatewayError
from gateway.launch.bindings import Bindings
from gateway.launch.deeplinks import is_passer_by
from gateway.launch.linkkeys import LinkKeys
from gateway.launch.signed import SignedLinks
from gateway.launch.ways import Ways
from gateway.settings import Settings
from gateway.spaces import Exercises

logger = logging.getLogger(__name__)


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


async def forget_passers_by(control: Control) -> None:
    """Delete the notebooks, with their files, of nameless people whose session has ended."""
    here = {principal.subject for _, _, _, principal in control.session_table.tokens()}
    for book in control.catalogue.notebooks():
        if not is_passer_by(book.owner) or book.owner in here:
            continue
        try:
            await control.lifecycle.delete(book.slug, purge_space=True)
        except GatewayError as error:
            logger.warning("a passer-by's notebook stays slug=%s reason=%s", book.slug, error)
