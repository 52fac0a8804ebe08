"""The GDBM file format, through libgdbm.so.6: build a new file, read one, carve a damaged one.

libgdbm calls `exit` when a write fails, and may crash or loop on damaged files. So new files are
built in memory, where no write fails, and `read` is for the helper process alone (helper.py).
Nothing here knows what the entries mean.
"""

from __future__ import annotations

import ctypes
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
_READER, _NEWDB = 0, 3
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
        self._library = Library()
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


def build(entries: Iterable[Entry]) -> memoryview:
    """Return a new GDBM file with `entries`, as bytes.

    Raises:
        GdbmMissing: no library.
        GdbmError: a key comes twice, or libgdbm refuses.
    """
    descriptor = os.memfd_create("nbgate-routes", os.MFD_CLOEXEC)
    try:
        _fill(Library(), os.dup(descriptor), entries)
        size = os.fstat(descriptor).st_size
        return memoryview(os.pread(descriptor, size, 0))
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


def _fill(library: Library, descriptor: int, entries: Iterable[Entry]) -> None:
    handle = library.fd_open(descriptor, b"routes", 0, _NEWDB | _NOLOCK | _CLOEXEC, None)
    if not handle:
        error = library.error()
        os.close(descriptor)
        raise error
    try:
        for key, value in entries:
            if library.store(handle, _datum(key), _datum(value), _INSERT) != 0:
                raise GdbmError(0, f"key {key!a} could not be stored, or comes twice")
    finally:
        library.close(handle)


def _hash(key: bytes) -> int:
    """Return libgdbm's hash of a key (hash.c: _gdbm_hash)."""
    value = (0x238F13AF * len(key)) & 0xFFFFFFFF
    for index, code in enumerate(key):
        value = (value + (code << (index * 5 % 24))) & 0x7FFFFFFF
    return (1103515243 * value + 12345) & 0x7FFFFFFF
