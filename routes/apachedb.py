"""ApacheDB: the route file as a mapping, with validated ASCII and atomic publish.

Reading is from memory, loaded once and verified. Each change outside `batch` is one publish of
the whole file; see publishing.py for why.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Self

from routes import publishing, secretmap
from routes.builder import Builder
from routes.content import Changes, Content
from routes.errors import DamagedDatabase, DatabaseInUse, GdbmMissing
from routes.files import (
    check,
    copy_aside,
    keep_damaged,
    lock_for_writing,
    mend,
    read,
    real,
    salvage,
)
from routes.keys import InvalidKey, canonical_key, canonical_target, checked_text
from routes.place import Place
from routes.rests import rest

__all__ = [
    "ApacheDB",
    "DamagedDatabase",
    "DatabaseInUse",
    "GdbmMissing",
    "check",
    "keep_damaged",
    "mend",
    "read",
    "salvage",
]


class ApacheDB(MutableMapping[str | bytes, bytes]):
    """A GDBM file that httpd's RewriteMap, `dbm.gnu` and `httxt2dbm` read; one writer at a time.

    Keys and values may be given as str or bytes; iterating yields bytes. Entries that somebody
    else wrote are kept, before this was opened and after: keys that have a canonical form get it,
    the others stay in the file, but cannot be seen here (see `unusable`).

    To be used from one thread at a time; `entries` and lookups are safe from any thread while
    another one publishes.

    Attributes:
        path: the file.
        builder: makes its content when it is large.
        place: where it is put; closed while the file must not come back as it was.

    Args:
        path: the file; made, with nothing in it, where there is none.
        mode: permission bits of the file.
        checked: brings a value into its form, or raises; targets unless told otherwise.
        derived: whether its writer can make all of it anew; a rebuild then keeps nothing else.

    Raises:
        DamagedDatabase: the file cannot be trusted; it is left untouched.
        DatabaseInUse: another process has it open for writing.
        GdbmMissing: libgdbm is not installed.
        OSError: the file or its folder cannot be used.
    """

    def __init__(
        self,
        path: Path | str,
        mode: int = 0o644,
        checked: Callable[[str | bytes], str] = canonical_target,
        derived: bool = False,
    ) -> None:
        self.path = real(path)
        self._mode = mode
        self._derived = derived
        self._checked = checked
        self._batch: dict[bytes, bytes] | None = None
        self._entries: dict[bytes, bytes] = {}
        self._others: dict[bytes, bytes] = {}
        # Keys of the file that are in neither, for they were in another form; a name of what is
        # in both, and which version of the file that is.
        self._respelt: frozenset[bytes] = frozenset()
        self._content = object()
        self._stamp: publishing.Stamp | None = None
        self.builder = Builder()
        self.place = Place()
        self._lock = lock_for_writing(self.path)
        try:
            publishing.remove_leftovers(self.path)
            if self.path.exists():
                self.reload()
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
        return cls(path, mode=secretmap.MODE, checked=checked_text, derived=True)

    def key(self, item: str | bytes) -> bytes:
        """Return the form in which a key is stored. Raises InvalidKey."""
        return self.convert_to_bytes(canonical_key(item))

    def value(self, item: str | bytes) -> bytes:
        """Return the form in which a value is stored. Raises InvalidTarget."""
        return self._checked(item).encode("ascii")

    @property
    def entries(self) -> dict[bytes, bytes]:
        """A copy of all entries, those of an open batch included."""
        return dict(self._current)

    @property
    def unusable(self) -> dict[bytes, bytes]:
        """What others wrote into the file that can be no route; kept there."""
        return dict(self._others)

    @property
    def _current(self) -> dict[bytes, bytes]:
        return self._entries if self._batch is None else self._batch

    def __getitem__(self, key: str | bytes) -> bytes:
        return self._current[self.key(key)]

    def __setitem__(self, key: str | bytes, value: str | bytes) -> None:
        stored, checked = self.key(key), self.value(value)
        if self._batch is not None:
            self._batch[stored] = checked
        else:
            self.change({stored: checked})

    def __delitem__(self, key: str | bytes) -> None:
        stored = self.key(key)
        if self._batch is not None:
            del self._batch[stored]
        else:
            if stored not in self._entries:
                raise KeyError(stored)
            self.change({stored: None})

    def __iter__(self) -> Iterator[bytes]:
        return iter(tuple(self._current))

    def __len__(self) -> int:
        return len(self._current)

    def __repr__(self) -> str:
        return f"ApacheDB({str(self.path)!r}, {len(self)} routes)"

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

        What another program has added to the file since it was read is kept.

        Raises:
            BuildFailed, DamagedDatabase, DatabaseInUse: nothing has changed.
        """
        with publishing.settled(self.path):
            added, others = _split(self._added_by_others())
            self._write({**added, **entries}, {**self._others, **others})

    def change(self, changes: Changes) -> None:
        """Publish the file with some changes, in stored form; see `publish`."""
        with publishing.settled(self.path):
            added, others = _split(self._added_by_others())
            wanted = {**added, **changes}
            content = Content(
                (self._others, self._entries), {**others, **wanted}, before=self._content
            )
            rest()
            self._put_in_place(content)
        # One by one: nobody may be kept waiting while a large table is copied.
        for key, value in wanted.items():
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value
        self._others.update(others)

    def pending(self, changes: Changes) -> Changes:
        """Return those of some changes, in stored form, that have not been made."""
        return {key: new for key, new in changes.items() if self._entries.get(key) != new}

    def rebuild(self, entries: Mapping[bytes, bytes]) -> Path | None:
        """Write a fresh file with `entries`, and what only the present file has, if usable.

        Returns:
            Where the present file is kept, if something was wrong with it; else None.
        """
        with publishing.settled(self.path):
            if self._derived:
                return self._write_afresh(entries)
            kept = keep_damaged(self.path)
            present = salvage(self.path).items() if self.path.exists() else ()
            added, _ = _split({key: value for key, value in present if not self._knows(key)})
            self._write({**added, **entries}, {})
        return kept

    def reload(self) -> None:
        """Read the file again, after somebody else wrote it.

        Raises:
            DamagedDatabase, DatabaseInUse, OSError: what was read before stays.
        """
        stamp = publishing.stamp_of(self.path)
        raw = read(self.path)
        self._entries, self._others = _split(raw)
        self._respelt = frozenset(raw) - self._entries.keys() - self._others.keys()
        self._content, self._stamp = object(), stamp

    def close(self) -> None:
        """Let another writer have the file."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self.builder.close()

    def _write(self, usable: dict[bytes, bytes], others: dict[bytes, bytes]) -> None:
        self._put_in_place(Content((others, usable)))
        self._entries, self._others = usable, others

    def _put_in_place(self, content: Content) -> None:
        if self._lock < 0:
            raise ValueError(f"{self!r} is closed")
        path, mode, place = self.path, self._mode, self.place
        self._stamp = publishing.publish(path, content, mode, self._stamp, self.builder, place)
        self._content, self._respelt = content.after, frozenset()

    def _write_afresh(self, entries: Mapping[bytes, bytes]) -> Path | None:
        kept = None
        if self.path.is_file() and secretmap.faults(self.path):
            kept = copy_aside(self.path)
            kept.chmod(self._mode)
        self._write(dict(entries), {})
        return kept

    def _added_by_others(self) -> dict[bytes, bytes]:
        stamp = publishing.stamp_of(self.path)
        if stamp is None or stamp == self._stamp:
            return {}
        return {key: value for key, value in read(self.path).items() if not self._knows(key)}

    def _knows(self, key: bytes) -> bool:
        """Whether a raw key was in the file when it was last read or written."""
        return key in self._entries or key in self._others or key in self._respelt


def _split(raw: Mapping[bytes, bytes]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Return the entries whose keys can be keys, in canonical form, and the others as they are.

    Where a key comes in two forms, the canonical one wins.
    """
    usable: dict[bytes, bytes] = {}
    others: dict[bytes, bytes] = {}
    for key, value in raw.items():
        try:
            stored = canonical_key(key).encode("ascii")
        except InvalidKey:
            others[key] = value
        else:
            if stored == key or stored not in raw:
                usable[stored] = value
    return usable, others
