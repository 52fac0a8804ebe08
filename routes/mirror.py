"""The helper's side of building: a copy of the entries, and files made of it.

It runs in the helper process (helper.py) alone, told what to do by builder.py.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping

from routes import gdbm, helper, timeslice
from routes.errors import GdbmMissing
from routes.rests import resting
from routes.seal import SEAL, seal_of

_IDLE_SECONDS = 3.0
"""Holding a large table costs memory, and starting anew some ten milliseconds."""
_NICE = 15
"""The gateway's requests come first where there is no core to spare."""


class Mirror:
    """The entries, and a GDBM file in memory that has them, without the seal, or is to be made."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._grown: gdbm.Growing | None = None

    def replace(self, entries: Mapping[bytes, bytes]) -> None:
        """Take other entries."""
        self._entries = dict(entries)
        self._shrink()

    def change(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Take changes. New keys are added to the file in memory; all else makes it anew.

        A file in which entries were replaced has old ones in its free space, where `carve` would
        find them.
        """
        if any(value is None or key in self._entries for key, value in changes.items()):
            self._shrink()
        for key, value in changes.items():
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value
                if self._grown is not None:
                    self._grown.add(key, value)

    def file(self) -> memoryview:
        """Return a sealed file, as bytes. Raises GdbmMissing, GdbmError."""
        if self._grown is None:
            self._grown = gdbm.Growing()
            for key, value in self._entries.items():
                self._grown.add(key, value)
        return self._grown.with_more(SEAL, seal_of(self._entries))

    def _shrink(self) -> None:
        if self._grown is not None:
            self._grown.close()
            self._grown = None


def serve(channel: socket.socket) -> None:
    """Build what is asked for over `channel`, until it ends or nothing comes for a while."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the gateway's business
    os.nice(_NICE)
    timeslice.shorten()
    mirror = Mirror()
    with channel, channel.makefile("rb") as pieces:
        while True:
            channel.settimeout(_IDLE_SECONDS)
            try:
                kind, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
            except TimeoutError:
                return
            if not kind:
                return
            channel.settimeout(None)
            with (
                open(descriptors[0], "wb", buffering=0) as file,  # noqa: PTH123 - no path
                resting(),
            ):
                changes = dict(helper.read_changes(pieces))
                if kind == helper.ALL:
                    mirror.replace({k: v for k, v in changes.items() if v is not None})
                    changes = {}
                complaint = _write(mirror, changes, file.fileno())
            channel.sendall(complaint.encode() + b"\n")


def _write(mirror: Mirror, changes: Mapping[bytes, bytes | None], descriptor: int) -> str:
    try:
        mirror.change(changes)
        content = mirror.file()
        while content:
            content = content[os.write(descriptor, content) :]
    except (gdbm.GdbmError, GdbmMissing, OSError, MemoryError) as error:
        return (str(error) or type(error).__name__).replace("\n", " ")
    return ""
