"""The file format against the programs that everybody else reads and writes it with."""

from __future__ import annotations

from pathlib import Path

import pytest

from routes import gdbm
from routes.apachedb import ApacheDB, read
from routes.errors import GdbmMissing
from routes.seal import SEAL
from tests.routes.foreign import (
    read_with_dbm_gnu,
    write_with_dbm_gnu,
    write_with_httxt2dbm,
)

ENTRIES = {b"alice.nb.test": b"127.0.0.1:8001", b"/nb/bob": b"[::1]:8888", b"/": b"gate:80"}


def many(count: int) -> dict[bytes, bytes]:
    return {b"/nb/course-x-%d" % n: b"10.0.%d.%d:8888" % (n // 250, n % 250) for n in range(count)}


@pytest.mark.parametrize("entries", [{}, ENTRIES, many(700), many(1500)], ids=len)
def test_published_file_is_read_by_dbm_gnu(path: Path, entries: dict[bytes, bytes]) -> None:
    with ApacheDB(path) as database:
        database.publish(entries)
    found = read_with_dbm_gnu(path)
    assert found.pop(SEAL).startswith(b"v1 %d " % len(entries))
    assert found == entries


def test_file_of_dbm_gnu_is_read(path: Path) -> None:
    write_with_dbm_gnu(path, many(700))
    assert read(path) == many(700)


def test_file_of_httxt2dbm_is_read(path: Path) -> None:
    write_with_httxt2dbm(path, many(700))
    assert read(path) == many(700)


def test_published_file_can_be_extended_by_httxt2dbm(path: Path) -> None:
    with ApacheDB(path) as database:
        database.publish(ENTRIES)
    write_with_httxt2dbm(path, {b"/more": b"127.0.0.1:9000"})
    assert read_with_dbm_gnu(path).keys() == {*ENTRIES, b"/more", SEAL}


def test_built_file_carves_to_the_same_entries() -> None:
    assert dict(gdbm.carve(bytes(gdbm.build(many(700).items())))) == many(700)


def test_key_that_comes_twice_is_refused() -> None:
    with pytest.raises(gdbm.GdbmError, match="comes twice"):
        gdbm.build([(b"/a", b"x:1"), (b"/a", b"x:2")])


def test_missing_library_is_named_with_its_package(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gdbm, "_SONAME", "libgdbm-that-is-not-there.so.6")
    gdbm.loaded.cache_clear()
    with pytest.raises(GdbmMissing, match=r"libgdbm6 .*apt-get install libgdbm6"):
        ApacheDB(path)
    assert not path.exists()
