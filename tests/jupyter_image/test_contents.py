"""A file is whole at each moment, whatever happens to the server that saves it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nbgate_jupyter.contents import PREFIX, WholeFileManager, can_be_replaced, replacing

from tests.jupyter_image.conftest import FOLDER

# Writes half of a file through the contents manager, says so, and waits for its end.
_WRITER = """
import sys
from nbgate_jupyter.contents import WholeFileManager
with WholeFileManager(root_dir=sys.argv[1]).atomic_writing(sys.argv[1] + "/a.txt") as file:
    file.write("half")
    file.flush()
    print("half", flush=True)
    sys.stdin.read()
"""


async def save(folder: Path, name: str, text: str) -> None:
    """Save as Lab does it."""
    model = {"type": "file", "format": "text", "content": text}
    await WholeFileManager(root_dir=str(folder)).save(model, name)  # type: ignore[no-untyped-call]


def left_over(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.name.startswith(PREFIX)]


def test_server_that_is_killed_while_it_writes_leaves_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("whole")
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(FOLDER)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        assert (tmp_path / "a.txt").read_text() == "whole"
        writer.send_signal(signal.SIGKILL)

    assert (tmp_path / "a.txt").read_text() == "whole"


def test_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("whole")

    def fail() -> None:
        with replacing(file, text=True) as writing:
            writing.write("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()

    assert file.read_text() == "whole"
    assert left_over(tmp_path) == []


async def test_save_replaces_the_file_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "é.txt"
    await save(tmp_path, "é.txt", "one\n")
    file.chmod(0o640)
    before = file.stat()

    await save(tmp_path, "é.txt", "two\n")

    assert file.read_bytes() == b"two\n"
    assert file.stat().st_mode == before.st_mode
    assert file.stat().st_ino != before.st_ino
    assert left_over(tmp_path) == []


async def test_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()

    await save(tmp_path, "a.txt", "one")

    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "other").stat().st_mode


async def test_longest_name_can_be_saved(tmp_path: Path) -> None:
    name = "é" * 127

    await save(tmp_path, name, "one")

    assert (tmp_path / name).read_text() == "one"


async def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("one")
    (tmp_path / "link.txt").symlink_to("folder/a.txt")

    await save(tmp_path, "link.txt", "two")

    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "folder" / "a.txt").read_text() == "two"


async def test_file_with_two_names_keeps_both(tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("one")
    other.hardlink_to(one)

    assert not can_be_replaced(one)
    await save(tmp_path, "one.txt", "two")

    assert other.read_text() == "two"
