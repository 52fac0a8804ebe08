"""What is done in the root of the spaces itself, by its descriptor: names come, go and are swept.

Everything here blocks: run it in a thread. What fails raises OSError. Slugs are checked by callers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from gateway.spaces import changes, checkouts, folders

NEW = ".new-"
_TRASH = ".trash-"


@contextlib.contextmanager
def opened(root: Path) -> Iterator[int]:
    """Give a descriptor of the root, which is made where it is not there."""
    # Others pass through to what is theirs; the names of the spaces are names of persons.
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    with folders.opened(str(root), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as handle:
        yield handle


@contextlib.contextmanager
def only_one(root: int) -> Iterator[None]:
    """Keep other gateways from renaming below the root; held for two system calls."""
    fcntl.flock(root, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(root, fcntl.LOCK_UN)


def exists(root: int, slug: str) -> bool:
    """Tell whether there is a space. Raises NotADirectoryError: something else has its name."""
    kind = folders.kind_of(slug, root)
    if kind not in (None, stat.S_IFDIR):
        raise NotADirectoryError(errno.ENOTDIR, "something else than a folder is in its place")
    return kind is not None


def newest_change(root: int, slug: str) -> float | None:
    """Return when a space was last changed, by the clock of files; None where there is none."""
    if not exists(root, slug):
        return None
    with folders.opened_folder(slug, root) as space:
        return changes.newest_change(space)


def discard(root: int, slug: str) -> str | None:
    """Put a space out of its place; return its name there, None where there was none."""
    trash = f"{_TRASH}{slug}-{secrets.token_hex(4)}"
    try:
        os.rename(slug, trash, src_dir_fd=root, dst_dir_fd=root)
    except FileNotFoundError:
        return None
    return trash


def sweep(root: int, before: float, kept: Collection[str] = ()) -> int:
    """Delete what was left half done before then; return how many.

    Args:
        root: of the spaces.
        before: seconds since the epoch.
        kept: names that are in use here; they are dated, so that nobody else deletes them.
    """
    swept = 0
    for name in kept:
        with contextlib.suppress(FileNotFoundError):
            os.utime(name, dir_fd=root, follow_symlinks=False)
    for name in os.listdir(root):
        if name.startswith((NEW, _TRASH, checkouts.PREFIX)) and name not in kept:
            changed = os.stat(name, dir_fd=root, follow_symlinks=False).st_ctime
            if changed < before:
                folders.delete(name, root)
                swept += 1
    return swept
