"""The maps with which httpd admits people by itself, opened where it serves hot notebooks directly.

What is in them follows the sessions (launch/edges.py) and the notebooks (activation/publishing.py);
here they are only opened, and the ends of sessions kept watch over.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from gateway.launch.sessions import Sessions
from gateway.metrics import Metrics
from gateway.settings import Settings
from routes import admission, secretmap
from routes.admission import AdmissionMap, AdmissionMaps
from routes.pair import publisher_of

LOOK_SECONDS = 0.5
"""With what writing an end may take (routes/admission.py), httpd knows it in two seconds."""


def open_maps(
    settings: Settings, metrics: Metrics, stack: contextlib.AsyncExitStack
) -> AdmissionMaps | None:
    """Open the maps; `stack` writes what is left, and closes them.

    None where httpd serves no notebook.

    Raises:
        DatabaseInUse, GdbmMissing, OSError: see ApacheDB.
    """
    if not settings.httpd_direct:
        return None
    edges, owners = admission.beside(settings.routes_path)
    maps = AdmissionMaps(
        _opened(edges, "map of edge ids", stack), _opened(owners, "map of owners", stack)
    )
    metrics.watch_map("edges", maps.edges)
    metrics.watch_map("owners", maps.owners)
    return maps


async def watch_ends(sessions: Sessions) -> None:
    """End sessions when their time is over: httpd looks at no clock, and tunnels ask nobody."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await sessions.expire_due()


def _opened(path: Path, name: str, stack: contextlib.AsyncExitStack) -> AdmissionMap:
    opened = AdmissionMap(publisher_of(path, secretmap.MODE, name, stack), name)
    opened.prepare()
    stack.push_async_callback(opened.close)
    return opened
