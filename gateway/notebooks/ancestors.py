"""Who may show pages in a frame: origins, as Content-Security-Policy writes them. Pure.

What stands here ends up in a header of every answer, so nothing passes that is more than an origin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from gateway.errors import InvalidInput

HOST = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
"""The pattern of a host's name in lower case."""

MOST = 50
"""How many origins there may be; each response of a notebook names them all."""

_LONGEST = 300
_ANCESTOR = re.compile(rf"https?://(?:\*\.)?{HOST}(?::(?:[0-9]{{1,5}}|\*))?", re.IGNORECASE)


def check_ancestors(origins: Sequence[str]) -> tuple[str, ...]:
    """Return the origins, each once.

    Args:
        origins: `https://lms.example.org`; the host may begin with `*.`, the port may be `*`.

    Raises:
        InvalidInput: one is none, or there are more than MOST.
    """
    for origin in origins:
        if len(origin) > _LONGEST or not _ANCESTOR.fullmatch(origin):
            shown = repr(origin[:80])
            raise InvalidInput(f"{shown} is no origin; write for example https://lms.example.org")
    if len(origins) > MOST:
        raise InvalidInput(f"{len(origins)} origins are more than {MOST}")
    return tuple(dict.fromkeys(origins))


@lru_cache
def sources_of(own: tuple[str, ...] | None, default: tuple[str, ...]) -> str:
    """Return the value of a `frame-ancestors` directive (CSP 3, 6.4.2); one's own pages always may.

    The notebooks of a project share it: there may be very many of them.

    Args:
        own: a project's origins; None for the installation's.
        default: the installation's.
    """
    return " ".join(("'self'", *(default if own is None else own)))
