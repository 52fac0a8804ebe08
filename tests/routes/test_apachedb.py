from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from routes import gdbm, helper, publishing
from routes.apachedb import ApacheDB, DatabaseInUse, check, mend, read
from routes.errors import BuildFailed, DamagedDatabase
from routes.keys import InvalidKey, InvalidTarget
from tests.routes.foreign import hold_with_dbm_gnu, write_with_dbm_gnu, write_with_httxt2dbm
from tests.routes.test_gdbm import many
from tests.support.waiting import PATIENCE


def version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns // 1000


def test_missing_file_is_made_valid_and_empty(path: Path) -> None:
    with ApacheDB(path) as database:
        assert dict(database) == {}
        assert read(path) == {}
        assert check(path) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_is_a_mapping_of_text_to_bytes(database: ApacheDB) -> None:
    database["Alice.NB.test:8000"] = "localhost:8001"
    database[b"/user/jos%c3%a9/"] = b"http://localhost:8002/"
    assert dict(database) == {
        b"alice.nb.test": b"localhost:8001",
        b"/user/jos%C3%A9": b"localhost:8002",
    }
    assert database["ALICE.nb.test"] == b"localhost:8001"
    assert database.get("/user/josé".encode().replace(b"\xc3\xa9", b"%C3%A9")) is not None
    assert "/nowhere" not in database
    assert database.get("/nowhere") is None
    del database["alice.nb.test."]
    assert len(database) == 1
    with pytest.raises(KeyError):
        del database["/nowhere"]
    with pytest.raises(KeyError):
        database["/nowhere"]


def test_convert_to_bytes_takes_ascii_text_or_bytes() -> None:
    assert ApacheDB.convert_to_bytes("/nb/x") == b"/nb/x"
    assert ApacheDB.convert_to_bytes(b"/nb/x") == b"/nb/x"


@pytest.mark.parametrize("item", ["/josé", "/josé".encode()])
def test_convert_to_bytes_refuses_what_is_not_ascii(item: str | bytes) -> None:
    with pytest.raises(InvalidKey, match="is not ASCII"):
        ApacheDB.convert_to_bytes(item)


@pytest.mark.parametrize("key", ["", "/josé", "/a b", "/a\n", "!nbgate"])
def test_invalid_key_changes_nothing(database: ApacheDB, key: str) -> None:
    before = version(database.path)
    with pytest.raises(InvalidKey):
        database[key] = "localhost:1"
    assert (dict(database), version(database.path)) == ({}, before)


@pytest.mark.parametrize("value", ["", "localhost", "localhost:1\n", "é:1", "https://a:1"])
def test_invalid_target_changes_nothing(database: ApacheDB, value: str) -> None:
    before = version(database.path)
    with pytest.raises(InvalidTarget):
        database["/a"] = value
    assert (dict(database), version(database.path)) == ({}, before)


def test_every_change_is_in_the_file_when_it_returns(database: ApacheDB) -> None:
    database["/a"] = "localhost:1"
    assert read(database.path) == {b"/a": b"localhost:1"}
    del database["/a"]
    assert read(database.path) == {}


def test_every_publish_is_a_new_file_dated_strictly_later(database: ApacheDB) -> None:
    versions = [version(database.path)]
    with database.path.open("rb") as old:
        for port in range(1, 30):
            database["/a"] = f"localhost:{port}"
            versions.append(version(database.path))
        assert os.fstat(old.fileno()).st_nlink == 0
    dates = [modified for _, modified in versions]
    assert dates == sorted(set(dates))


def test_publish_is_dated_later_even_than_a_file_from_the_future(database: ApacheDB) -> None:
    future = 4_000_000_000 * 10**9
    os.utime(database.path, ns=(future, future))
    database["/a"] = "localhost:1"
    assert database.path.stat().st_mtime_ns // 1000 > future // 1000


def test_batch_is_one_publish(database: ApacheDB, monkeypatch: pytest.MonkeyPatch) -> None:
    published = []
    original = publishing.publish

    def counted(path: Path, *rest: Any) -> publishing.Stamp:
        published.append(path)
        return original(path, *rest)

    monkeypatch.setattr(publishing, "publish", counted)
    with database.batch():
        database["/a"] = "localhost:1"
        database["/b"] = "localhost:2"
        del database["/a"]
        assert dict(database) == {b"/b": b"localhost:2"}
        assert read(database.path) == {}
    assert read(database.path) == {b"/b": b"localhost:2"}
    assert len(published) == 1


def test_batch_that_an_exception_leaves_changes_nothing(database: ApacheDB) -> None:
    database["/a"] = "localhost:1"
    before = version(database.path)

    def fail() -> None:
        with database.batch():
            database["/b"] = "localhost:2"
            database["/c d"] = "localhost:3"

    with pytest.raises(InvalidKey):
        fail()
    assert dict(database) == {b"/a": b"localhost:1"}
    assert version(database.path) == before


