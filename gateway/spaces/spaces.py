"""The spaces: one folder per notebook, directly below one root, on one file system.

A space outlives the containers of its notebook. It is filled beside its place and then renamed
into it, so that it is there completely or not at all, whatever is killed when. Entries of the
root that begin with a dot are ours: spaces that are being filled or deleted, and checkouts.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from gateway.errors import GatewayError
from gateway.notebooks.names import is_slug
from gateway.notebooks.source import Source
from gateway.spaces import changes, checkouts, folders
from gateway.spaces.git import SourceUnavailable

T = TypeVar("T")

_NEW = ".new-"
_TRASH = ".trash-"
_AT_ONCE = 4
_LOOKS_AT_ONCE = 1
_ABANDONED_SECONDS = 86400.0


class SpaceError(GatewayError):
    """A person's files cannot be read or written; the text says what and the remedy."""

    code = "space"


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
        return await self._in_thread(slug, lambda root: _exists(root, slug))

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
            changed = await self._in_thread(slug, lambda root: _newest_change(root, slug))
        return None if changed is None else datetime.fromtimestamp(changed, UTC)

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

    async def remove(self, slug: str) -> None:
        """Delete the space and all files in it; nothing happens when there is none.

        It is out of its place at once, and then deleted.

        Raises:
            SpaceError: the disk fails; what is left is deleted by a later `sweep`.
        """
        _checked(slug)
        async with self._lock(slug):
            trash = await self._in_thread(slug, lambda root: _discard(root, slug))
            if trash is not None:
                async with self._turns:
                    await self._in_thread(slug, lambda root: folders.delete(trash, root))

    async def check_source(self, source: Source | None) -> None:
        """Return if `source` is none, a repository (not asked), or a folder that can be read.

        Raises:
            SourceUnavailable: it is a folder that is not there, or cannot be read.
        """
        if source is not None and source.folder is not None:
            await asyncio.to_thread(_check_folder, source.folder)

    async def sweep(self, older_than: float = _ABANDONED_SECONDS) -> int:
        """Delete what was left unfinished more than `older_than` seconds ago; return how much.

        Younger ones may be another gateway's work.

        Raises:
            SpaceError: the disk fails.
        """
        before = time.time() - older_than
        return await self._in_thread("", lambda root: _sweep(root, before))

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
            with folders.opened_folder(name, root) as space, _opened_source(folder) as files:
                return work(space, files)

        async with self._lock(slug), self._files_of(source) as folder, self._turns:
            return await self._in_thread(slug, do)

    async def in_source(self, source: Source, work: Callable[[int], T]) -> T:
        """Do `work` in a thread, with a descriptor of a source's files.

        Raises:
            SourceUnavailable, SpaceError: see `with_source`.
        """

        def do(_: int) -> T:
            with _opened_source(folder) as files:
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
            with _opened_root(self._root) as root:
                return work(root)

        try:
            return await asyncio.to_thread(run)
        except OSError as error:
            raise SpaceError(_explain(self._root, slug, error)) from error

    def _make(self, root: int, slug: str, source: Path | None) -> None:
        name = f"{_NEW}{slug}-{secrets.token_hex(4)}"
        os.mkdir(name, 0o700, dir_fd=root)
        try:
            with folders.opened_folder(name, root) as target:
                if self._copier.owner is not None:
                    os.fchown(target, *self._copier.owner)
                if source is not None:
                    self._fill(source, target)
            with _only_one(root):
                if not _exists(root, slug):
                    os.rename(name, slug, src_dir_fd=root, dst_dir_fd=root)
        finally:
            folders.delete(name, root)

    def _fill(self, source: Path, target: int) -> None:
        with _opened_source(source) as handle:
            assert handle is not None
            self._copier.copy(handle, target)


@contextlib.contextmanager
def _opened_source(source: Path | None) -> Iterator[int | None]:
    if source is None:
        yield None
        return
    # The root of a source is the operator's word, so it may be reached by symlinks.
    with folders.opened(str(source), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as handle:
        yield handle


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


@contextlib.contextmanager
def _opened_root(root: Path) -> Iterator[int]:
    # Others pass through to what is theirs; the names of the spaces are names of persons.
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    with folders.opened(str(root), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as handle:
        yield handle


@contextlib.contextmanager
def _only_one(root: int) -> Iterator[None]:
    """Keep other gateways from renaming below the root; held for two system calls."""
    fcntl.flock(root, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(root, fcntl.LOCK_UN)


def _exists(root: int, slug: str) -> bool:
    kind = folders.kind_of(_checked(slug), root)
    if kind not in (None, stat.S_IFDIR):
        raise NotADirectoryError(errno.ENOTDIR, "something else than a folder is in its place")
    return kind is not None


def _newest_change(root: int, slug: str) -> float | None:
    if not _exists(root, slug):
        return None
    with folders.opened_folder(slug, root) as space:
        return changes.newest_change(space)


def _discard(root: int, slug: str) -> str | None:
    trash = f"{_TRASH}{slug}-{secrets.token_hex(4)}"
    try:
        os.rename(slug, trash, src_dir_fd=root, dst_dir_fd=root)
    except FileNotFoundError:
        return None
    return trash


def _sweep(root: int, before: float) -> int:
    swept = 0
    for name in os.listdir(root):
        if name.startswith((_NEW, _TRASH, checkouts.PREFIX)):
            changed = os.stat(name, dir_fd=root, follow_symlinks=False).st_ctime
            if changed < before:
                folders.delete(name, root)
                swept += 1
    return swept


def _check_folder(folder: Path) -> None:
    try:
        with folders.opened(str(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC):
            return
    except OSError as error:
        raise SourceUnavailable(
            f"source folder {folder}: {error.strerror}; give an absolute folder that the "
            f"gateway's user can read"
        ) from error


def _explain(root: Path, slug: str, error: OSError) -> str:
    place = root / slug if slug else root
    remedy = "check the disk, and that the gateway's user may write there"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "make room on the disk, or raise its quota"
    elif error.errno == errno.ENOTDIR:
        remedy = "look what it is, and move it away"
    file = f" ({error.filename})" if isinstance(error.filename, str) else ""
    return f"space {place}: {error.strerror or error}{file}; {remedy}"
