"""What is done to notebooks has an id, can be asked for, and need not be waited for."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientResponse

from gateway.errors import StartFailed
from tests.api.conftest import Client
from tests.api.support import World

NOTEBOOKS = "/gateway/api/notebooks"
OPERATIONS = "/gateway/api/operations"


@pytest.fixture(autouse=True)
async def first(world: World, client: Client) -> str:
    """There is a notebook of alice's."""
    await world.catalogue.add_project("demo")
    body = {"slug": "first", "project": "demo", "owner": "alice"}
    assert (await client.post(NOTEBOOKS, json=body)).status == 201
    return "first"


async def of(client: Client, answer: ClientResponse) -> dict[str, Any]:
    """Return the operation that an answer names."""
    found = await client.get(answer.headers["Location"])
    assert found.status == 200
    operation: dict[str, Any] = await found.json()
    return operation


async def test_stop_answers_with_its_operation(world: World, client: Client, first: str) -> None:
    answer = await client.post(f"{NOTEBOOKS}/{first}/stop", params={"reason": "over\nat ten"})
    record = await answer.json()
    operation = await of(client, answer)
    assert (answer.status, record["operation"]) == (200, operation["id"])
    assert (operation["kind"], operation["state"], operation["notebook"]) == ("stop", "done", first)
    assert (operation["reason"], operation["requested_by"]) == ("over at ten", "admin")
    assert operation["created"] <= operation["began"] <= operation["ended"]
    assert world.engine.withdrawn == [first], "one that waits to be started need not be started"


async def test_stop_that_is_not_waited_for_is_written_down_and_ends(
    world: World, client: Client, first: str
) -> None:
    world.engine.stoppable.clear()
    answer = await client.post(f"{NOTEBOOKS}/{first}/stop", params={"wait": "false"})
    assert answer.status == 202
    assert (await of(client, answer))["state"] in ("queued", "running")
    world.engine.stoppable.set()
    operation = await world.services.operations.get((await answer.json())["operation"])
    await world.services.operations.wait(operation)
    assert (await of(client, answer))["state"] == "done"


async def test_start_answers_with_its_operation(client: Client, first: str) -> None:
    answer = await client.post(f"{NOTEBOOKS}/{first}/start", params={"wait": "true"})
    operation = await of(client, answer)
    assert (operation["kind"], operation["state"]) == ("start", "done")
    assert operation["requested_by"] == "admin"


async def test_start_that_fails_is_a_failed_operation(
    world: World, client: Client, first: str
) -> None:
    world.engine.broken = StartFailed(first, "it has no image")
    answer = await client.post(f"{NOTEBOOKS}/{first}/start", params={"wait": "true"})
    assert answer.status == 503
    found = await client.get(OPERATIONS, params={"state": "failed"})
    (operation,) = (await found.json())["operations"]
    assert (operation["kind"], operation["notebook"]) == ("start", first)
    assert "it has no image" in operation["error"]


@pytest.mark.parametrize("wait", ["true", "false"])
async def test_delete_answers_with_an_operation_that_outlives_the_notebook(
    world: World, client: Client, first: str, wait: str
) -> None:
    answer = await client.delete(f"{NOTEBOOKS}/{first}", params={"wait": wait})
    assert answer.status == (204 if wait == "true" else 202)
    identity = answer.headers["Location"].rpartition("/")[2]
    await world.services.operations.wait(await world.services.operations.get(identity))
    assert (await of(client, answer))["state"] == "done"
    assert (await client.get(f"{NOTEBOOKS}/{first}")).status == 404


async def test_operations_are_listed_the_latest_first(client: Client, first: str) -> None:
    await client.post(f"{NOTEBOOKS}/{first}/stop")
    found = await (await client.get(OPERATIONS, params={"notebook": first})).json()
    assert [one["kind"] for one in found["operations"]] == ["stop", "create"]
    none = await (await client.get(OPERATIONS, params={"notebook": "other"})).json()
    assert none == {"operations": []}


async def test_locked_notebook_is_423_and_no_operation(
    world: World, client: Client, first: str
) -> None:
    await world.catalogue.lock(first, "tina", "exam data")
    answer = await client.post(f"{NOTEBOOKS}/{first}/stop", params={"wait": "false"})
    assert answer.status == 423
    found = await (await client.get(OPERATIONS, params={"notebook": first})).json()
    assert [one["kind"] for one in found["operations"]] == ["create"]


async def test_unknown_operation_is_404_and_a_wrong_state_is_named(client: Client) -> None:
    unknown = await client.get(f"{OPERATIONS}/nothing")
    assert (unknown.status, (await unknown.json())["detail"]) == (
        404,
        "there is no operation 'nothing'",
    )
    wrong = await client.get(OPERATIONS, params={"state": "odd"})
    assert wrong.status == 422
    assert (await wrong.json())["detail"].startswith("state: 'odd' is none of queued")


async def test_operations_need_the_token(stranger: Client) -> None:
    assert (await stranger.get(OPERATIONS)).status == 401
