"""The spaces: one folder per notebook, directly below one root, on one file system.

A space outlives the containers of its notebook. It is filled beside its place and then renamed
into it, so that it is there completely or not at all, whatever is killed when. Entries of the
root that begin with a dot are ours: spaces that are being filled or deleted, and checkouts.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from gateway.errors import GatewayError
from gateway.notebooks.names import is_slug
from gateway.notebooks.source import Source
from gateway.spaces import checkouts, clones, folders, roots, sources

T = TypeVar("T")

_AT_ONCE = 4
_LOOKS_AT_ONCE = 1
_ABANDONED_SECONDS = 86400.0


class SpaceError(GatewayError):
    """A person's files cannot be read or written; the text says what and the remedy."""

    code = "space"

    def for_people(self) -> str:
        """See GatewayError."""
        return "its files cannot be read or written"


class Spaces:
    """The spaces below one root.

    Args:
        root: an absolute folder; made when it is first needed.
        owner: (uid, gid) that files of new spaces get, if we are root; None: our own.
    """

    def __init__(self, root: Path, owner: tuple[int, int] | None = None) -> None:
        self._root = root
        self._copier = folders.Copier(owner if os.geteuid() == 0 else None)
        self._checkouts = checkouts.Checkouts(root)
        self._locks: dict[str, asyncio.Lock] = {}
        # Copies and deletions are long; more of them at once only make the disk seek.
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._looks = asyncio.Semaphore(_LOOKS_AT_ONCE)

    def path(self, slug: str) -> Path:
        """Return where the space of `slug` is, whether it exists or not."""
        return self._root / _checked(slug)

    async def exists(self, slug: str) -> bool:
        """Whether the notebook has a space. Raises SpaceError."""
        return await self._in_thread(slug, lambda root: roots.exists(root, _checked(slug)))

    async def has_file(self, slug: str, relative: str) -> bool:
        """Whether the space has a regular file at `relative`, reached through no symlink.

        Raises:
            SpaceError: the disk fails.
        """
        parts = relative.split("/")
        if "\0" in relative or any(part in ("", ".", "..") for part in parts):
            return False
        if not _encodable(relative):
            return False
        return await self._in_thread(
            slug, lambda root: folders.is_file_beneath(root, [_checked(slug), *parts])
        )

    async def last_change(self, slug: str) -> datetime | None:
        """Return when a file of the space last changed, UTC; None if none was seen.

        See changes.newest_change for what counts, and for its bounds.

        Raises:
            SpaceError: it cannot be read.
        """
        _checked(slug)
        async with self._looks:
            changed = await self._in_thread(slug, lambda root: roots.newest_change(root, slug))
        return None if changed is None else datetime.fromtimestamp(changed, UTC)

    async def has_to_fetch(self, slug: str, source: Source | None) -> bool:
        """Whether `ensure` would fetch a repository, which may take minutes; see `fetch`.

        Raises:
            SpaceError: the disk fails.
        """
        if source is None or source.url is None or self._checkouts.is_fresh(source):
            return False
        return not await self.exists(slug)

    async def fetch(self, source: Source) -> None:
        """Have a repository's files at hand for a minute.

        Raises:
            SourceUnavailable, SpaceError: see `ensure`.
        """
        async with self._files_of(source):
            pass

    async def ensure(self, slug: str, source: Source | None) -> Path:
        """Return the path of the notebook's space, made and filled from `source` if it is new.

        Raises:
            SourceUnavailable: the source cannot be read.
            SpaceError: the disk fails, or something else than a folder is in its place.
        """
        path = self.path(slug)
        async with self._lock(slug):
            if not await self.exists(slug):
                async with self._files_of(source) as folder, self._turns:
                    await self._in_thread(slug, lambda root: self._make(root, slug, folder))
        return path

    async def make_clone(self, slug: str, source: Source | None) -> None:
        """Put the repository of `source` beside the files of an existing space, as its `.git`.

        Nothing happens where the space has one, or `source` is no repository. No file changes:
        where a person's differ from the course's, git tells.

        Raises:
            SourceUnavailable, SpaceError: see `with_source`.
        """
        if source is None or source.url is None or await self.in_space(slug, clones.is_clone):
            return
        name = _checked(slug)

        def work(root: int) -> None:
            with sources.opened_if(folder) as files:
                assert files is not None
                clones.make(root, name, files, self._copier)

        async with self._lock(slug), self._files_of(source) as folder, self._turns:
            await self._in_thread(slug, work)

    async def remove(self, slug: str) -> None:
        """Delete the space and all files in it; nothing happens when there is none.

        It is out of its place at once, and then deleted.

        Raises:
            SpaceError: the disk fails; what is left is deleted by a later `sweep`.
        """
        _checked(slug)
        async with self._lock(slug):
            trash = await self._in_thread(slug, lambda root: roots.discard(root, slug))
            if trash is not None:
                async with self._turns:
                    await self._in_thread(slug, lambda root: folders.delete(trash, root))

    async def check_source(self, source: Source | None) -> None:
        """Return if `source` is none, a repository (not asked), or a folder that can be read.

        Raises:
            SourceUnavailable: it is a folder that is not there, or cannot be read.
        """
        if source is not None and source.folder is not None:
            await asyncio.to_thread(sources.check, source.folder)

    async def sweep(self, older_than: float = _ABANDONED_SECONDS) -> int:
        """Delete what was left unfinished more than `older_than` seconds ago; return how much.

        Younger ones may be another gateway's work. Our own checkouts stay: their repository may be
        away when they are needed again.

        Raises:
            SpaceError: the disk fails.
        """
        before, kept = time.time() - older_than, self._checkouts.names
        return await self._in_thread("", lambda root: roots.sweep(root, before, kept))

    async def close(self) -> None:
        """Let go of the checkouts."""
        await self._checkouts.close()

    async def with_source(
        self, slug: str, source: Source | None, work: Callable[[int, int | None], T]
    ) -> T:
        """Do `work` in a thread, with descriptors of an existing space and of its source's files.

        The second one is None where there is no source. Nobody makes or removes the space
        meanwhile.

        Raises:
            SourceUnavailable: the source cannot be read.
            SpaceError: the disk fails, or there is no such space.
        """
        name = _checked(slug)

        def do(root: int) -> T:
            with folders.opened_folder(name, root) as space, sources.opened_if(folder) as files:
                return work(space, files)

        async with self._lock(slug), self._files_of(source) as folder, self._turns:
            return await self._in_thread(slug, do)

    async def in_space(self, slug: str, work: Callable[[int], T]) -> T | None:
        """Do `work` in a thread, with a descriptor of a space; None where there is no space.

        It waits for nobody, so work that changes files is `with_source`'s.

        Raises:
            SpaceError: the disk fails.
        """
        name = _checked(slug)

        def do(root: int) -> T | None:
            if not roots.exists(root, name):
                return None
            with folders.opened_folder(name, root) as space:
                return work(space)

        return await self._in_thread(slug, do)

    async def in_source(self, source: Source, work: Callable[[int], T]) -> T:
        """Do `work` in a thread, with a descriptor of a source's files.

        Raises:
            SourceUnavailable, SpaceError: see `with_source`.
        """

        def do(_: int) -> T:
            with sources.opened_if(folder) as files:
                assert files is not None
                return work(files)

        async with self._files_of(source) as folder, self._turns:
            return await self._in_thread("", do)

    @property
    def copier(self) -> folders.Copier:
        """What copies files into spaces, so that they belong to their persons."""
        return self._copier

    def _lock(self, slug: str) -> asyncio.Lock:
        return self._locks.setdefault(slug, asyncio.Lock())

    @contextlib.asynccontextmanager
    async def _files_of(self, source: Source | None) -> AsyncIterator[Path | None]:
        await self.check_source(source)
        if source is None or source.folder is not None:
            yield source.folder if source is not None else None
            return
        await self._in_thread("", lambda _root: None)
        async with self._checkouts.use(source) as folder:
            yield folder

    async def _in_thread(self, slug: str, work: Callable[[int], T]) -> T:
        """Do `work` in a thread, with a descriptor of the root; translate what fails."""

        def run() -> T:
            with roots.opened(self._root) as root:
                return work(root)

        try:
            return await asyncio.to_thread(run)
        except OSError as error:
            raise SpaceError(_explain(self._root, slug, error)) from error

    def _make(self, root: int, slug: str, source: Path | None) -> None:
        name = f"{roots.NEW}{slug}-{secrets.token_hex(4)}"
        os.mkdir(name, 0o700, dir_fd=root)
        try:
            with folders.opened_folder(name, root) as target:
                if self._copier.owner is not None:
                    os.fchown(target, *self._copier.owner)
                if source is not None:
                    self._fill(source, target)
            with roots.only_one(root):
                if not roots.exists(root, _checked(slug)):
                    os.rename(name, slug, src_dir_fd=root, dst_dir_fd=root)
        finally:
            folders.delete(name, root)

    def _fill(self, source: Path, target: int) -> None:
        with sources.opened(source) as handle:
            self._copier.copy(handle, target)


def _checked(slug: str) -> str:
    if not is_slug(slug):
        raise SpaceError(f"{slug!r} is not the slug of a notebook")
    return slug


def _encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _explain(root: Path, slug: str, error: OSError) -> str:
    place = root / slug if slug else root
    remedy = "check the disk, and that the gateway's user may write there"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "make room on the disk, or raise its quota"
    elif error.errno == errno.ENOTDIR:
        remedy = "look what it is, and move it away"
    file = f" ({error.filename})" if isinstance(error.filename, str) else ""
    return f"space {place}: {error.strerror or error}{file}; {remedy}"
