"""Making, filling, asking and removing spaces, with what students and disks do to them."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from pathlib import Path

import pytest

from gateway.spaces import Source, Spaces
from gateway.spaces.git import SourceUnavailable
from gateway.spaces.spaces import SpaceError
from tests.support.waiting import PATIENCE


@pytest.fixture
def spaces(tmp_path: Path) -> Spaces:
    return Spaces(tmp_path / "spaces")


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course's folder: a file, a file in a folder, a script, and git's own files."""
    folder = tmp_path / "course"
    (folder / "w1" / "data").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (folder / "intro.ipynb").write_text("{}")
    (folder / "w1" / "walk ü.ipynb").write_bytes(b"x" * 3_000_000)
    (folder / "run.sh").write_text("true")
    (folder / "run.sh").chmod(0o6777)
    return folder


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


async def test_new_space_has_the_courses_files(spaces: Spaces, course: Path) -> None:
    path = await spaces.ensure("demo-x-mary", Source(folder=course))
    assert path == spaces.path("demo-x-mary")
    assert _tree(path) == {"intro.ipynb", "run.sh", "w1", "w1/data", "w1/walk ü.ipynb"}
    assert (path / "w1" / "walk ü.ipynb").read_bytes() == b"x" * 3_000_000


async def test_space_without_a_source_is_empty_and_private(spaces: Spaces) -> None:
    path = await spaces.ensure("genome", None)
    assert _tree(path) == set()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o711


async def test_copies_keep_time_and_execute_bit_and_lose_setuid(
    spaces: Spaces, course: Path
) -> None:
    os.utime(course / "run.sh", (1_000_000_000, 1_000_000_000))
    path = await spaces.ensure("genome", Source(folder=course))
    found = (path / "run.sh").stat()
    assert stat.S_IMODE(found.st_mode) == 0o755
    assert found.st_mtime == 1_000_000_000


async def test_read_only_course_gives_files_that_can_be_written(
    spaces: Spaces, course: Path
) -> None:
    (course / "intro.ipynb").chmod(0o444)
    (course / "w1").chmod(0o555)
    path = await spaces.ensure("genome", Source(folder=course))
    assert stat.S_IMODE((path / "intro.ipynb").stat().st_mode) == 0o644
    assert stat.S_IMODE((path / "w1").stat().st_mode) == 0o755


async def test_space_that_exists_is_left_alone(spaces: Spaces, course: Path) -> None:
    path = await spaces.ensure("genome", Source(folder=course))
    (path / "intro.ipynb").write_text("my work")
    (path / "run.sh").unlink()
    assert await spaces.ensure("genome", Source(folder=course)) == path
    assert (path / "intro.ipynb").read_text() == "my work"
    assert not (path / "run.sh").exists()


async def test_space_is_filled_once_however_many_ask(spaces: Spaces, course: Path) -> None:
    paths = await asyncio.gather(
        *(spaces.ensure("genome", Source(folder=course)) for _ in range(20))
    )
    assert set(paths) == {spaces.path("genome")}
    assert _names(spaces.path("genome").parent) == ["genome"]


async def test_two_gateways_fill_one_space(tmp_path: Path, course: Path) -> None:
    gateways = [Spaces(tmp_path / "spaces") for _ in range(8)]
    await asyncio.gather(*(one.ensure("genome", Source(folder=course)) for one in gateways))
    assert _names(tmp_path / "spaces") == ["genome"]
    assert "intro.ipynb" in _tree(tmp_path / "spaces" / "genome")


async def test_files_get_the_owner(tmp_path: Path, course: Path) -> None:
    (course / "link").symlink_to("intro.ipynb")
    path = await Spaces(tmp_path / "spaces", owner=(12345, 54321)).ensure(
        "genome", Source(folder=course)
    )
    wanted = (12345, 54321) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    for one in (path, *path.rglob("*")):
        found = one.lstat()
        assert (found.st_uid, found.st_gid) == wanted


