"""The seal: a reserved entry by which a route file proves that it is what was published.

Damaged GDBM files can read wrongly without any error. The seal holds the number and the digest
of all other entries, and a mark of each, so that entries which another program added afterwards
are told from entries that were lost or changed. Pure functions.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping

SEAL = b"!nbgate"
"""The reserved key. It can be no host and no path."""

_FORM = re.compile(rb"v1 [0-9]+ ([0-9a-f]{64}) ?((?:[0-9a-f]{8})*)")


def seal_of(entries: Mapping[bytes, bytes]) -> bytes:
    """Return the value of the reserved key for these entries."""
    marks = "".join(mark_of(key, entries[key]) for key in sorted(entries))
    return f"v1 {len(entries)} {_digest(entries)} {marks}".rstrip().encode("ascii")


def marks_of(seal: bytes) -> frozenset[str]:
    """Return the marks that a seal holds; none when it cannot be read."""
    form = _FORM.fullmatch(seal)
    marks = form[2].decode("ascii") if form else ""
    return frozenset(marks[place : place + 8] for place in range(0, len(marks), 8))


def mark_of(key: bytes, value: bytes) -> str:
    """Return the mark of one entry."""
    return f"{zlib.crc32(value, zlib.crc32(key)):08x}"


def fault(entries: Mapping[bytes, bytes], seal: bytes) -> str:
    """Return what is wrong with `entries`, or "" when nothing that was sealed is lost or changed.

    Entries beside the sealed ones are fine: another program has added them.
    """
    form = _FORM.fullmatch(seal)
    if form is None:
        return "its seal cannot be read"
    digest = form[1].decode("ascii")
    if digest == _digest(entries):
        return ""
    marks = marks_of(seal)
    sealed = {key: value for key, value in entries.items() if mark_of(key, value) in marks}
    if digest == _digest(sealed):
        return ""
    others = ", ".join(ascii(key) for key in sorted(entries.keys() - sealed.keys())[:3])
    named = f"; look at {others}" if others else ""
    return f"entries are lost, or were changed by something else{named}"


def _digest(entries: Mapping[bytes, bytes]) -> str:
    return hashlib.sha256(b"".join(_parts(entries))).hexdigest()


def _parts(entries: Mapping[bytes, bytes]) -> Iterator[bytes]:
    for key in sorted(entries):
        value = entries[key]
        yield from (len(key).to_bytes(4, "big"), key, len(value).to_bytes(4, "big"), value)
