"""Saving so that a file is whole at each moment: the old one, or the new one.

Jupyter's own "atomic writing" copies the old content aside and then writes into the file itself: a
server that is killed meanwhile, e.g. for want of memory, leaves half a file. Here the new content
is written aside, brought to disk, and put in the file's place.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_server.services.contents.fileio import atomic_writing
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

PREFIX = ".~nbgate-"


class WholeFileManager(AsyncLargeFileManager):
    """The contents of the space."""

    @contextlib.contextmanager
    def atomic_writing(self, os_path: str, text: bool = True, **options: Any) -> Iterator[Any]:
        """Yield a file to write to, which takes the place of `os_path` when all went well.

        Args:
            os_path: absolute; what a link leads to is replaced, not the link.
            text: whether text is written, else bytes.
            **options: for `open`.
        """
        path = Path(os.path.realpath(os_path))
        write = replacing if can_be_replaced(path) else atomic_writing
        with self.perm_to_403(os_path), write(path, text=text, **options) as file:
            yield file


def can_be_replaced(path: Path) -> bool:
    """Whether another file in its place would be the same to everybody.

    Not what has more names, is another user's, is no file, or lies in a folder that cannot be
    written: those are written to.
    """
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return False
    try:
        known = path.lstat()
    except OSError:
        return True
    own = known.st_nlink == 1 and known.st_uid == os.geteuid()
    return stat.S_ISREG(known.st_mode) and own and os.access(path, os.W_OK)


@contextlib.contextmanager
def replacing(path: Path, *, text: bool, **options: Any) -> Iterator[Any]:
    """Yield a file to write to; leave `path` as it was where that fails.

    Args:
        path: absolute, no link.
        text: whether text is written, else bytes.
        **options: for `open`.
    """
    if text:
        options = {"encoding": "utf-8", "newline": "\n", **options}
    beside = path.with_name(f"{PREFIX}{secrets.token_hex(4)}-{path.name[:50]}")
    try:
        with beside.open("x" if text else "xb", **options) as file:
            if path.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
