"""Listening sockets for places that the command line named."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.chp.options import Place
from gateway.errors import InvalidInput


def unix_socket(
    path: str,
    stack: contextlib.AsyncExitStack | contextlib.ExitStack,
    *,
    private: bool = False,
) -> socket.socket:
    """Return a Unix socket bound at `path`; one that nobody listens on any more is replaced.

    Args:
        path: where.
        stack: removes it again when left, unless another process has replaced it.
        private: for this user alone.

    Raises:
        InvalidInput: somebody listens there, or it cannot be had.
    """
    with told(Place(path=path)):
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            before = os.umask(0o177) if private else None
            try:
                listener.bind(path)
            finally:
                if before is not None:
                    os.umask(before)
        except OSError:
            listener.close()
            raise
        stack.callback(_remove, path, _identity(path))
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def told(place: Place) -> Iterator[None]:
    """Turn an OSError into one line about `place`."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0  # a resolver counts from -1 downwards
        reason = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise InvalidInput(f"cannot listen on {place}: {reason}") from error


def _remove(path: str, ours: tuple[int, int, int]) -> None:
    with contextlib.suppress(OSError):
        if _identity(path) == ours:
            Path(path).unlink()


def _identity(path: str) -> tuple[int, int, int]:
    found = Path(path).stat()  # file systems use an inode's number again
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _remove_stale(path: str) -> None:
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(0, "there is something else than a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except BlockingIOError:
            pass
    raise FileExistsError(0, "another process listens there")
