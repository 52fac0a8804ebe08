"""Somebody else looks at a person's files, and the person does what they like with them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gateway.spaces import Reading, Spaces, reading
from gateway.spaces.reading import LARGEST, Item
from gateway.spaces.spaces import SpaceError

SLUG = "demo-x-ada"


@pytest.fixture
def spaces(tmp_path: Path) -> Spaces:
    return Spaces(tmp_path / "spaces")


@pytest.fixture
async def space(spaces: Spaces, tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("of the operator")
    found = await spaces.ensure(SLUG, None)
    (found / "w1").mkdir()
    (found / "w1" / "walk.ipynb").write_bytes(b"work")
    return found


@pytest.fixture
def look(spaces: Spaces) -> Reading:
    return Reading(spaces)


async def test_file_is_read(look: Reading, space: Path) -> None:
    assert await look.file(SLUG, ["w1", "walk.ipynb"]) == b"work"


@pytest.mark.parametrize(
    "parts",
    [
        [],
        ["w1"],
        ["no"],
        ["w1", "no"],
        ["w1", "walk.ipynb", "deeper"],
        ["..", "secret.txt"],
        ["w1", "..", "w1", "walk.ipynb"],
        ["../secret.txt"],
        ["."],
        [""],
        ["w1", "", "walk.ipynb"],
        ["w1\0"],
        ["\ud800"],
        ["n" * 300],
        ["w1"] * 200,
    ],
)
async def test_what_is_no_file_is_none(look: Reading, space: Path, parts: list[str]) -> None:
    assert await look.file(SLUG, parts) is None


async def test_no_symlink_is_followed(look: Reading, space: Path, tmp_path: Path) -> None:
    (space / "file").symlink_to(tmp_path / "secret.txt")
    (space / "up").symlink_to(tmp_path)
    (space / "here").symlink_to("w1")
    assert await look.file(SLUG, ["file"]) is None
    assert await look.file(SLUG, ["up", "secret.txt"]) is None
    assert await look.file(SLUG, ["here", "walk.ipynb"]) is None
    assert await look.folder(SLUG, ["up"]) is None
    assert await look.folder(SLUG, []) == [Item("w1", folder=True)]


async def test_space_that_is_a_symlink_is_an_error(
    look: Reading, spaces: Spaces, space: Path, tmp_path: Path
) -> None:
    spaces.path("demo-x-eve").symlink_to(tmp_path)
    with pytest.raises(SpaceError):
        await look.file("demo-x-eve", ["secret.txt"])


async def test_what_is_no_regular_file_holds_nobody_up(look: Reading, space: Path) -> None:
    os.mkfifo(space / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(space / "s"))
        assert await look.file(SLUG, ["pipe"]) is None
        assert await look.file(SLUG, ["s"]) is None
        assert await look.folder(SLUG, []) == [Item("w1", folder=True)]


async def test_file_that_is_too_large_is_none(look: Reading, space: Path) -> None:
    with (space / "large").open("wb") as file:
        file.truncate(LARGEST)
        assert await look.file(SLUG, ["large"]) == bytes(LARGEST)
        file.truncate(LARGEST + 1)
    assert await look.file(SLUG, ["large"]) is None


async def test_folders_come_first_in_the_order_of_their_names(look: Reading, space: Path) -> None:
    for name in ("b.txt", "A.txt", ".hidden"):
        (space / name).write_text("")
    (space / "z").mkdir()
    items = await look.folder(SLUG, [])
    assert items is not None
    assert [(item.name, item.folder) for item in items] == [
        ("w1", True),
        ("z", True),
        ("A.txt", False),
        ("b.txt", False),
    ]


async def test_no_more_of_a_folder_than_a_page_can_show(
    look: Reading, space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_ITEMS", 3)
    for number in range(9):
        (space / "w1" / f"{number}").write_text("")
    items = await look.folder(SLUG, ["w1"])
    assert items is not None
    assert [item.name for item in items] == ["0", "1", "2"]


@pytest.mark.parametrize("parts", [["no"], ["w1", "walk.ipynb"], [".."], ["w1", ".."]])
async def test_what_is_no_folder_is_none(look: Reading, space: Path, parts: list[str]) -> None:
    assert await look.folder(SLUG, parts) is None


async def test_name_that_is_not_utf8_is_listed_and_read(look: Reading, space: Path) -> None:
    name = os.fsdecode(b"caf\xe9.py")
    (space / name).write_bytes(b"1")
    assert await look.folder(SLUG, []) == [Item("w1", folder=True), Item(name, folder=False)]
    assert await look.file(SLUG, [name]) == b"1"


async def test_notebook_without_a_space_has_nothing_and_gets_none(
    look: Reading, spaces: Spaces, space: Path
) -> None:
    assert await look.folder("demo-x-bob", []) is None
    assert await look.file("demo-x-bob", ["a.py"]) is None
    assert not spaces.path("demo-x-bob").exists()


async def test_slug_that_is_none_is_refused(look: Reading) -> None:
    with pytest.raises(SpaceError):
        await look.folder("../spaces", [])
