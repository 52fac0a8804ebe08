"""Notebooks that are shared, over the API."""

from __future__ import annotations

import pytest

from tests.api.conftest import Client

URL = "/gateway/api/notebooks"


@pytest.fixture
async def notebook(client: Client) -> str:
    assert (await client.post("/gateway/api/projects", json={"name": "demo"})).status == 201
    body = {"slug": "first", "project": "demo", "owner": "alice", "shared_with": ["bob"]}
    made = await client.post(URL, json=body)
    assert (await made.json())["shared_with"] == ["bob"]
    return f"{URL}/first"


async def test_people_come_and_go(client: Client, notebook: str) -> None:
    shared = await client.post(f"{notebook}/share", json={"people": ["carol", "bob"]})
    assert (await shared.json())["shared_with"] == ["bob", "carol"]
    left = await client.post(f"{notebook}/unshare", json={"people": ["bob"]})
    assert (await left.json())["shared_with"] == ["carol"]
    edited = await client.patch(notebook, json={"shared_with": []})
    assert (await edited.json())["shared_with"] == []


@pytest.mark.parametrize(
    "body", [{}, {"people": []}, {"people": ["a\nb"]}, {"people": "bob"}, {"people": ["x" * 300]}]
)
async def test_what_names_nobody_is_refused(
    client: Client, notebook: str, body: dict[str, object]
) -> None:
    assert (await client.post(f"{notebook}/share", json=body)).status == 422
    assert (await (await client.get(notebook)).json())["shared_with"] == ["bob"]


async def test_too_many_are_refused_together(client: Client, notebook: str) -> None:
    people = [f"p{number}" for number in range(100)]
    assert (await client.post(f"{notebook}/share", json={"people": people})).status == 422
    assert (await client.post(f"{notebook}/share", json={"people": people[1:]})).status == 200


async def test_lock_forbids_sharing_and_lets_it_end(client: Client, notebook: str) -> None:
    await client.post(f"{notebook}/lock", json={"reason": "exam"})
    assert (await client.post(f"{notebook}/share", json={"people": ["carol"]})).status == 423
    assert (await client.patch(notebook, json={"shared_with": ["carol"]})).status == 423
    assert (await client.post(f"{notebook}/unshare", json={"people": ["bob"]})).status == 200


async def test_notebook_that_is_not_there_is_not_found(client: Client) -> None:
    assert (await client.post(f"{URL}/no/share", json={"people": ["bob"]})).status == 404
