"""What operators may set, and what is the gateway's and the notebooks' own."""

from __future__ import annotations

import pytest

from gateway.access import Namespace
from gateway.errors import Conflict
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


@pytest.mark.parametrize(
    ("key", "held"),
    [("any.nb.test", True), ("www.nb.test", False), ("nb.test", False), ("a.b.nb.test", False)],
)
def test_hosts_below_the_base_domain_are_the_notebooks(key: str, held: bool) -> None:
    assert Namespace("nb.test").holds(key) is held
