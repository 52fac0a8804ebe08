"""The GDBM file format, through libgdbm.so.6: build a new file, read one, carve a damaged one.

libgdbm calls `exit` when a write fails, and may crash or loop on damaged files. So new files are
built in memory, where no write fails, and `read` is for the helper process alone (helper.py).
Nothing here knows what the entries mean.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from routes.errors import GdbmMissing

Entry = tuple[bytes, bytes]

_SONAME = "libgdbm.so.6"
# Values of gdbm.h.
_READER, _WRITER, _NEWDB = 0, 1, 3
_NOLOCK, _NOMMAP, _CLOEXEC, _XVERIFY = 0x40, 0x80, 0x100, 0x800
_INSERT = 0
_ITEM_NOT_FOUND = 15
CANT_BE_READER = 9
_LONGEST_KEY = 16384
# A bucket's element (bucket_element of gdbmdefs.h), with 64-bit file offsets.
_ELEMENT = struct.Struct("=i4sqii")
_ELEMENT_LIKE = re.compile(
    rb"(?=(...[\x00-\x7f].{4}.{5}\x00\x00\x00...\x00...\x00))"
    if struct.pack("=h", 1)[0]
    else rb"(?=([\x00-\x7f].{3}.{4}\x00\x00\x00.{5}\x00...\x00...))",
    re.DOTALL,
)


class GdbmError(Exception):
    """What libgdbm said. `code` is its error number (gdbm_error of gdbm.h), 0 for ours."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Datum(ctypes.Structure):
    _fields_ = (("dptr", ctypes.c_void_p), ("dsize", ctypes.c_int))


@functools.cache
def loaded() -> Library:
    """Return libgdbm, which is looked for once. Raises GdbmMissing."""
    return Library()


class Library:
    """libgdbm with its prototypes.

    Raises:
        GdbmMissing: it is not installed.
    """

    def __init__(self) -> None:
        try:
            gdbm = ctypes.CDLL(_SONAME)
        except OSError as error:
            raise GdbmMissing from error
        handle, datum, number = ctypes.c_void_p, _Datum, ctypes.c_int
        text = ctypes.c_char_p
        self.open = _prototype(gdbm.gdbm_open, handle, text, number, number, number, handle)
        self.fd_open = _prototype(gdbm.gdbm_fd_open, handle, number, text, number, number, handle)
        self.close = _prototype(gdbm.gdbm_close, None, handle)
        self.sync = _prototype(gdbm.gdbm_sync, number, handle)
        self.store = _prototype(gdbm.gdbm_store, number, handle, datum, datum, number)
        self.fetch = _prototype(gdbm.gdbm_fetch, datum, handle, datum)
        self.first = _prototype(gdbm.gdbm_firstkey, datum, handle)
        self.next = _prototype(gdbm.gdbm_nextkey, datum, handle, datum)
        self.count = _prototype(gdbm.gdbm_count, number, handle, ctypes.POINTER(ctypes.c_ulonglong))
        self.errno = _prototype(gdbm.gdbm_errno_location, ctypes.POINTER(number))
        self.strerror = _prototype(gdbm.gdbm_strerror, text, number)
        self.free = _prototype(ctypes.CDLL(None).free, None, ctypes.c_void_p)

    def error(self) -> GdbmError:
        """Return the error of the last call of this thread."""
        code = int(self.errno().contents.value)
        return GdbmError(code, (self.strerror(code) or b"").decode("ascii", "replace").lower())

    def taken(self, datum: _Datum) -> bytes | None:
        """Return the bytes of a datum that libgdbm allocated, and free it; None for none."""
        if not datum.dptr:
            return None
        try:
            return ctypes.string_at(datum.dptr, datum.dsize)
        finally:
            self.free(datum.dptr)


class Reader:
    """An open file, read-only, with libgdbm's own consistency checks and shared lock on.

    To be used in a helper process alone: see the module's docstring.

    Raises:
        GdbmMissing: no library.
        GdbmError: it cannot be opened; code CANT_BE_READER while somebody writes it.
    """

    def __init__(self, path: Path) -> None:
        self._library = loaded()
        flags = _READER | _NOMMAP | _CLOEXEC | _XVERIFY
        self._handle = self._library.open(os.fsencode(path), 0, flags, 0, None)
        if not self._handle:
            raise self._library.error()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._library.close(self._handle)

    def count(self) -> int:
        """Return the number of entries that the buckets claim to hold. Raises GdbmError."""
        number = ctypes.c_ulonglong()
        if self._library.count(self._handle, ctypes.byref(number)) != 0:
            raise self._library.error()
        return number.value

    def __iter__(self) -> Iterator[bytes]:
        """Yield every key in the file's order. Raises GdbmError."""
        key = self._library.taken(self._library.first(self._handle))
        while key is not None:
            yield key
            key = self._library.taken(self._library.next(self._handle, _datum(key)))
        if (error := self._library.error()).code not in (0, _ITEM_NOT_FOUND):
            raise error

    def fetch(self, key: bytes) -> bytes | None:
        """Return a key's value; None when it is not found by its hash."""
        return self._library.taken(self._library.fetch(self._handle, _datum(key)))