async def test_loop_goes_on_while_files_are_copied(
    spaces: Spaces, course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The copy can end only if the loop runs meanwhile: it waits for what the loop does.
    reading, writing = os.pipe()
    listdir = os.scandir

    def waiting_scandir(handle: int) -> object:
        assert os.read(reading, 1) == b"x"
        return listdir(handle)

    monkeypatch.setattr(os, "scandir", waiting_scandir)
    filling = asyncio.create_task(spaces.ensure("genome", Source(folder=course)))
    for _ in range(10):
        await asyncio.sleep(0)
        os.write(writing, b"x")
    async with asyncio.timeout(PATIENCE):
        await filling
    os.close(reading)
    os.close(writing)


# Sources that are not as they should be.


async def test_missing_source_folder_names_it_and_makes_no_space(
    spaces: Spaces, tmp_path: Path
) -> None:
    with pytest.raises(SourceUnavailable, match=r"source folder .*/nope: No such file"):
        await spaces.ensure("genome", Source(folder=tmp_path / "nope"))
    assert not await spaces.exists("genome")
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceUnavailable, match="Not a directory"):
        await spaces.check_source(Source(folder=tmp_path / "file"))


async def test_usable_sources_pass_the_check(spaces: Spaces, course: Path) -> None:
    await spaces.check_source(None)
    await spaces.check_source(Source(folder=course))
    await spaces.check_source(Source(url="https://nowhere.invalid/course.git"))


