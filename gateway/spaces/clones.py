"""Spaces that are clones: the repository of the course lies in them, as `.git`.

It is copied from the gateway's checkout, which knows no password, without what programs that git
ran there have left in it: git-lfs, say, its hooks. The gateway never runs git in a space: what a
student writes into `.git` would be commands to it.
Everything here blocks: run it in a thread. What fails raises OSError.
"""

from __future__ import annotations

import errno
import os
import secrets

from gateway.spaces import folders, roots

REPOSITORY = ".git"
_PARTS = frozenset(
    ("HEAD", "config", "index", "objects", "packed-refs", "refs", "reftable", "shallow")
)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def is_clone(space: int) -> bool:
    """Whether there is a `.git`, whatever it is."""
    return folders.kind_of(REPOSITORY, space) is not None


def make(root: int, slug: str, files: int, copier: folders.Copier) -> None:
    """Copy the repository of a checkout into a space that has none, whole or not at all.

    Args:
        root: of the spaces; what is being copied lies there.
        slug: of the space.
        files: of the checkout.
        copier: gives the copy its owner.
    """
    name = f"{roots.NEW}{slug}-{secrets.token_hex(4)}"
    with folders.opened_folder(slug, root) as space:
        if is_clone(space):
            return
        os.mkdir(name, 0o700, dir_fd=root)
        try:
            with (
                folders.opened_folder(REPOSITORY, files) as original,
                folders.opened_folder(name, root) as copy,
            ):
                if copier.owner is not None:
                    os.fchown(copy, *copier.owner)
                _copy_parts(original, copy, copier)
            _move(name, root, space)
        finally:
            folders.delete(name, root)


def _copy_parts(original: int, copy: int, copier: folders.Copier) -> None:
    with os.scandir(original) as entries:
        for entry in entries:
            if entry.name in _PARTS:
                copier.copy_entry(entry, original, copy)


def _move(name: str, root: int, space: int) -> None:
    """Give it its place, unless something has come there meanwhile."""
    try:
        os.rename(name, REPOSITORY, src_dir_fd=root, dst_dir_fd=space)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
