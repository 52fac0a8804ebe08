"""Notebooks over the API."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import StartFailed
from tests.api.conftest import Client
from tests.api.support import World

URL = "/gateway/api/notebooks"


@pytest.fixture(autouse=True)
async def project(client: Client) -> None:
    response = await client.post("/gateway/api/projects", json={"name": "demo"})
    assert response.status == 201


async def create(client: Client, slug: str = "first", **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json={"slug": slug, "project": "demo"} | fields)
    assert response.status == 201, await response.text()
    record: dict[str, Any] = await response.json()
    return record


async def test_a_new_notebook_is_cold_and_the_administrators(client: Client) -> None:
    made = await create(client)
    assert (made["state"], made["phase"], made["owner"]) == ("cold", "cold", "admin")
    assert (made["name"], made["lock"], made["failure"]) == ("first", None, None)
    assert await (await client.get(f"{URL}/first")).json() == made


async def test_the_list_is_narrowed_by_project_and_owner(client: Client) -> None:
    await create(client, "first", owner="alice")
    await create(client, "second", owner="bob")
    listed = await (await client.get(URL, params={"owner": "bob"})).json()
    assert [one["slug"] for one in listed["notebooks"]] == ["second"]
    assert (await client.get(URL, params={"project": "nothing"})).status == 404


async def test_what_cannot_be_made_is_refused(client: Client) -> None:
    await create(client)
    for fields, status in (
        ({"slug": "first", "project": "demo"}, 409),
        ({"slug": "second", "project": "nothing"}, 404),
        ({"slug": "Second One", "project": "demo"}, 422),
        ({"slug": "second", "project": "demo", "owner": "a\tb"}, 422),
        ({"slug": "demo-x-bob", "project": "demo", "owner": "alice"}, 422),
        ({"slug": "second"}, 422),
    ):
        response = await client.post(URL, json=fields)
        assert (response.status, fields) == (status, fields)


async def test_start_with_wait_answers_when_it_is_ready(client: Client, world: World) -> None:
    await create(client)
    response = await client.post(f"{URL}/first/start", params={"wait": "true"})
    assert response.status == 200
    started = await response.json()
    assert (started["state"], started["phase"], started["port"]) == ("running", "ready", 41234)


async def test_start_without_wait_answers_at_once_and_goes_on(client: Client, world: World) -> None:
    await create(client)
    world.engine.held.clear()
    response = await client.post(f"{URL}/first/start")
    assert response.status == 202
    assert (await response.json())["queue_position"] == 1
    world.engine.held.set()
    await world.engine.tasks["first"]
    assert (await (await client.get(f"{URL}/first")).json())["phase"] == "ready"


async def test_a_failed_start_tells_reason_and_log_tail(client: Client, world: World) -> None:
    await create(client)
    world.engine.broken = StartFailed("first", "image 'a/b' is not there", "the log", 4.0)
    response = await client.post(f"{URL}/first/start", params={"wait": "1"})
    problem = await response.json()
    assert response.status == 503
    assert response.headers["Retry-After"] == "4"
    assert "image 'a/b' is not there" in problem["detail"]
    assert problem["log_tail"] == "the log"
    failure = (await (await client.get(f"{URL}/first")).json())["failure"]
    assert failure == {
        "reason": "image 'a/b' is not there",
        "retry_after": 4.0,
        "log_tail": "the log",
    }
    logs = await (await client.get(f"{URL}/first/logs")).json()
    assert logs == {"logs": "the log"}


async def test_an_explicit_start_does_not_wait_for_the_back_off(
    client: Client, world: World
) -> None:
    await create(client)
    await client.post(f"{URL}/first/start", params={"wait": "true"})
    assert world.engine.forgiven == ["first"]


async def test_stop_and_sync_tell_what_they_did(client: Client, world: World) -> None:
    await create(client)
    await client.post(f"{URL}/first/start", params={"wait": "true"})
    stopped = await (await client.post(f"{URL}/first/stop")).json()
    assert (stopped["state"], world.engine.stopped) == ("cold", ["first"])
    synced = await (await client.post(f"{URL}/first/sync")).json()
    assert synced["found"] == "first: nothing runs (the record said cold)"


async def test_a_locked_notebook_answers_423_with_who_and_why(client: Client) -> None:
    await create(client, owner="alice")
    body = {"reason": "exam until Friday", "by": "teacher"}
    locked = await (await client.post(f"{URL}/first/lock", json=body)).json()
    assert (locked["lock"]["by"], locked["lock"]["reason"]) == ("teacher", "exam until Friday")
    for response in (
        await client.post(f"{URL}/first/stop"),
        await client.delete(f"{URL}/first"),
        await client.patch(f"{URL}/first", json={"memory": "1G"}),
    ):
        assert response.status == 423
        detail = (await response.json())["detail"]
        assert "teacher" in detail
        assert "exam until Friday" in detail
    unlocked = await (await client.post(f"{URL}/first/unlock")).json()
    assert unlocked["lock"] is None
    assert (await client.delete(f"{URL}/first")).status == 204


async def test_a_lock_needs_a_reason(client: Client) -> None:
    await create(client)
    response = await client.post(f"{URL}/first/lock", json={})
    assert (response.status, (await response.json())["detail"]) == (422, "reason: is required")


async def test_reconfiguring_changes_what_is_given(client: Client) -> None:
    await create(client, memory="2G", cpus=1, image="a/b:1")
    response = await client.patch(
        f"{URL}/first", json={"cpus": 4, "image": "a/b:2", "name": "New name"}
    )
    changed = await response.json()
    assert (changed["memory"], changed["cpus"]) == (2 * 2**30, 4.0)
    assert (changed["image"], changed["name"]) == ("a/b:2", "New name")
    changed = await (await client.patch(f"{URL}/first", json={"image": None})).json()
    assert changed["image"] is None


@pytest.mark.parametrize("field", ["slug", "project", "state", "generation", "container_id"])
async def test_what_is_not_configuration_cannot_be_patched(client: Client, field: str) -> None:
    await create(client)
    response = await client.patch(f"{URL}/first", json={field: "x"})
    assert response.status == 422


@pytest.mark.parametrize("purge", [False, True])
async def test_delete_keeps_the_space_unless_asked(
    client: Client, world: World, purge: bool
) -> None:
    await create(client)
    await client.post("/gateway/api/links", json={"slug": "first"})
    shares = world.services.ways.shares
    secret, _ = await shares.make("first", "demo", "a.ipynb", b"{}")
    response = await client.delete(f"{URL}/first", params={"purge_space": str(purge).lower()})
    assert response.status == 204
    assert (await shares.find(secret) is None) is purge, "what was shared goes with the files"
    assert (await client.get(f"{URL}/first")).status == 404
    assert (world.state_dir / "spaces" / "first").exists() is not purge


async def test_logs_are_the_last_lines(client: Client, world: World) -> None:
    await create(client)
    world.engine.output = "one\ntwo\nthree"
    answer = await (await client.get(f"{URL}/first/logs", params={"lines": "2"})).json()
    assert answer == {"logs": "two\nthree"}


@pytest.mark.parametrize("lines", ["0", "-1", "x", "10001", "1" * 5000, "٣"])
async def test_a_wrong_number_of_lines_is_named(client: Client, lines: str) -> None:
    await create(client)
    response = await client.get(f"{URL}/first/logs", params={"lines": lines})
    assert response.status == 422
    assert (await response.json())["detail"].startswith("lines: ")


async def test_a_wrong_flag_is_named(client: Client) -> None:
    await create(client)
    response = await client.delete(f"{URL}/first", params={"purge_space": "yes"})
    assert (await response.json())["detail"] == "purge_space: 'yes' is neither true nor false"
    assert (await client.get(f"{URL}/first")).status == 200


@pytest.mark.parametrize(
    ("method", "tail"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/start"),
        ("POST", "/stop"),
        ("POST", "/sync"),
        ("POST", "/lock"),
        ("POST", "/unlock"),
        ("GET", "/logs"),
    ],
)
async def test_an_unknown_notebook_is_404_everywhere(
    client: Client, method: str, tail: str
) -> None:
    response = await client.request(method, f"{URL}/nothing{tail}")
    assert response.status == 404
    assert (await response.json())["detail"] == "there is no notebook 'nothing'"