async def test_symlinks_of_a_source_stay_inside_or_are_left_out(
    spaces: Spaces, course: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("s")
    (course / "inside").symlink_to("w1/walk ü.ipynb")
    (course / "w1" / "up").symlink_to("../intro.ipynb")
    (course / "w1" / "dangling").symlink_to("later")
    (course / "folder").symlink_to("w1")
    (course / "absolute").symlink_to(tmp_path / "secret")
    (course / "outside").symlink_to("../secret")
    (course / "w1" / "outside").symlink_to("../x/../../secret")
    path = await spaces.ensure("genome", Source(folder=course))
    links = {str(one.relative_to(path)) for one in path.rglob("*") if one.is_symlink()}
    assert links == {"inside", "w1/up", "w1/dangling", "folder"}
    assert (path / "folder").readlink() == Path("w1")


async def test_pipes_and_sockets_of_a_source_are_left_out(spaces: Spaces, course: Path) -> None:
    os.mkfifo(course / "pipe")
    path = await spaces.ensure("genome", Source(folder=course))
    assert "pipe" not in _tree(path)


async def test_source_nested_without_end_is_refused_and_leaves_nothing(
    spaces: Spaces, tmp_path: Path
) -> None:
    deep = tmp_path / "deep"
    deep.joinpath(*["d"] * 120).mkdir(parents=True)
    with pytest.raises(SpaceError, match="more than 100 deep"):
        await spaces.ensure("genome", Source(folder=deep))
    assert _names(spaces.path("genome").parent) == []


# Disks.


async def test_full_disk_is_one_clear_line_and_leaves_nothing(
    spaces: Spaces, course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int, _chunk: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(SpaceError, match=r"genome: No space left.*; make room") as caught:
            await spaces.ensure("genome", Source(folder=course))
    assert "\n" not in str(caught.value)
    assert _names(spaces.path("genome").parent) == []


async def test_root_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "spaces").write_text("")
    with pytest.raises(SpaceError, match=r"spaces/genome: File exists"):
        await Spaces(tmp_path / "spaces").ensure("genome", None)


# Slugs.


@pytest.mark.parametrize("slug", ["", ".", "..", "../x", "a/b", "/etc", ".new-a", "A", "a\0"])
async def test_what_is_no_slug_touches_nothing(spaces: Spaces, slug: str) -> None:
    for attempt in (
        spaces.ensure(slug, None),
        spaces.remove(slug),
        spaces.exists(slug),
        spaces.has_file(slug, "a"),
    ):
        with pytest.raises(SpaceError, match="is not the slug"):
            await attempt
    with pytest.raises(SpaceError):
        spaces.path(slug)


# Symlinks that students plant.


async def test_symlink_in_the_place_of_a_space_is_refused(spaces: Spaces, tmp_path: Path) -> None:
    await spaces.ensure("other", None)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").write_text("x")
    spaces.path("genome").symlink_to(tmp_path / "target")
    with pytest.raises(SpaceError, match="something else than a folder"):
        await spaces.ensure("genome", None)
    with pytest.raises(SpaceError):
        await spaces.exists("genome")
    assert not await spaces.has_file("genome", "file")


async def test_removing_a_symlink_in_the_place_of_a_space_leaves_its_target(
    spaces: Spaces, tmp_path: Path
) -> None:
    await spaces.ensure("other", None)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").write_text("x")
    spaces.path("genome").symlink_to(tmp_path / "target")
    await spaces.remove("genome")
    assert (tmp_path / "target" / "file").exists()
    assert _names(spaces.path("genome").parent) == ["other"]


async def test_file_is_found_by_folders_alone(spaces: Spaces, course: Path) -> None:
    path = await spaces.ensure("genome", Source(folder=course))
    (path / "link").symlink_to("intro.ipynb")
    (path / "w2").symlink_to("w1")
    (path / "root").symlink_to("/")
    assert await spaces.has_file("genome", "intro.ipynb")
    assert await spaces.has_file("genome", "w1/walk ü.ipynb")
    for relative in ("link", "w2/walk ü.ipynb", "root/etc/passwd", "w1", "nope", "intro.ipynb/x"):
        assert not await spaces.has_file("genome", relative)


@pytest.mark.parametrize(
    "relative",
    [
        "",
        ".",
        "..",
        "../genome/intro.ipynb",
        "w1/../intro.ipynb",
        "/intro.ipynb",
        "w1//walk ü.ipynb",
        "intro.ipynb/",
        "a\0b",
        "\ud800",
        "x" * 5000,
        "d/" * 5000 + "x",
    ],
)
async def test_odd_path_is_no_file(spaces: Spaces, course: Path, relative: str) -> None:
    await spaces.ensure("genome", Source(folder=course))
    assert not await spaces.has_file("genome", relative)


async def test_file_of_a_missing_space_is_not_there(spaces: Spaces) -> None:
    assert not await spaces.has_file("genome", "intro.ipynb")


# Removal.


async def test_removed_space_is_gone_and_can_be_made_anew(spaces: Spaces, course: Path) -> None:
    path = await spaces.ensure("genome", Source(folder=course))
    (path / "mine").write_text("x")
    await spaces.remove("genome")
    assert not await spaces.exists("genome")
    assert _names(path.parent) == []
    await spaces.ensure("genome", Source(folder=course))
    assert not (path / "mine").exists()


async def test_removing_nothing_is_nothing(spaces: Spaces) -> None:
    await spaces.remove("genome")


async def test_removal_never_leaves_the_space(spaces: Spaces, course: Path, tmp_path: Path) -> None:
    path = await spaces.ensure("genome", Source(folder=course))
    kept = tmp_path / "kept"
    (kept / "sub").mkdir(parents=True)
    (kept / "sub" / "file").write_text("x")
    (path / "absolute").symlink_to(kept)
    (path / "w1" / "relative").symlink_to("../../../kept")
    (path / "w1" / "file").symlink_to(kept / "sub" / "file")
    await spaces.remove("genome")
    assert (kept / "sub" / "file").read_text() == "x"
    assert _names(path.parent) == []


async def test_space_nested_too_deep_for_any_path_is_removed(spaces: Spaces) -> None:
    path = await spaces.ensure("genome", None)
    here = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(2000):
        os.mkdir("d" * 100, dir_fd=here)
        deeper = os.open("d" * 100, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    await spaces.remove("genome")
    assert _names(path.parent) == []


async def test_space_with_folders_that_nobody_may_enter_is_removed(
    spaces: Spaces, course: Path
) -> None:
    path = await spaces.ensure("genome", Source(folder=course))
    (path / "w1" / "data").chmod(0)
    (path / "w1").chmod(0)
    path.chmod(0)
    await spaces.remove("genome")
    assert _names(path.parent) == []


async def test_removal_and_use_at_once_end_in_a_whole_space_or_none(
    spaces: Spaces, course: Path
) -> None:
    source = Source(folder=course)
    for _ in range(5):
        await asyncio.gather(
            spaces.ensure("genome", source),
            spaces.remove("genome"),
            spaces.ensure("genome", source),
        )
        assert len(_tree(spaces.path("genome"))) == 5


async def test_sweep_deletes_what_was_left_and_is_old(spaces: Spaces) -> None:
    path = await spaces.ensure("genome", None)
    for name in (".new-a-1", ".trash-b-2", ".source-3"):
        (path.parent / name / "sub").mkdir(parents=True)
    assert await spaces.sweep() == 0
    before = time.time()
    assert await spaces.sweep(older_than=before - time.time() - 60) == 3
    assert _names(path.parent) == ["genome"]
