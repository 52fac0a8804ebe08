"""What the tests of operations share: rows of other gateways."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.activation.operations import Kind, Operation, Operations
from tests.activation.conftest import World

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def later_gateway(world: World) -> Operations:
    return Operations(world.database, "later")


async def written_by_another(
    world: World, kind: Kind, slug: str, created: datetime = NOW
) -> Operation:
    """Have a row of a gateway that is gone."""
    another = Operations(world.database, "another", lambda: created)
    left = another.plan(kind, slug, "another person")
    await another.flush()
    return left
