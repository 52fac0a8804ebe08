"""The gateway's side of the process that builds large files (mirror.py is the other side).

Building holds the interpreter, and so do copying and packing a large table. The process keeps the
entries and is told changes alone; it ends by itself when nothing was built for some seconds.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from routes import gdbm, helper
from routes.content import Content
from routes.errors import BuildFailed

_BUILD_SECONDS = 300.0
_END_SECONDS = 5.0
_LONGEST_COMPLAINT = 200


class _Gone(Exception):
    """The process has ended before it answered."""


class Builder:
    """Builds files one after the other, in a process that is started when it is needed.

    To be used from one thread at a time.

    Attributes:
        process: the one that was started last; None when there is none.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._holds: object | None = None

    def build(self, path: Path, content: Content, file: BinaryIO) -> None:
        """Write a sealed file with `content` to `file`.

        Raises:
            BuildFailed: it could not be made. `path` is only named in it.
            GdbmMissing: libgdbm is not installed.
        """
        gdbm.loaded()
        known, self._holds = self._holds, None
        complaint = self._complaint(path, content, known, file)
        if complaint:
            raise BuildFailed(path, complaint[:_LONGEST_COMPLAINT])
        self._holds = content.after

    def close(self) -> None:
        """End the process, if there is one."""
        self._holds = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self.process is not None:
            self.process.kill()
            self.process.wait(_END_SECONDS)
            self.process = None

    def _complaint(self, path: Path, content: Content, known: object | None, file: BinaryIO) -> str:
        """Have it built; return what is wrong, or ""."""
        if known is not None and known is content.before:
            # It may have ended meanwhile, since nothing was to be built.
            with contextlib.suppress(_Gone):
                return self._ask(path, helper.CHANGES, content.changes.items(), file)
        self.close()
        try:
            return self._ask(path, helper.ALL, content.pairs(), file)
        except _Gone:
            assert self.process is not None
            status = self.process.wait(_END_SECONDS)
            return f"the helper process ended with status {status} over it"

    def _ask(
        self,
        path: Path,
        kind: bytes,
        entries: Iterable[tuple[bytes, bytes | None]],
        file: BinaryIO,
    ) -> str:
        try:
            channel = self._connected()
            socket.send_fds(channel, [kind], [file.fileno()])
            for piece in helper.packed(entries):
                channel.sendall(piece)
            answer = bytearray()
            while not answer.endswith(b"\n"):
                got = channel.recv(4096)
                if not got:
                    raise _Gone
                answer += got
        except TimeoutError:
            self.close()
            return f"building {path.name} does not come to an end"
        except ConnectionError:
            raise _Gone from None
        except BaseException:
            self.close()
            raise
        return answer.decode("utf-8", "replace").strip()

    def _connected(self) -> socket.socket:
        if self._channel is None:
            ours, theirs = socket.socketpair()
            try:
                self.process = subprocess.Popen(helper.command("build"), stdin=theirs.fileno())
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
            ours.settimeout(_BUILD_SECONDS)
            self._channel = ours
        return self._channel
