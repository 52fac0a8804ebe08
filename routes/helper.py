"""The helper process: what must not happen in the gateway's own happens here.

Reading a file that nobody vouches for can crash or hang libgdbm, and building a large file holds
the interpreter. `read PATH` writes the entries to standard output; `build` takes them from
standard input and writes the file's content to standard output. The helper never touches the
published file: one whose gateway was killed can do no harm. An entry on the wire is two
big-endian 32-bit lengths, the key, the value; `_END` ends it.
"""

from __future__ import annotations

import contextlib
import resource
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from routes import gdbm
from routes.errors import BuildFailed, DamagedDatabase, DatabaseInUse, GdbmMissing
from routes.seal import SEAL, seal_of

_LENGTHS = struct.Struct(">II")
_END = _LENGTHS.pack(0xFFFFFFFF, 0xFFFFFFFF)
_BUILD_SECONDS = 300.0
_READ_SECONDS = 10.0
_READ_BYTES_PER_SECOND = 500_000
_READ_MEMORY = 2**29
_WRITER_SECONDS = 2.0
_LONGEST_COMPLAINT = 200
_CHUNK = 1000

_EXIT_FAILED, _EXIT_IN_USE = 1, 3


def read(path: Path) -> list[gdbm.Entry]:
    """Return all entries of a file, as they are, without judging their meaning.

    Raises:
        DamagedDatabase: it is no sound GDBM file.
        DatabaseInUse: somebody writes it in place now.
        GdbmMissing: libgdbm is not installed.
        OSError: it cannot be read at all.
    """
    gdbm.Library()
    seconds = _READ_SECONDS + _readable_size(path) / _READ_BYTES_PER_SECOND
    command = _command("read", str(path), str(round(seconds)))
    try:
        result = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
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


def build(path: Path, entries: Mapping[bytes, bytes], file: BinaryIO) -> None:
    """Write the content of a sealed file with `entries` to `file`.

    Raises:
        BuildFailed: it could not be made. `path` is only named in it.
        GdbmMissing: libgdbm is not installed.
    """
    gdbm.Library()
    with subprocess.Popen(
        _command("build"), stdin=subprocess.PIPE, stdout=file, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        guard = threading.Timer(_BUILD_SECONDS, process.kill)
        guard.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.writelines(packed(entries.items()))
                process.stdin.close()
            complaint = process.stderr.read()
        except BaseException:
            process.kill()
            raise
        finally:
            guard.cancel()
    if process.returncode != 0:
        raise BuildFailed(path, _complaint(process.returncode, complaint))


def content(entries: Mapping[bytes, bytes]) -> memoryview:
    """Return a sealed file with `entries`, as bytes. Raises GdbmMissing, GdbmError."""
    return gdbm.build([*entries.items(), (SEAL, seal_of(entries))])


def packed(entries: Iterable[gdbm.Entry]) -> Iterator[bytes]:
    """Yield entries in their form on the wire, piece by piece."""
    parts: list[bytes] = []
    for key, value in entries:
        parts += (_LENGTHS.pack(len(key), len(value)), key, value)
        if len(parts) >= _CHUNK:
            yield b"".join(parts)
            parts.clear()
    yield b"".join(parts) + _END


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
            entries = dict(unpack(sys.stdin.buffer.read()))
            sys.stdout.buffer.write(content(entries))
        sys.stdout.buffer.flush()
    except (gdbm.GdbmError, GdbmMissing, OSError, ValueError, MemoryError) as error:
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


def _command(*words: str) -> list[str]:
    # -I -S: a short start, and nothing but the standard library and this package in sight.
    root = str(Path(__file__).resolve().parent.parent)
    program = f"import sys; sys.path.insert(0, {root!r}); from routes.helper import main; "
    return [sys.executable, "-I", "-S", "-c", program + "sys.exit(main(sys.argv[1:]))", *words]


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
