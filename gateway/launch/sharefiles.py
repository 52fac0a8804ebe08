"""How copies that people share are on disk.

    <folder>/notebooks/<slug>/<made>-<expires>-<digest>     a line about the copy, then its content
    <folder>/addresses/<digest>                             a symlink to the former

A copy's file is there, complete, before its address is, and goes after it; so whoever is killed in
between leaves nothing that could be found. Everything here blocks: run it in a thread. What fails
raises OSError. Who may make, see or end a copy, and for how long, is shares.py's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.notebooks.names import is_slug

_TRIES = 3
_NEW = ".new-"
_UP = "../notebooks/"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"([0-9]{1,14})-([0-9]{1,14})-([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Share:
    """A copy that is shared.

    Attributes:
        digest: of its secret; names it to its owner.
        slug: the notebook's, whose file it is a copy of.
        project: the notebook's.
        file: the file's path in the space.
        made: UTC, in whole milliseconds, as is `expires`.
        expires: UTC.
    """

    digest: str
    slug: str
    project: str
    file: str
    made: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Named:
    """What the name of a copy's file says; the times are UTC."""

    name: str
    made: datetime
    expires: datetime
    digest: str


class ShareFiles:
    """The copies below one folder; see the module's docstring.

    Args:
        folder: made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._notebooks = folder / "notebooks"
        self._addresses = folder / "addresses"

    def add(self, share: Share, content: bytes, most: int) -> None:
        """Add a copy; of more than `most` of its notebook the oldest others go."""
        self._addresses.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self._folder(share.slug) / _name_of(share)
        about = {"project": share.project, "file": share.file}
        _write(place, json.dumps(about).encode("ascii") + b"\n" + content)
        (self._addresses / share.digest).symlink_to(f"{_UP}{share.slug}/{place.name}")
        others = [one for one in self._named(share.slug) if one.digest != share.digest]
        others.sort(key=lambda one: one.made)
        for one in others[: max(0, len(others) + 1 - most)]:
            self._delete(share.slug, one)

    def find(self, digest: str) -> tuple[Share, bytes] | None:
        """Return the copy with this digest, whether or not it is over, or None."""
        try:
            # It is read, not followed: what it says can be nothing but a copy.
            leads_to = str((self._addresses / digest).readlink())
            slug, _, name = leads_to.removeprefix(_UP).partition("/")
            named = _read_name(name)
            if named is None or not is_slug(slug):
                return None
            about, _, content = (self._folder(slug) / name).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        share = _read_line(slug, named, about)
        return None if share is None else (share, content)

    def of(self, slug: str) -> list[Share]:
        """Return the copies of a notebook, the newest first."""
        found = []
        for one in sorted(self._named(slug), key=lambda one: one.made, reverse=True):
            place = self._folder(slug) / one.name
            with contextlib.suppress(FileNotFoundError), place.open("rb") as reader:
                found.append(_read_line(slug, one, reader.readline()))
        return [one for one in found if one is not None]

    def remove(self, slug: str, which: Callable[[Named], bool]) -> bool:
        """Delete copies of a notebook; return whether there were any."""
        meant = [one for one in self._named(slug) if which(one)]
        for one in meant:
            self._delete(slug, one)
        return bool(meant)

    def forget(self, slug: str) -> None:
        """Delete all copies of a notebook."""
        self.remove(slug, lambda one: True)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder(slug))

    def expire(self, over: datetime | None, abandoned: datetime) -> list[str]:
        """Delete what is over; return the notebooks that have, or had, copies.

        Args:
            over: copies that expire by then go; None: all.
            abandoned: files that somebody began to write before then go too.
        """
        slugs = [name for name in _names_in(self._notebooks) if is_slug(name)]
        for slug in slugs:
            self.remove(slug, lambda one: over is None or one.expires <= over)
            _sweep(self._folder(slug), abandoned.timestamp())
        for digest in filter(_DIGEST.fullmatch, _names_in(self._addresses)):
            address = self._addresses / digest
            if not address.exists():
                address.unlink(missing_ok=True)
        return slugs

    def _folder(self, slug: str) -> Path:
        assert is_slug(slug)
        return self._notebooks / slug

    def _named(self, slug: str) -> list[Named]:
        found = map(_read_name, _names_in(self._folder(slug)))
        return [one for one in found if one is not None]

    def _delete(self, slug: str, one: Named) -> None:
        (self._addresses / one.digest).unlink(missing_ok=True)
        (self._folder(slug) / one.name).unlink(missing_ok=True)


def _name_of(share: Share) -> str:
    made, expires = (round(one.timestamp() * 1000) for one in (share.made, share.expires))
    return f"{made}-{expires}-{share.digest}"


def _read_name(name: str) -> Named | None:
    if (found := _NAME.fullmatch(name)) is None:
        return None
    made, expires = (datetime.fromtimestamp(int(found[at]) / 1000, UTC) for at in (1, 2))
    return Named(name, made, expires, found[3])


def _read_line(slug: str, named: Named, about: bytes) -> Share | None:
    """Return what a file's first line says; None where it is damaged."""
    try:
        told = json.loads(about)
        project, file = str(told["project"]), str(told["file"])
    except (ValueError, KeyError, TypeError):
        return None
    return Share(named.digest, slug, project, file, named.made, named.expires)


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def _sweep(folder: Path, before: float) -> None:
    """Delete what somebody was writing who was killed, and the folder if nothing is in it."""
    for name in _names_in(folder):
        with contextlib.suppress(FileNotFoundError):
            if name.startswith(_NEW) and (folder / name).stat().st_mtime < before:
                (folder / name).unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _write(place: Path, content: bytes) -> None:
    """Write a file that is there completely or not at all."""
    for tries_left in reversed(range(_TRIES)):
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _new_file(place) as handle, os.fdopen(handle, "wb", closefd=False) as writer:
                writer.write(content)
                writer.flush()
                os.fsync(handle)
            return
        except FileNotFoundError:
            # The folder was empty until now, and was just being swept away.
            if not tries_left:
                raise


@contextlib.contextmanager
def _new_file(place: Path) -> Iterator[int]:
    """Give a descriptor of a new file, which gets its name at the end."""
    new = place.with_name(f"{_NEW}{secrets.token_hex(8)}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield handle
        new.replace(place)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
