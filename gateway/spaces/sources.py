"""The folder that a project's files are read from: the operator's own, or a repository's checkout.

Everything here blocks: run it in a thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from gateway.spaces import folders
from gateway.spaces.git import SourceUnavailable

# Its root is the operator's word, so it may be reached by symlinks.
_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[int]:
    """Give a descriptor of the folder."""
    with folders.opened(str(folder), _ROOT) as handle:
        yield handle


@contextlib.contextmanager
def opened_if(folder: Path | None) -> Iterator[int | None]:
    """Give a descriptor of the folder; None for none."""
    if folder is None:
        yield None
        return
    with opened(folder) as handle:
        yield handle


def check(folder: Path) -> None:
    """Raise SourceUnavailable if the operator's folder is not there, or cannot be read."""
    try:
        with opened(folder):
            return
    except OSError as error:
        raise SourceUnavailable(
            f"source folder {folder}: {error.strerror}; give an absolute folder that the "
            f"gateway's user can read"
        ) from error
