"""The file of the access log: written soon, made anew, and never waited for."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import InvalidInput
from gateway.proxy.accesslog import open_access_log
from gateway.proxy.logfile import LogFile
from tests.proxy.test_access_log import CLIENT, COMBINED, request
from tests.proxy.wire import until
from tests.support.waiting import PATIENCE

EVERY_LOOP = True


def reading(path: Path) -> Callable[[], list[str]]:
    return lambda: path.read_text().splitlines() if path.exists() else []


async def test_lines_are_written_soon_and_what_is_left_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with contextlib.AsyncExitStack() as stack:
        log = open_access_log("combined", str(path), stack)
        assert log is not None
        record = (request(), CLIENT)
        log.record(*record, status=200, sent=1, seconds=0.0, user=None, request_id=b"1")
        await until(lambda: len(reading(path)()) == 1)
        for _ in range(1000):
            log.record(*record, status=200, sent=1, seconds=0.0, user=None, request_id=b"2")
    lines = path.read_text().splitlines()
    assert len(lines) == 1001
    assert all(COMBINED.fullmatch(line) for line in lines)
    assert path.stat().st_mode & 0o777 & ~0o640 == 0


async def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    file = LogFile(path, flush_seconds=0.01)
    file.append(b"one\n")
    await until(lambda: reading(path)() == ["one"])
    path.rename(moved)
    file.append(b"two\n")
    await until(lambda: reading(path)() == ["two"])
    path.unlink()
    file.append(b"three\n")
    await until(lambda: reading(path)() == ["three"])
    file.close()
    assert moved.read_text() == "one\n"


async def test_what_cannot_be_written_is_told_once_and_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "access.log"
    file = LogFile(path, flush_seconds=0.01)
    path.unlink()
    folder.rename(tmp_path / "elsewhere")
    for number in range(3):
        file.append(b"%d\n" % number)
        await until(file._lines.empty)
    await until(lambda: bool(caplog.messages))
    folder.mkdir()
    file.append(b"again\n")
    await until(lambda: "again" in reading(path)())
    file.close()
    (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert str(path) in told.getMessage()


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_loses_the_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.proxy.logfile._STOP_SECONDS", 0.05)
    monkeypatch.setattr("gateway.proxy.logfile._MOST_BYTES", 2**20)
    reader, writer = os.pipe()
    monkeypatch.setattr(LogFile, "_open", lambda self: writer)
    file = LogFile(None, flush_seconds=0.01)
    for _ in range(3000):
        file.append(b"x" * 1023 + b"\n")
        if caplog.messages:
            break
    file.close()
    assert any("too slowly" in message for message in caplog.messages)
    drained = threading.Thread(target=_drain, args=(reader,))
    drained.start()
    file._thread.join(PATIENCE)
    os.close(writer)
    drained.join(PATIENCE)


def _drain(reader: int) -> None:
    while os.read(reader, 65536):
        pass
    os.close(reader)


async def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        assert open_access_log("off", "/nowhere/log", stack) is None
        with pytest.raises(InvalidInput, match="NBGATE_ACCESS_LOG_FILE"):
            open_access_log("json", str(tmp_path / "none" / "log"), stack)
