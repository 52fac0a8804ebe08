"""The helper process: what must not happen in the gateway's own happens here.

Reading a file that nobody vouches for can crash or hang libgdbm, and building a large file holds
the interpreter. `read PATH` writes the entries to standard output; `build` is told over a socket,
its standard input, what changes, and writes the content of files to descriptors that come with it
(builder.py, mirror.py). The helper never touches the published file: one whose gateway was killed
can do no harm. An entry on the wire is two big-endian 32-bit lengths, the key, the value; a value
of `_GONE` bytes says that the key goes, `_END` ends it.
"""

from __future__ import annotations

import resource
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from routes import gdbm
from routes.errors import DamagedDatabase, DatabaseInUse, GdbmMissing
from routes.seal import SEAL, seal_of

ALL, CHANGES = b"A", b"C"
"""What comes: every entry, or changes of those that came before."""

_LENGTHS = struct.Struct(">II")
_GONE = 0xFFFFFFFF
_END = _LENGTHS.pack(_GONE, _GONE)
_READ_SECONDS = 10.0
_READ_BYTES_PER_SECOND = 500_000
_READ_MEMORY = 2**29
_WRITER_SECONDS = 2.0
_LONGEST_COMPLAINT = 200
_CHUNK = 300

_EXIT_FAILED, _EXIT_IN_USE = 1, 3


def read(path: Path) -> list[gdbm.Entry]:
    """Return all entries of a file, as they are, without judging their meaning.

    Raises:
        DamagedDatabase: it is no sound GDBM file.
        DatabaseInUse: somebody writes it in place now.
        GdbmMissing: libgdbm is not installed.
        OSError: it cannot be read at all.
    """
    gdbm.loaded()
    seconds = _READ_SECONDS + _readable_size(path) / _READ_BYTES_PER_SECOND
    words = command("read", str(path), str(round(seconds)))
    try:
        result = subprocess.run(words, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise DamagedDatabase(path, "reading it does not come to an end") from None
    if result.returncode == _EXIT_IN_USE:
        raise DatabaseInUse(path, "a program that writes it in place")
    if result.returncode != 0:
        raise DamagedDatabase(path, _complaint(result.returncode, result.stderr))
    try:
        return list(unpack(result.stdout))
    except ValueError:
        raise DamagedDatabase(path, "reading it ended half-way") from None


def content(entries: Mapping[bytes, bytes]) -> memoryview:
    """Return a sealed file with `entries`, as bytes. Raises GdbmMissing, GdbmError."""
    return gdbm.build([*entries.items(), (SEAL, seal_of(entries))])


def packed(entries: Iterable[tuple[bytes, bytes | None]]) -> Iterator[bytes]:
    """Yield entries in their form on the wire, in pieces that are soon made."""
    parts: list[bytes] = []
    for key, value in entries:
        if value is None:
            parts += (_LENGTHS.pack(len(key), _GONE), key)
        else:
            parts += (_LENGTHS.pack(len(key), len(value)), key, value)
        if len(parts) >= _CHUNK:
            yield b"".join(parts)
            parts.clear()
    yield b"".join(parts) + _END


def read_changes(pieces: BinaryIO) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield what `packed` made, read from a stream. Raises EOFError where it is cut off."""
    while True:
        key_size, value_size = _LENGTHS.unpack(_exactly(pieces, _LENGTHS.size))
        if key_size == _GONE:
            return
        key = _exactly(pieces, key_size)
        yield key, None if value_size == _GONE else _exactly(pieces, value_size)


def unpack(data: bytes) -> Iterator[gdbm.Entry]:
    """Yield the entries of `data`. Raises ValueError where it is cut off."""
    position = 0
    while len(data) >= position + _LENGTHS.size:
        start = position + _LENGTHS.size
        if data[position:start] == _END:
            return
        key_size, value_size = _LENGTHS.unpack_from(data, position)
        position = start
        middle, end = position + key_size, position + key_size + value_size
        yield data[position:middle], data[middle:end]
        position = end
    raise ValueError("entries end half-way")


def main(words: list[str]) -> int:
    """Run in the helper process; complaints go to standard error as one line."""
    try:
        if words[0] == "read":
            _bound_yourself(Path(words[1]), int(words[2]))
            sys.stdout.buffer.writelines(packed(_read_all(Path(words[1]))))
        else:
            from routes.mirror import serve  # noqa: PLC0415 - it needs this module

            serve(socket.socket(fileno=0))
        sys.stdout.buffer.flush()
    except (gdbm.GdbmError, GdbmMissing, OSError, EOFError, MemoryError) as error:
        sys.stderr.write(f"{error or type(error).__name__}\n")
        in_use = isinstance(error, gdbm.GdbmError) and error.code == gdbm.CANT_BE_READER
        return _EXIT_IN_USE if in_use else _EXIT_FAILED
    return 0


def _readable_size(path: Path) -> int:
    """Return the size of a file, in bytes, that is one and can be opened; see `read`."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DamagedDatabase(path, "there is no such file") from None
    if not stat.S_ISREG(status.st_mode):
        raise DamagedDatabase(path, "it is no regular file")
    if status.st_size == 0:
        raise DamagedDatabase(path, "it is empty; not even an empty route file has 0 bytes")
    with path.open("rb"):
        return status.st_size


def command(*words: str) -> list[str]:
    """Return the command line of a helper."""
    # -I -S: a short start, and nothing but the standard library and this package in sight.
    root = str(Path(__file__).resolve().parent.parent)
    program = f"import sys; sys.path.insert(0, {root!r}); from routes.helper import main; "
    return [sys.executable, "-I", "-S", "-c", program + "sys.exit(main(sys.argv[1:]))", *words]


def _exactly(pieces: BinaryIO, size: int) -> bytes:
    data = pieces.read(size)
    if len(data) < size:
        raise EOFError("entries end half-way")
    return data


def _complaint(status: int, stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    if lines:
        return lines[-1][:_LONGEST_COMPLAINT]
    return f"the helper process ended with status {status} over it"


def _bound_yourself(path: Path, seconds: int) -> None:
    """Bound what a damaged file can cost, even when nobody is left to end this process."""
    memory = _READ_MEMORY + 8 * path.stat().st_size
    for kind, bound in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds + 1),
        (resource.RLIMIT_AS, memory),
    ):
        hard = resource.getrlimit(kind)[1]
        soft = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (soft, hard))


def _opened(path: Path) -> gdbm.Reader:
    deadline = time.monotonic() + _WRITER_SECONDS
    while True:
        try:
            return gdbm.Reader(path)
        except gdbm.GdbmError as error:
            if error.code != gdbm.CANT_BE_READER or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _read_all(path: Path) -> list[gdbm.Entry]:
    with _opened(path) as reader:
        claimed = reader.count()
        entries: dict[bytes, bytes] = {}
        for key in reader:
            if len(entries) >= claimed or key in entries:
                raise gdbm.GdbmError(0, "its keys come round in a circle")
            value = reader.fetch(key)
            if value is None:
                raise gdbm.GdbmError(0, f"key {key[:80]!a} is listed but not found")
            entries[key] = value
        if len(entries) != claimed:
            raise gdbm.GdbmError(0, f"it claims {claimed} entries but lists {len(entries)}")
    return list(entries.items())
