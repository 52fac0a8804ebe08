"""Copies that people share, on disk: what lasts how long, and what is left by who was killed."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.launch import secret
from gateway.launch.sharefiles import ShareFiles
from gateway.launch.shares import MOST, Shares
from gateway.spaces.spaces import SpaceError
from tests.launch.clock import Clock

WEEK = 7 * 86400.0
SLUG, OTHER = "demo-x-mary", "demo-x-bob"


@dataclass
class Place:
    """A folder of copies, and what gateways that share it are given."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    spaces: set[str] = field(default_factory=lambda: {SLUG, OTHER})

    def gateway(self, lifetime: float = WEEK) -> Shares:
        """Return the copies as one more gateway has them."""
        return Shares(self.folder, self._exists, lifetime, self.clock)

    async def _exists(self, slug: str) -> bool:
        return slug in self.spaces

    def files(self) -> list[Path]:
        """Return all that is there but folders; symlinks too."""
        found = self.folder.rglob("*")
        return sorted(path for path in found if path.is_symlink() or path.is_file())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "spaces" / ".shares")


async def test_copy_is_found_by_its_secret_at_every_gateway(place: Place) -> None:
    one, two = place.gateway(), place.gateway()
    fresh, share = await one.make(SLUG, "demo", "w1/á b.ipynb", b"con\ntent\n")
    assert (share.file, share.project, share.slug) == ("w1/á b.ipynb", "demo", SLUG)
    assert (share.expires - share.made).total_seconds() == WEEK
    for gateway in (one, two):
        assert await gateway.find(fresh) == (share, b"con\ntent\n")
        assert await gateway.of(SLUG) == [share]
        assert await gateway.of(OTHER) == []


