"""Routes and sessions as lists of JSON values, and back. Pure.

The fields of the dataclasses are taken in their order, so a field that is added there crosses by
itself. Of an entry's activity only whether there is one: each process counts its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

from gateway.launch.session_table import Principal
from gateway.proxy.interface import Activity, RouteEntry
from routes.keys import Target

Record = list[Any]

_ENTRY = tuple(field.name for field in fields(RouteEntry) if field.name != "activity")
_entry_values = attrgetter(*_ENTRY)
_target_values = attrgetter(*(field.name for field in fields(Target)))
_TARGET_AT, _KEY_AT = _ENTRY.index("target"), _ENTRY.index("key")
_OTHERS_AT, _ANCESTORS_AT = _ENTRY.index("others"), _ENTRY.index("ancestors")


def counted(entry: RouteEntry) -> bool:
    """Whether somebody asks for a route's activity, and it may lose its target."""
    return entry.slug is not None or entry.activity is not None


def of_entry(entry: RouteEntry) -> Record:
    """Return an entry's record."""
    record = list(_entry_values(entry))
    if entry.target is not None:
        record[_TARGET_AT] = _target_values(entry.target)
    if entry.others is not None:
        record[_OTHERS_AT] = sorted(entry.others)
    record.append(counted(entry))
    return record


def to_entry(record: Record, activity_of: Callable[[str], Activity]) -> RouteEntry:
    """Return the entry of a record.

    Args:
        record: from of_entry.
        activity_of: this process's activity of a route, by its key.
    """
    *members, is_counted = record
    values = dict(zip(_ENTRY, members, strict=True))
    if (target := members[_TARGET_AT]) is not None:
        values["target"] = Target(*target)
    if (others := members[_OTHERS_AT]) is not None:
        values["others"] = _people(*others)
    if (ancestors := members[_ANCESTORS_AT]) is not None:
        values["ancestors"] = sys.intern(ancestors)
    if is_counted:
        values["activity"] = activity_of(members[_KEY_AT])
    return RouteEntry(**values)


@lru_cache
def _people(*subjects: str) -> frozenset[str]:
    """Return the set of `subjects`; the notebooks of a course share one."""
    return frozenset(subjects)


def keys_in(changes: list[Record]) -> list[str]:
    """Return the keys of the routes among changes; not of those that are gone."""
    return [change[1][_KEY_AT] for change in changes if change[0] == "route"]


def of_session(digest: bytes, host: str, expires: datetime, principal: Principal) -> Record:
    """Return a session token's record."""
    return [
        digest.hex(),
        host,
        expires.timestamp(),
        principal.subject,
        principal.session,
        principal.administrator,
        principal.display_name,
    ]


def to_session(record: Record) -> tuple[bytes, str, datetime, Principal]:
    """Return what SessionTable.put takes."""
    digest, host, expires, subject, session, administrator, name = record
    principal = Principal(subject, session, administrator, name)
    return bytes.fromhex(digest), host, datetime.fromtimestamp(expires, UTC), principal
