"""ApacheDB: the route file as a mapping, with validated ASCII and atomic publish.

Reading is from memory, loaded once and verified. Each change outside `batch` is one publish of
the whole file; see publishing.py for why.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Self

from routes import gdbm, helper, publishing
from routes.errors import DamagedDatabase, DatabaseInUse
from routes.keys import InvalidKey, canonical_key, canonical_target, checked_text

_IN_PROCESS = 1000
"""Entries. Building a larger file holds the interpreter for more than some ten milliseconds."""


class ApacheDB(MutableMapping[str | bytes, bytes]):
    """A GDBM file that httpd's RewriteMap, `dbm.gnu` and `httxt2dbm` read; one writer at a time.

    Keys and values may be given as str or bytes; iterating yields bytes. Entries that somebody
    else wrote are kept as they are, even where they could not be set here.

    Args:
        path: the file; made, with nothing in it, where there is none.
        mode: permission bits of the file.
        checked: brings a value into its form, or raises; targets unless told otherwise.

    Raises:
        DamagedDatabase: the file cannot be trusted; it is left untouched.
        DatabaseInUse: another process has it open for writing.
        GdbmMissing: libgdbm is not installed.
    """

    def __init__(
        self,
        path: Path | str,
        mode: int = 0o644,
        checked: Callable[[str | bytes], str] = canonical_target,
    ) -> None:
        self.path = Path(path).absolute()
        self._mode = mode
        self._checked = checked
        self._batch: dict[bytes, bytes] | None = None
        self._entries: dict[bytes, bytes] = {}
        self._lock = _locked(self.path)
        try:
            publishing.remove_leftovers(self.path)
            if self.path.exists():
                self._entries = read(self.path)
            else:
                self.publish({})
        except BaseException:
            self.close()
            raise

    @staticmethod
    def convert_to_bytes(item: str | bytes) -> bytes:
        """Return `item` as ASCII bytes.

        Raises:
            InvalidKey: it is not ASCII; the text says why.
        """
        if not item.isascii():
            raise InvalidKey(item, "is not ASCII; percent-encode what is not (é is %C3%A9)")
        return item.encode("ascii") if isinstance(item, str) else bytes(item)

    @classmethod
    def secrets(cls, path: Path | str) -> Self:
        """Open a map of secrets: any ASCII text as value, readable by owner and group alone."""
        return cls(path, mode=0o640, checked=checked_text)

    def key(self, item: str | bytes) -> bytes:
        """Return the form in which a key is stored. Raises InvalidKey."""
        return canonical_key(item).encode("ascii")

    def value(self, item: str | bytes) -> bytes:
        """Return the form in which a value is stored. Raises InvalidTarget."""
        return self._checked(item).encode("ascii")

    @property
    def entries(self) -> dict[bytes, bytes]:
        """A copy of all entries, those of an open batch included."""
        return dict(self._current)

    @property
    def _current(self) -> dict[bytes, bytes]:
        return self._entries if self._batch is None else self._batch

    def __getitem__(self, key: str | bytes) -> bytes:
        return self._current[self._known(key)]

    def __setitem__(self, key: str | bytes, value: str | bytes) -> None:
        stored = (self.key(key), self.value(value))
        self._change({**self._current, stored[0]: stored[1]})

    def __delitem__(self, key: str | bytes) -> None:
        left = dict(self._current)
        del left[self._known(key)]
        self._change(left)

    def __iter__(self) -> Iterator[bytes]:
        return iter(tuple(self._current))

    def __len__(self) -> int:
        return len(self._current)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def batch(self) -> Iterator[Self]:
        """Publish all changes made inside as one; none of them where an exception leaves it."""
        if self._batch is not None:
            raise RuntimeError("a batch is open already")
        self._batch = dict(self._entries)
        try:
            yield self
            changed = self._batch
        finally:
            self._batch = None
        if changed != self._entries:
            self.publish(changed)

    def publish(self, entries: Mapping[bytes, bytes]) -> None:
        """Replace the file's content; `entries` are in stored form.

        Raises:
            BuildFailed: nothing has changed.
        """
        entries = dict(entries)
        _publish(self.path, entries, self._mode)
        self._entries = entries

    def reload(self) -> None:
        """Read the file again, after somebody else wrote it. Raises DamagedDatabase."""
        self._entries = read(self.path)

    def close(self) -> None:
        """Let another writer have the file."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _known(self, key: str | bytes) -> bytes:
        raw = self.convert_to_bytes(key)
        if raw in self._current:
            return raw
        with contextlib.suppress(InvalidKey):
            return self.key(raw)
        return raw

    def _change(self, entries: dict[bytes, bytes]) -> None:
        if self._batch is not None:
            self._batch = entries
        elif entries != self._entries:
            self.publish(entries)


def read(path: Path) -> dict[bytes, bytes]:
    """Return the entries of a route file, verified by its seal if it has one.

    Raises:
        DamagedDatabase: it is not there, no GDBM file, or not what was published.
    """
    entries = dict(helper.read(path))
    seal = entries.pop(publishing.SEAL, None)
    if seal is not None and seal != publishing.seal_of(entries):
        raise DamagedDatabase(path, "its content is not what was published")
    return entries


def check(path: Path) -> list[str]:
    """Return what is wrong with a route file, one line each; empty when it is sound."""
    try:
        entries = read(path)
    except DamagedDatabase as error:
        return [f"{path}: {error.reason}"]
    return [finding for entry in sorted(entries.items()) if (finding := _finding(*entry))]


def salvage(path: Path) -> dict[bytes, bytes]:
    """Return what is still readable of a route file; never raises DamagedDatabase.

    Of a damaged file, entries that could be set here; its values are not proven.
    """
    try:
        return read(path)
    except DamagedDatabase:
        found = dict(gdbm.carve(path.read_bytes()))
    found.pop(publishing.SEAL, None)
    return {key: value for key, value in found.items() if not _finding(key, value)}


def keep_damaged(path: Path) -> Path | None:
    """Copy a damaged file beside itself; return the copy, or None when the file is sound."""
    if not path.exists() or not check(path):
        return None
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    shutil.copy2(path, kept)
    return kept


def mend(path: Path) -> Path | None:
    """Replace a damaged file by what is still readable of it.

    Returns:
        Where the damaged one is kept; None when the file was sound or not there.

    Raises:
        DatabaseInUse: a gateway has it; that one can rebuild it.
    """
    lock = _locked(path)
    try:
        kept = keep_damaged(path)
        if kept is not None:
            _publish(path, salvage(path), 0o644)
    finally:
        os.close(lock)
    return kept


def _publish(path: Path, entries: Mapping[bytes, bytes], mode: int) -> None:
    sealed = [*entries.items(), (publishing.SEAL, publishing.seal_of(entries))]
    build = publishing.publish if len(entries) <= _IN_PROCESS else helper.build
    build(path, sealed, mode)


def _finding(key: bytes, value: bytes) -> str:
    try:
        if (canonical := canonical_key(key)) != key.decode("ascii"):
            return f"route key {key!a} is not in canonical form; write {canonical!r}"
        canonical_target(value)
    except ValueError as error:
        return f"{key!a}: {error}"
    return ""


def _locked(path: Path) -> int:
    lock = path.with_name(path.name + ".lock")
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        os.close(handle)
        raise DatabaseInUse(path, f"process {holder}" if holder else "another process") from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle
