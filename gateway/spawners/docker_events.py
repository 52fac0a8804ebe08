"""What the engine's events say about a server: from its JSON lines to ServerEvent.

Pure functions, no I/O. How events are asked for and read is engine_stream.py's.
"""

from __future__ import annotations

import json
from typing import Any

from gateway.spawners.base import Change, ServerEvent
from gateway.spawners.docker_spec import INSTALLATION, SLUG

Json = dict[str, Any]

_CHANGES = {
    "start": Change.STARTED,
    "pause": Change.PAUSED,
    "unpause": Change.RESUMED,
    "die": Change.ENDED,
    "destroy": Change.REMOVED,
}
_RENAMED = "rename"
_OUT_OF_MEMORY = "oom"


def query(installation: str, since: float) -> dict[str, str]:
    """Return the parameters of `GET /events` for an installation's servers.

    Args:
        installation: whose.
        since: seconds since the epoch by the engine's clock; events of that moment are told too.
    """
    filters = {
        "type": ["container"],
        "label": [f"{INSTALLATION}={installation}"],
        "event": [*_CHANGES, _RENAMED, _OUT_OF_MEMORY],
    }
    # A float holds microseconds for some centuries to come; `moment` has no more.
    return {"filters": json.dumps(filters), "since": f"{since:.6f}"}


def out_of_memory(item: Json) -> str:
    """Return the slug of a server in which a process was killed for want of memory; else "".

    The server itself may go on: it was a kernel perhaps. If it ends, an event of its own says so.
    """
    attributes = (item.get("Actor") or {}).get("Attributes") or {}
    return str(attributes.get(SLUG, "")) if item.get("Action") == _OUT_OF_MEMORY else ""


def event_of(item: Json) -> ServerEvent | None:
    """Return what a line of events means; None when it means nothing to us.

    A container counts as its slug's server under its own name alone: one that was set aside is
    gone with its renaming, and what happens to it later is nobody's business.
    """
    actor = item.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    slug = attributes.get(SLUG, "")
    action = item.get("Action", "")
    if action == _RENAMED and attributes.get("oldName") == f"/{slug}":
        change: Change | None = Change.REMOVED
    elif attributes.get("name") == slug:
        change = _CHANGES.get(action)
    else:
        change = None
    if change is None or not slug:
        return None
    return ServerEvent(str(actor.get("ID", "")), slug, change, moment_of(item))


def moment_of(item: Json) -> float:
    """Return when it happened, rounded down to microseconds, so that `since` never misses it."""
    return float(int(item["timeNano"]) // 1000) / 1e6