async def test_disk_has_no_secret_and_nobody_else_reads_it(place: Place) -> None:
    fresh, share = await place.gateway().make(SLUG, "demo", "a.ipynb", b"x")
    for path in place.files():
        assert fresh not in str(path)
        assert share.digest in path.name
        assert fresh.encode() not in path.read_bytes()
    kept = [path for path in place.files() if not path.is_symlink()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept] == [0o600]
    for folder in (place.folder / "notebooks" / SLUG, place.folder / "addresses"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("wrong", ["", "x", "../" * 3, "\udcff", "A" * 43])
async def test_what_is_no_secret_finds_nothing(place: Place, wrong: str) -> None:
    shares = place.gateway()
    assert await shares.find(wrong) is None, "where nobody has shared anything"
    await shares.make(SLUG, "demo", "a.ipynb", b"x")
    assert await shares.find(wrong) is None


async def test_digest_is_no_secret(place: Place) -> None:
    _, share = await place.gateway().make(SLUG, "demo", "a.ipynb", b"x")
    assert await place.gateway().find(share.digest) is None


async def test_copy_is_over_at_its_moment_and_then_deleted(place: Place) -> None:
    shares = place.gateway()
    first, _ = await shares.make(SLUG, "demo", "a.ipynb", b"1")
    place.clock.advance(WEEK - 1)
    second, later = await shares.make(SLUG, "demo", "a.ipynb", b"2")
    await shares.expire()
    assert await shares.find(first) is not None
    place.clock.advance(1)
    assert await shares.find(first) is None
    assert await shares.of(SLUG) == [later]
    assert len(place.files()) == 4, "not before somebody looks"
    await shares.expire()
    assert len(place.files()) == 2
    place.clock.advance(WEEK)
    assert await shares.find(second) is None
    await shares.expire()
    assert not place.files()
    assert not list((place.folder / "notebooks").iterdir())


async def test_copies_of_one_file_are_each_their_own(place: Place) -> None:
    shares = place.gateway()
    made = [await shares.make(SLUG, "demo", "a.ipynb", b"%d" % number) for number in range(3)]
    assert len({fresh for fresh, _ in made}) == 3
    for number, (fresh, share) in enumerate(made):
        assert await shares.find(fresh) == (share, b"%d" % number)


async def test_one_too_many_takes_the_place_of_the_oldest_of_its_notebook(place: Place) -> None:
    shares = place.gateway()
    others, _ = await shares.make(OTHER, "demo", "a.ipynb", b"x")
    made = []
    for number in range(MOST + 2):
        made.append(await shares.make(SLUG, "demo", f"{number}.ipynb", b"x"))
        place.clock.advance(1)
    found = [await shares.find(fresh) is not None for fresh, _ in made]
    assert found == [False, False, *[True] * MOST]
    assert [one.file for one in await shares.of(SLUG)] == [
        f"{number}.ipynb" for number in reversed(range(2, MOST + 2))
    ]
    assert await shares.find(others) is not None
    assert len(place.files()) == 2 * (MOST + 1)


async def test_many_at_once_leave_as_many_as_there_may_be(place: Place) -> None:
    gateways = [place.gateway(), place.gateway()]
    await asyncio.gather(
        *(gateways[number % 2].make(SLUG, "demo", "a.ipynb", b"x") for number in range(3 * MOST))
    )
    last, share = await gateways[0].make(SLUG, "demo", "last.ipynb", b"x")
    assert await gateways[1].find(last) == (share, b"x")
    assert len(await gateways[0].of(SLUG)) <= MOST


async def test_copy_is_taken_back_by_its_own_notebook_alone(place: Place) -> None:
    shares = place.gateway()
    fresh, share = await shares.make(SLUG, "demo", "a.ipynb", b"x")
    assert not await shares.end(OTHER, share.digest)
    assert not await shares.end(SLUG, "")
    assert await shares.find(fresh) is not None
    assert await shares.end(SLUG, share.digest)
    assert not await shares.end(SLUG, share.digest)
    assert await shares.find(fresh) is None
    assert not place.files()


async def test_copies_go_with_their_space(place: Place) -> None:
    shares = place.gateway()
    fresh, _ = await shares.make(SLUG, "demo", "a.ipynb", b"x")
    kept, _ = await shares.make(OTHER, "demo", "a.ipynb", b"x")
    place.spaces.remove(SLUG)
    assert await shares.find(fresh) is None, "at once"
    await shares.expire()
    place.spaces.add(SLUG)
    assert await shares.find(fresh) is None, "and for good"
    assert await shares.find(kept) is not None
    assert len(place.files()) == 2


async def test_all_of_a_notebook_are_forgotten(place: Place) -> None:
    shares = place.gateway()
    mine = [(await shares.make(SLUG, "demo", "a.ipynb", b"x"))[0] for _ in range(3)]
    others, _ = await shares.make(OTHER, "demo", "a.ipynb", b"x")
    await shares.forget(SLUG)
    await shares.forget(SLUG)
    assert [await shares.find(fresh) for fresh in mine] == [None] * 3
    assert await shares.find(others) is not None
    assert len(place.files()) == 2


async def test_where_nobody_may_share_nothing_is_shown_and_all_goes(place: Place) -> None:
    fresh, _ = await place.gateway().make(SLUG, "demo", "a.ipynb", b"x")
    off = place.gateway(lifetime=0.0)
    assert not off.offered
    assert await off.find(fresh) is None
    assert await off.of(SLUG) == []
    await off.expire()
    assert not place.files()


async def test_who_is_killed_leaves_nothing_that_is_found_or_stays(place: Place) -> None:
    shares = place.gateway()
    folder, addresses = place.folder / "notebooks" / SLUG, place.folder / "addresses"
    whole, _ = await shares.make(SLUG, "demo", "a.ipynb", b"x")
    # Half written; written without an address; an address whose file is gone.
    now = place.clock().timestamp()
    for name, age in ((".new-old", 2 * 86400.0), (".new-young", 60.0)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (now - age, now - age))
    unaddressed, share = await shares.make(SLUG, "demo", "a.ipynb", b"x")
    (addresses / share.digest).unlink()
    dangling, share = await shares.make(SLUG, "demo", "a.ipynb", b"x")
    next(folder.glob(f"*-{share.digest}")).unlink()
    for fresh in (unaddressed, dangling):
        assert await shares.find(fresh) is None
    await shares.expire()
    names = {path.name for path in place.files()}
    assert ".new-old" not in names
    assert ".new-young" in names, "somebody may be writing it"
    assert share.digest not in names
    assert await shares.find(whole) is not None
    place.clock.advance(WEEK)
    await shares.expire()
    assert not place.files()


@pytest.mark.parametrize(
    "text",
    [
        "../../secret",
        f"../notebooks/{SLUG}/../../../secret",
        "/etc/passwd",
        "x",
        f"../notebooks/{SLUG}/1-2-x",
        f"../notebooks/{SLUG}/1-99999999999999-{'0' * 64}",
        f"../notebooks/../{SLUG}/1-99999999999999-{'0' * 64}",
    ],
)
async def test_address_that_was_tampered_with_leads_nowhere(place: Place, text: str) -> None:
    (place.folder.parent / "secret").parent.mkdir(parents=True)
    (place.folder.parent / "secret").write_text('{"project": "p", "file": "f"}\nsecret')
    shares = place.gateway()
    fresh, share = await shares.make(SLUG, "demo", "a.ipynb", b"x")
    address = place.folder / "addresses" / share.digest
    address.unlink()
    address.symlink_to(text)
    assert await shares.find(fresh) is None


@pytest.mark.parametrize("content", [b"", b"{}\nx", b"[1]\nx", b"no\nx", b"\xff\nx"])
async def test_damaged_file_is_none(place: Place, content: bytes) -> None:
    shares = place.gateway()
    fresh, share = await shares.make(SLUG, "demo", "a.ipynb", b"x")
    next((place.folder / "notebooks" / SLUG).glob(f"*-{share.digest}")).write_bytes(content)
    assert await shares.find(fresh) is None
    assert await shares.of(SLUG) == []
    assert await shares.end(SLUG, share.digest)


async def test_disk_that_fails_is_told_and_nothing_half_done_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = place.gateway()
    await shares.make(SLUG, "demo", "a.ipynb", b"x")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpaceError, match="No space left"):
        await shares.make(SLUG, "demo", "a.ipynb", b"x")
    assert len(place.files()) == 2


def test_folder_that_is_swept_away_meanwhile_is_made_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, made = ShareFiles(place.folder), Path.mkdir
    swept: list[Path] = []

    def mkdir(path: Path, *given: object, **named: object) -> None:
        made(path, *given, **named)  # type: ignore[arg-type]
        if path.name == SLUG and not swept:
            swept.append(path)
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    shares = place.gateway()
    fresh, share = asyncio.run(shares.make(SLUG, "demo", "a.ipynb", b"x"))
    assert swept
    assert files.find(secret.digest(fresh)) == (share, b"x")
