"""What a plain route may be: which keys are taken, and where none may lead.

Nothing here knows which routes there are: that is routing.py's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from gateway.errors import InvalidInput
from gateway.namespace import Namespace
from routes.keys import InvalidKey, InvalidTarget, Target, canonical_key, parse_target

logger = logging.getLogger(__name__)


class RouteRules:
    """See the module's docstring.

    Args:
        namespace: where notebooks live.
        is_known: whether a slug is a notebook's.
        own_host: the gateway's own host, which no route may take.
        own_sockets: the folder of the gateway's own Unix sockets, where no route may lead; None
            if it has none.
    """

    def __init__(
        self,
        namespace: Namespace,
        is_known: Callable[[str], bool],
        own_host: str,
        own_sockets: Path | None = None,
    ) -> None:
        self._namespace = namespace
        self._is_known = is_known
        self._own_host = own_host
        self._own_sockets = own_sockets

    def is_notebook(self, key: str) -> bool:
        """Whether a key is that of a notebook that there is."""
        slug = self._namespace.slug_of(key.encode(), key.encode())
        return slug is not None and self._namespace.key(slug) == key and self._is_known(slug)

    def taken(self, key: str) -> str:
        """Return why a key cannot be an operator's; "" when it can."""
        if key == "/gateway" or key.startswith("/gateway/"):
            return "is reserved for the gateway's own pages"
        if key == self._own_host:
            return "is the gateway's own host"
        if self._namespace.holds(key):
            return "is where notebooks live; their routes follow their state"
        return ""

    def target(self, text: str | bytes) -> Target:
        """Return the target that a text names. Raises InvalidTarget."""
        return self.allowed(parse_target(text), text)

    def allowed(self, target: Target, text: str | bytes) -> Target:
        """Return the target. Raises InvalidTarget, with `text`, where it is one of our own sockets.

        The pages would take a route to theirs for the data path.
        """
        if target.socket and self._own_sockets is not None:
            own = os.path.realpath(self._own_sockets)
            if own in map(str, Path(os.path.realpath(target.socket)).parents):
                raise InvalidTarget(text, "is one of the gateway's own sockets")
        return target


class Targets:
    """The targets in a file; routes to the same one share it."""

    def __init__(self, parse: Callable[[bytes], Target]) -> None:
        self._parse = parse
        self._known: dict[bytes, Target] = {}

    def of(self, key: str, raw: bytes) -> Target | None:
        """Return a route's target; None, and say so, where it cannot be used."""
        target = self._known.get(raw)
        if target is None:
            try:
                target = self._known[raw] = self._parse(raw)
            except InvalidTarget as error:
                logger.warning("route in the file cannot be used key=%s reason=%s", key, error)
        return target


def in_canonical_form(key: str) -> str:
    """Return the table's form of a key that people gave. Raises InvalidInput."""
    try:
        return canonical_key(key)
    except InvalidKey as error:
        raise InvalidInput(str(error)) from error
