"""The helper process that builds the file: told changes alone, replaced when it dies."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from pathlib import Path

import pytest

from routes import helper
from routes.apachedb import ApacheDB, check, read
from routes.errors import BuildFailed
from tests.routes.test_gdbm import many
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


def test_large_file_is_built_by_a_helper_process_and_sealed(database: ApacheDB) -> None:
    database.publish(many(1500))
    assert read(database.path) == many(1500)
    assert check(database.path) == []


@pytest.fixture
def stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Helper processes do not end because a disk is slow."""
    command = helper.command

    def patient(*words: str) -> list[str]:
        made = command(*words)
        place = next(number for number, word in enumerate(made) if "routes.helper" in word)
        made[place] = f"{_BEFORE}; {made[place]}"
        return made

    monkeypatch.setattr(helper, "command", patient)


_BEFORE = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
    f"from routes import mirror; mirror._IDLE_SECONDS = {PATIENCE}"
)


@pytest.mark.usefixtures("stays")
def test_helper_process_gives_the_core_back_while_it_builds(database: ApacheDB) -> None:
    database.publish(many(20_000))
    process = database.builder.process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text()
    times = Path(f"/proc/{process.pid}/schedstat").read_text()
    (rests,) = re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.MULTILINE)
    worked_ms = int(times.split()[0]) / 1e6
    assert int(rests) > worked_ms / 4, f"{rests} rests in {worked_ms} ms of work"


@pytest.mark.usefixtures("stays")
def test_publish_of_a_large_file_gives_the_core_back_between_its_steps(
    database: ApacheDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.publish(many(150))
    taken: list[float] = []
    monkeypatch.setattr(time, "sleep", taken.append)
    database.change({b"/one/more": b"localhost:1"})
    assert len(taken) == 3
    assert all(0 < seconds < 0.001 for seconds in taken)


@pytest.mark.usefixtures("stays")
def test_helper_process_is_told_changes_alone(database: ApacheDB, path: Path) -> None:
    database.publish(many(150))
    process = database.builder.process
    assert process is not None
    expected = many(150)
    for number in range(5):
        database[f"/new/{number}"] = "localhost:1"
        expected[b"/new/%d" % number] = b"localhost:1"
        assert read(path) == expected
    changes: list[dict[bytes, bytes | None]] = [
        {b"/new/1": None, b"/never/there": None},
        {b"/new/2": b"localhost:22222", b"/new/1": b"localhost:3"},
    ]
    for change in changes:
        database.change(change)
        for key, value in change.items():
            if value is None:
                expected.pop(key, None)
            else:
                expected[key] = value
        assert read(path) == dict(database) == expected
    assert database.builder.process is process
    assert check(path) == []


def test_helper_process_that_was_killed_is_replaced(database: ApacheDB, path: Path) -> None:
    database.publish(many(150))
    process = database.builder.process
    assert process is not None
    process.kill()
    process.wait()
    database["/a"] = "localhost:1"
    assert read(path) == {**many(150), b"/a": b"localhost:1"}


def test_helper_process_ends_when_nothing_is_built_and_with_the_database(path: Path) -> None:
    with ApacheDB(path) as database:
        database.publish(many(150))
        process = database.builder.process
        assert process is not None
        assert process.wait(PATIENCE) == 0
        database["/a"] = "localhost:1"
        process = database.builder.process
    assert process is not None
    assert process.poll() is not None
    assert database.builder.process is None


def test_publish_that_fails_after_the_build_is_not_taken_for_the_file(
    database: ApacheDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.publish(many(150))
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail_to_sync)
        with pytest.raises(BuildFailed, match="No space left"):
            database["/a"] = "localhost:1"
    assert dict(database) == read(database.path) == many(150)
    database["/b"] = "localhost:2"
    assert read(database.path) == {**many(150), b"/b": b"localhost:2"}


def fail_to_sync(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_helper_process_that_fails_leaves_the_old_file(
    database: ApacheDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    database["/a"] = "localhost:1"
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BuildFailed, match="ended with status 1"):
        database.publish(many(1500))
    monkeypatch.undo()
    assert dict(database) == read(database.path) == {b"/a": b"localhost:1"}
