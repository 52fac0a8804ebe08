"""Damaged files: never a crash, a hang, or wrong data; and what can be saved of them."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from routes import helper
from routes.apachedb import ApacheDB, DamagedDatabase, check, read, salvage
from routes.seal import SEAL, fault, mark_of, marks_of, seal_of
from tests.routes.foreign import write_with_dbm_gnu, write_with_httxt2dbm
from tests.routes.test_gdbm import many

_SEED = 20240607
_ROUNDS = 60


def flip(content: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(content) * 8)
    content[place // 8] ^= 1 << place % 8


def flip_in_header(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(200)] = chance.randrange(256)


def zero(content: bytearray, chance: random.Random) -> None:
    _overwrite(content, chance, b"\x00")


def fill(content: bytearray, chance: random.Random) -> None:
    _overwrite(content, chance, b"\xff")


def cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def swap(content: bytearray, chance: random.Random) -> None:
    one, other = (chance.randrange(len(content) // 512) * 512 for _ in range(2))
    first, second = content[one : one + 512], content[other : other + 512]
    content[one : one + 512], content[other : other + 512] = second, first


def _overwrite(content: bytearray, chance: random.Random, filler: bytes) -> None:
    size = chance.choice([4, 64, 512, 4096])
    place = chance.randrange(len(content)) // size * size
    content[place : place + size] = filler * len(content[place : place + size])


@pytest.mark.parametrize("damage", [flip, flip_in_header, zero, fill, cut, swap])
def test_damaged_file_is_refused_or_read_right_and_saved_entries_are_right(
    path: Path, damage: Callable[[bytearray, random.Random], None]
) -> None:
    entries = many(150)
    with ApacheDB(path) as database:
        database.publish(entries)
    sound = path.read_bytes()
    chance = random.Random(_SEED)
    for number in range(_ROUNDS // 6):
        content = bytearray(sound)
        damage(content, chance)
        path.write_bytes(content)
        told = f"seed={_SEED} round={number} damage={damage.__name__}"
        with contextlib.suppress(DamagedDatabase):
            assert read(path) == entries, told
        assert salvage(path).items() <= entries.items(), told
        assert path.read_bytes() == content, told


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"/nb/x localhost:1\n" * 100, "bad magic number"),
        (b"\0" * 16384, "bad magic number"),
        (b"\xce\x9a\x57\x13" + b"\0" * 100, "is damaged"),
        (random.Random(_SEED).randbytes(5000), "bad magic number"),
    ],
    ids=["empty", "text", "zeros", "magic alone", "random"],
)
def test_what_is_no_gdbm_file_is_refused_by_name_and_left_untouched(
    path: Path, content: bytes, reason: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedDatabase, match=reason) as caught:
        ApacheDB(path)
    assert str(path) in str(caught.value)
    assert "nbgate route rebuild" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == content
    assert salvage(path) == {}
    with pytest.raises(DamagedDatabase):
        ApacheDB(path)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize("make", [make_folder, make_pipe, make_socket])
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("odd")
    make(path)
    with pytest.raises(DamagedDatabase, match="no regular file"):
        ApacheDB(path)
    assert "no regular file" in check(path)[0]
    assert salvage(path) == {}


def test_missing_file_is_a_finding(path: Path) -> None:
    assert "there is no such file" in check(path)[0]
    assert salvage(path) == {}


def test_library_that_hangs_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ApacheDB(path).close()
    monkeypatch.setattr(helper, "_READ_SECONDS", 0.0)
    monkeypatch.setattr(helper, "_READ_BYTES_PER_SECOND", 10**12)
    with pytest.raises(DamagedDatabase, match="does not come to an end"):
        read(path)


def test_changed_value_is_named_by_its_key_and_not_saved(path: Path) -> None:
    with ApacheDB(path) as database:
        database.publish({b"/a": b"localhost:8001", b"/b": b"localhost:8002"})
    content = path.read_bytes()
    assert content.count(b"localhost:8002") == 1
    path.write_bytes(content.replace(b"localhost:8002", b"localhost:8003"))
    assert "look at b'/b'" in check(path)[0]
    assert salvage(path) == {b"/a": b"localhost:8001"}


def test_damaged_seal_is_told_and_the_entries_are_saved(path: Path) -> None:
    with ApacheDB(path) as database:
        database.publish(many(10))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"v1 10 ", b"v1 1O "))
    assert "its seal cannot be read" in check(path)[0]
    assert salvage(path) == many(10)


def test_truncated_file_of_another_program_gives_back_what_it_still_holds(path: Path) -> None:
    write_with_httxt2dbm(path, many(2000))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    saved = salvage(path)
    assert saved.items() <= many(2000).items()
    assert len(saved) > 100
    assert check(path)


def test_value_replaced_in_place_is_not_saved_as_the_old_one(path: Path) -> None:
    write_with_dbm_gnu(path, {b"/a": b"localhost:1", b"/b": b"localhost:2"})
    write_with_dbm_gnu(path, {b"/a": b"localhost:11111"})
    content = bytearray(path.read_bytes())
    content[:4] = b"junk"
    path.write_bytes(content)
    assert salvage(path) in (
        {b"/a": b"localhost:11111", b"/b": b"localhost:2"},
        {b"/b": b"localhost:2"},
    )


def test_seal_accepts_additions_and_nothing_else() -> None:
    entries = {b"/a": b"localhost:1", b"/b": b"localhost:2"}
    seal = seal_of(entries)
    assert fault(entries, seal) == ""
    assert fault({**entries, b"/c": b"localhost:3"}, seal) == ""
    assert fault({b"/a": b"localhost:1"}, seal)
    assert fault({**entries, b"/a": b"localhost:2"}, seal)
    assert fault(entries, seal[:-1])
    assert fault(entries, b"")
    assert fault({b"/c": b"x:1"}, seal_of({})) == ""
    assert marks_of(seal) == {mark_of(*entry) for entry in entries.items()}
    assert marks_of(b"nonsense") == frozenset()


def test_seal_is_an_entry_of_the_file_but_not_of_the_mapping(database: ApacheDB) -> None:
    assert SEAL in dict(helper.read(database.path))
    assert SEAL not in database.entries
