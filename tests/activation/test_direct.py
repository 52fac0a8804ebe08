"""What httpd may serve by itself: hot notebooks of our image, with their owners."""

from __future__ import annotations

from routes.admission import OWNERS
from routes.apachedb import read
from tests.activation.conftest import World
from tests.support.waiting import until


def owners(world: World) -> dict[bytes, bytes]:
    return read(world.route_file.with_name(OWNERS))


async def test_owner_of_a_hot_notebook_is_told_and_taken_back(direct_world: World) -> None:
    slug = await direct_world.notebook()
    assert owners(direct_world) == {}
    await direct_world.activator.ensure(slug)
    assert owners(direct_world) == {f"/alice/{slug}".encode(): b"1"}
    await direct_world.lifecycle.stop_container(slug)
    await until(lambda: owners(direct_world) == {})


async def test_notebook_of_a_foreign_image_is_the_gateways_to_serve(direct_world: World) -> None:
    direct_world.spawner.ours = False
    slug = await direct_world.notebook()
    entry = await direct_world.activator.ensure(slug)
    assert entry.target is not None
    assert not entry.direct
    assert owners(direct_world) == {}
    assert entry.key.encode() not in read(direct_world.route_file)
    assert direct_world.routes.check() == []
    await direct_world.routes.rebuild()
    assert entry.key.encode() not in read(direct_world.route_file)
