"""What operators may set, and what is the gateway's and the notebooks' own."""

from __future__ import annotations

import pytest

from gateway.errors import Conflict
from gateway.namespace import Namespace
from routes.apachedb import read
from routes.secretmap import beside
from tests.activation.conftest import World


@pytest.mark.parametrize(
    "key", ["/gateway", "/gateway/x", "/nb", "/nb/anything", "/%6eb/x", "nb.example.org"]
)
async def test_reserved_keys_are_refused(world: World, key: str) -> None:
    with pytest.raises(Conflict):
        await world.routes.set(key, "127.0.0.1:9000")
    assert not world.routes.list()


async def test_plain_route_is_set_and_deleted(world: World) -> None:
    await world.routes.set("/wiki", "127.0.0.1:9000")
    assert world.routes.get("/wiki/").target == "127.0.0.1:9000"
    await world.routes.delete("/wiki")
    assert not world.routes.list()


async def test_check_looks_at_the_map_of_secrets_and_rebuild_writes_it_afresh(
    direct_world: World,
) -> None:
    slug = await direct_world.notebook()
    entry = await direct_world.activator.ensure(slug)
    hidden = beside(direct_world.route_file)
    sound = read(hidden)
    assert sound == {f"/nb/{slug}".encode(): str(entry.secret).encode()}
    assert list(direct_world.routes.check()) == []
    hidden.write_bytes(b"this is no GDBM file")
    hidden.chmod(0o644)
    damaged, too_open = direct_world.routes.check()
    assert damaged.startswith(f"{hidden} is damaged")
    assert "chmod" in too_open
    told = await direct_world.routes.rebuild()
    (kept,) = hidden.parent.glob("secrets.gdbm.damaged-*")
    assert str(kept) in told
    assert kept.read_bytes() == b"this is no GDBM file"
    assert read(hidden) == sound
    assert list(direct_world.routes.check()) == []


async def test_missing_map_of_secrets_is_told_and_written_by_rebuild(direct_world: World) -> None:
    await direct_world.activator.ensure(await direct_world.notebook())
    hidden = beside(direct_world.route_file)
    sound = read(hidden)
    hidden.unlink()
    (finding,) = direct_world.routes.check()
    assert finding.startswith(f"{hidden} is not there")
    await direct_world.routes.rebuild()
    assert read(hidden) == sound


async def test_rebuild_keeps_no_copy_of_a_sound_map_of_secrets(direct_world: World) -> None:
    await direct_world.activator.ensure(await direct_world.notebook())
    await direct_world.routes.rebuild()
    assert not list(direct_world.route_file.parent.glob("*damaged*"))


async def test_map_of_secrets_may_be_missing_where_httpd_authenticates_nobody(
    world: World,
) -> None:
    assert list(world.routes.check()) == []
    beside(world.route_file).write_bytes(b"left by an earlier run")
    damaged, _ = world.routes.check()
    assert "remove it" in damaged


@pytest.mark.parametrize(
    ("key", "held"),
    [("any.nb.test", True), ("www.nb.test", False), ("nb.test", False), ("a.b.nb.test", False)],
)
def test_hosts_below_the_base_domain_are_the_notebooks(key: str, held: bool) -> None:
    assert Namespace("nb.test").holds(key) is held