class Growing:
    """A new file in memory that is added to, and of which complete files are made.

    Raises:
        GdbmMissing: no library.
        GdbmError: libgdbm refuses.
    """

    def __init__(self) -> None:
        self._library = loaded()
        self._memory = _in_memory()
        try:
            self._handle = _opened(self._library, os.dup(self._memory), _NEWDB)
        except BaseException:
            os.close(self._memory)
            raise

    def add(self, key: bytes, value: bytes) -> None:
        """Add an entry. Raises GdbmError: the key is there, or libgdbm refuses."""
        _store(self._library, self._handle, key, value)

    def with_more(self, key: bytes, value: bytes) -> memoryview:
        """Return a file with one more entry, as bytes; this one stays without it."""
        if self._library.sync(self._handle) != 0:
            raise self._library.error()
        descriptor = _in_memory()
        try:
            _copy(self._memory, descriptor)
            handle = _opened(self._library, os.dup(descriptor), _WRITER)
            try:
                _store(self._library, handle, key, value)
            finally:
                self._library.close(handle)
            return _bytes_of(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Give the memory back."""
        self._library.close(self._handle)
        os.close(self._memory)


def build(entries: Iterable[Entry]) -> memoryview:
    """Return a new GDBM file with `entries`, as bytes.

    Raises:
        GdbmMissing: no library.
        GdbmError: a key comes twice, or libgdbm refuses.
    """
    library, descriptor = loaded(), _in_memory()
    try:
        handle = _opened(library, os.dup(descriptor), _NEWDB)
        try:
            for key, value in entries:
                _store(library, handle, key, value)
        finally:
            library.close(handle)
        return _bytes_of(descriptor)
    finally:
        os.close(descriptor)


def carve(data: bytes) -> Iterator[Entry]:
    """Yield the entries that the raw bytes of a damaged file still hold, in no order.

    Looks for bucket elements anywhere and believes those whose 31-bit hash is that of the key
    they point to. Values are not covered by any hash; an old value of a key that was replaced in
    place may come out as well. Files of this machine's byte order only.
    """
    for match in _ELEMENT_LIKE.finditer(data):
        hashed, start, pointer, key_size, data_size = _ELEMENT.unpack(match[1])
        middle, end = pointer + key_size, pointer + key_size + data_size
        if not 0 < key_size <= _LONGEST_KEY or end > len(data):
            continue
        key = data[pointer:middle]
        if key[:4] == start[: len(key[:4])] and _hash(key) == hashed:
            yield key, data[middle:end]


def _prototype(function: Any, result: Any, *arguments: Any) -> Callable[..., Any]:
    function.restype, function.argtypes = result, arguments
    called: Callable[..., Any] = function
    return called


def _datum(item: bytes) -> _Datum:
    return _Datum(ctypes.cast(ctypes.c_char_p(item), ctypes.c_void_p), len(item))


def _in_memory() -> int:
    return os.memfd_create("nbgate-routes", os.MFD_CLOEXEC)


def _opened(library: Library, descriptor: int, mode: int) -> Any:
    """Return a handle of a file, which owns the descriptor from now on."""
    handle = library.fd_open(descriptor, b"routes", 0, mode | _NOLOCK | _CLOEXEC, None)
    if not handle:
        error = library.error()
        os.close(descriptor)
        raise error
    return handle


def _store(library: Library, handle: Any, key: bytes, value: bytes) -> None:
    if library.store(handle, _datum(key), _datum(value), _INSERT) != 0:
        raise GdbmError(0, f"key {key!a} could not be stored, or comes twice")


def _copy(source: int, target: int) -> None:
    position, size = 0, os.fstat(source).st_size
    while position < size:
        position += os.sendfile(target, source, position, size - position)
    os.lseek(target, 0, os.SEEK_SET)  # libgdbm reads from where a descriptor is


def _bytes_of(descriptor: int) -> memoryview:
    return memoryview(os.pread(descriptor, os.fstat(descriptor).st_size, 0))


def _hash(key: bytes) -> int:
    """Return libgdbm's hash of a key (hash.c: _gdbm_hash)."""
    value = (0x238F13AF * len(key)) & 0xFFFFFFFF
    for index, code in enumerate(key):
        value = (value + (code << (index * 5 % 24))) & 0x7FFFFFFF
    return (1103515243 * value + 12345) & 0x7FFFFFFF