def test_batch_without_changes_publishes_nothing(database: ApacheDB) -> None:
    before = version(database.path)
    with database.batch():
        pass
    assert version(database.path) == before


def test_failed_publish_leaves_memory_and_file_as_they_were(
    database: ApacheDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    database["/a"] = "localhost:1"
    before = version(database.path)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(BuildFailed, match=r"could not be written: No space left"):
            database["/b"] = "localhost:2"
    assert dict(database) == {b"/a": b"localhost:1"}
    assert version(database.path) == before
    assert {entry.name for entry in database.path.parent.iterdir()} == {
        database.path.name,
        database.path.name + ".lock",
    }
    database["/c"] = "localhost:3"
    assert read(database.path) == dict(database)


def test_full_disk_neither_kills_the_process_nor_changes_the_file(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
from routes.apachedb import ApacheDB
from routes.errors import BuildFailed
database = ApacheDB(sys.argv[1])
database["/a"] = "localhost:1"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for count in (300, 2000):
    try:
        database.publish({b"/%d" % n: b"localhost:1" for n in range(count)})
    except BuildFailed as error:
        print("failed:", dict(database))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "routes.gdbm")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout.splitlines() == ["failed: {b'/a': b'localhost:1'}"] * 2, done.stderr
    assert read(tmp_path / "routes.gdbm") == {b"/a": b"localhost:1"}


def test_second_writer_is_refused_by_name_until_the_first_closes(database: ApacheDB) -> None:
    with pytest.raises(DatabaseInUse) as caught:
        ApacheDB(database.path)
    message = str(caught.value)
    assert str(database.path) in message
    assert f"process {os.getpid()}" in message
    assert "NBGATE_ROUTE_FILE" in message
    database.close()
    ApacheDB(database.path).close()


def test_closed_database_writes_no_more(database: ApacheDB) -> None:
    database.close()
    with pytest.raises(ValueError, match="is closed"):
        database["/a"] = "localhost:1"
    assert read(database.path) == {}


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(path: Path) -> None:
    names = [f".{path.name}.abc123.nbgate-new", f".{path.name}.x.abc.nbgate-new", ".other", "a.tmp"]
    for name in names:
        path.with_name(name).write_bytes(b"")
    with ApacheDB(path):
        left = {entry.name for entry in path.parent.iterdir()}
    assert left == {path.name, path.name + ".lock", *names[1:]}


def test_map_of_secrets_takes_any_text_and_is_hidden_from_others(path: Path) -> None:
    with ApacheDB.secrets(path) as secrets:
        secrets["/nb/alice"] = "0123456789abcdef"
        assert secrets["/nb/alice"] == b"0123456789abcdef"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        with pytest.raises(InvalidTarget):
            secrets["/nb/bob"] = "a\nb"


def test_permissions_do_not_depend_on_the_umask(path: Path) -> None:
    before = os.umask(0o077)
    try:
        ApacheDB(path).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_publish_keeps_the_group_of_the_file(path: Path) -> None:
    with ApacheDB.secrets(path) as secrets:
        wanted = next(iter(set(os.getgroups()) - {os.getegid()}), os.getegid())
        wanted = 33 if os.geteuid() == 0 else wanted
        os.chown(path, -1, wanted)
        secrets["/nb/alice"] = "0123"
        assert path.stat().st_gid == wanted


def test_symbolic_link_to_the_file_stays_one(tmp_path: Path, path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.gdbm"
    link.parent.mkdir()
    link.symlink_to(path)
    with ApacheDB(link) as database:
        database["/a"] = "localhost:1"
        with pytest.raises(DatabaseInUse):
            ApacheDB(path)
    assert link.is_symlink()
    assert read(path) == {b"/a": b"localhost:1"}


def test_file_of_another_program_is_taken_over(path: Path) -> None:
    write_with_httxt2dbm(path, {b"Alice.NB.test": b"container:8888", b"/nb/bob/": b"localhost:2"})
    with ApacheDB(path) as database:
        assert dict(database) == {b"alice.nb.test": b"container:8888", b"/nb/bob": b"localhost:2"}
        del database["alice.nb.test"]
    assert read(path) == {b"/nb/bob": b"localhost:2"}


def test_canonical_key_wins_over_another_form_of_it(path: Path) -> None:
    write_with_dbm_gnu(path, {b"A.test": b"localhost:1", b"a.test": b"localhost:2"})
    with ApacheDB(path) as database:
        assert dict(database) == {b"a.test": b"localhost:2"}


def test_entries_that_can_be_no_route_are_kept_in_the_file_and_told(path: Path) -> None:
    odd = {b"a key": b"localhost:1", "/josé".encode(): b"localhost:2", b"/x": b"no target"}
    write_with_dbm_gnu(path, odd)
    with ApacheDB(path) as database:
        assert dict(database) == {b"/x": b"no target"}
        assert database.unusable == {key: odd[key] for key in list(odd)[:2]}
        database["/a"] = "localhost:3"
    assert read(path) == {**odd, b"/a": b"localhost:3"}
    findings = check(path)
    assert len(findings) == 3
    assert all(finding.isprintable() for finding in findings)


def test_entries_added_in_place_are_read_on_reload(database: ApacheDB) -> None:
    database["/ours"] = "localhost:1"
    write_with_httxt2dbm(database.path, {b"/theirs": b"localhost:2"})
    database.reload()
    assert dict(database) == {b"/ours": b"localhost:1", b"/theirs": b"localhost:2"}
    assert check(database.path) == []


def test_entries_added_in_place_survive_the_next_publish(database: ApacheDB) -> None:
    database["/gone"] = "localhost:1"
    write_with_dbm_gnu(database.path, {b"/theirs": b"localhost:2"})
    with database.batch():
        del database["/gone"]
        database["/ours"] = "localhost:3"
    expected = {b"/theirs": b"localhost:2", b"/ours": b"localhost:3"}
    assert dict(database) == read(database.path) == expected


def test_file_replaced_by_another_program_is_read_on_reload(database: ApacheDB) -> None:
    database["/ours"] = "localhost:1"
    fresh = database.path.with_name("fresh.gdbm")
    write_with_httxt2dbm(fresh, {b"/theirs": b"localhost:2"})
    fresh.replace(database.path)
    database.reload()
    assert dict(database) == {b"/theirs": b"localhost:2"}


def test_entry_of_ours_changed_in_place_is_told_from_an_addition(database: ApacheDB) -> None:
    database["/ours"] = "localhost:1"
    write_with_dbm_gnu(database.path, {b"/ours": b"localhost:2"})
    with pytest.raises(DamagedDatabase, match=r"changed by something else; look at b'/ours'"):
        database.reload()
    with pytest.raises(DamagedDatabase):
        database["/more"] = "localhost:3"
    assert dict(database) == {b"/ours": b"localhost:1"}


def test_rebuild_keeps_the_damaged_file_and_what_was_added_to_it(database: ApacheDB) -> None:
    database["/ours"] = "localhost:1"
    write_with_dbm_gnu(database.path, {b"/theirs": b"localhost:2"})
    assert database.rebuild({b"/ours": b"localhost:3"}) is None
    assert read(database.path) == {b"/ours": b"localhost:3", b"/theirs": b"localhost:2"}
    database.path.write_bytes(b"scribble")
    kept = database.rebuild(database.entries)
    assert kept is not None
    assert kept.read_bytes() == b"scribble"
    assert read(database.path) == {b"/ours": b"localhost:3", b"/theirs": b"localhost:2"}


def test_publish_waits_for_a_program_that_writes_in_place(
    database: ApacheDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_SETTLE_SECONDS", 0.05)
    holder = hold_with_dbm_gnu(database.path)
    try:
        with pytest.raises(DatabaseInUse, match="writes it in place"):
            database["/a"] = "localhost:1"
    finally:
        holder.communicate("\n", timeout=PATIENCE)
    database["/a"] = "localhost:1"
    assert read(database.path) == {b"/a": b"localhost:1"}


def test_reading_while_a_program_writes_in_place_says_so(database: ApacheDB) -> None:
    holder = hold_with_dbm_gnu(database.path)
    try:
        with pytest.raises(DatabaseInUse, match="writes it in place"):
            read(database.path)
        assert "writes it in place" in check(database.path)[0]
    finally:
        holder.communicate("\n", timeout=PATIENCE)
    assert read(database.path) == {}


def test_mend_writes_what_is_readable_and_keeps_the_damaged_file(path: Path) -> None:
    with ApacheDB(path) as database:
        database.publish(many(20))
        with pytest.raises(DatabaseInUse):
            mend(path)
    assert mend(path) is None
    content = bytearray(path.read_bytes())
    content[:4] = b"junk"
    path.write_bytes(content)
    kept = mend(path)
    assert kept is not None
    assert kept.read_bytes() == content
    assert read(path) == many(20)


def test_only_whole_entries_come_over_the_wire() -> None:
    entries = [(b"", b""), (b"/a", b"localhost:1"), (b"\xff" * 9, b"\0")]
    data = b"".join(helper.packed(entries))
    assert list(helper.unpack(data)) == entries
    for cut in range(len(data)):
        with pytest.raises(ValueError, match="half-way"):
            list(helper.unpack(data[:cut]))


def test_empty_key_and_value_of_another_program_are_read(path: Path) -> None:
    path.write_bytes(gdbm.build([(b"", b""), (b"/a", b"")]))
    assert read(path) == {b"": b"", b"/a": b""}
