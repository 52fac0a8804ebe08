"""Who may frame a notebook is its project's word, in its route and in what it is made with."""

from __future__ import annotations

from gateway.notebooks.catalogue import Catalogue
from gateway.proxy.interface import RouteEntry
from tests.activation.conftest import World

LMS = "https://lms.example.org"


def entry(world: World, slug: str) -> RouteEntry:
    found = world.routes.entry(f"/nb/{slug}")
    assert found is not None
    return found


async def test_change_is_in_force_at_once_cold_and_hot_and_nothing_else_changes(
    world: World,
) -> None:
    slug = await world.notebook()
    for hot in (False, True):
        if hot:
            await world.activator.ensure(slug)
        before = entry(world, slug)
        assert (before.ancestors, before.target is not None) == ("'self'", hot)
        await world.catalogue.update_project("demo", frame_ancestors=(LMS, "https://b"))
        assert entry(world, slug).ancestors == f"'self' {LMS} https://b"
        await world.catalogue.update_project("demo", title="Other", staff=())
        await world.catalogue.update_project("demo", frame_ancestors=())
        assert entry(world, slug).ancestors == "'self'"
        await world.catalogue.update_project("demo", frame_ancestors=None)
        after = entry(world, slug)
        assert after == before
        assert after.activity is before.activity


async def test_what_another_gateway_stored_counts_when_it_is_read(world: World) -> None:
    slug = await world.notebook()
    there = Catalogue(world.database)
    await there.load()
    await there.update_project("demo", frame_ancestors=(LMS,))
    await world.catalogue.refresh([], ["demo"])
    assert entry(world, slug).ancestors == f"'self' {LMS}"
    await there.update_project("demo", frame_ancestors=None)
    await world.catalogue.load()
    assert entry(world, slug).ancestors == "'self'"


async def test_server_is_told_what_its_project_says(world: World) -> None:
    slug = await world.notebook()
    for own in ((LMS,), (), None):
        await world.catalogue.update_project("demo", frame_ancestors=own)
        await world.activator.ensure(slug)
        assert world.spawner.starts[-1].frame_ancestors == (own or ())
        await world.lifecycle.stop_container(slug)
