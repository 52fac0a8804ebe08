"""Routes over the API, on a real route file."""

from __future__ import annotations

import pytest

from tests.api.conftest import Client

URL = "/gateway/api/routes"


async def test_a_set_route_can_be_read_listed_and_deleted(client: Client) -> None:
    key = {"key": "/docs"}
    response = await client.put(f"{URL}/one", params=key, json={"target": "127.0.0.1:9000"})
    record = {
        "key": "/docs",
        "target": "127.0.0.1:9000",
        "hot": True,
        "slug": None,
        "owner": None,
        "project": None,
        "engine_id": "local",
    }
    assert await response.json() == record
    assert await (await client.get(f"{URL}/one", params=key)).json() == record
    assert await (await client.get(URL)).json() == {"routes": [record]}
    assert (await client.delete(f"{URL}/one", params=key)).status == 204
    assert (await client.get(f"{URL}/one", params=key)).status == 404


async def test_keys_are_canonical(client: Client) -> None:
    body = {"target": "127.0.0.1:9000"}
    response = await client.put(f"{URL}/one", params={"key": "Docs.Example.ORG"}, json=body)
    assert (await response.json())["key"] == "docs.example.org"


@pytest.mark.parametrize(
    ("key", "target", "status"),
    [
        ("/josé", "127.0.0.1:1", 422),
        ("/a b", "127.0.0.1:1", 422),
        ("/docs", "nowhere", 422),
        ("/docs", "127.0.0.1:99999", 422),
        ("/gateway/x", "127.0.0.1:1", 409),
        ("nb.example.org", "127.0.0.1:1", 409),
        ("", "127.0.0.1:1", 422),
    ],
)
async def test_what_cannot_be_a_route_is_refused_and_changes_nothing(
    client: Client, key: str, target: str, status: int
) -> None:
    response = await client.put(f"{URL}/one", params={"key": key}, json={"target": target})
    assert response.status == status
    assert "\n" not in (await response.json())["detail"]
    assert await (await client.get(URL)).json() == {"routes": []}


async def test_check_rebuild_and_reload_work_on_the_file(client: Client) -> None:
    await client.put(f"{URL}/one", params={"key": "/docs"}, json={"target": "127.0.0.1:9000"})
    assert await (await client.get(f"{URL}/check")).json() == {"findings": []}
    assert "1 route" in (await (await client.post(f"{URL}/rebuild")).json())["result"]
    assert await (await client.post(f"{URL}/reload")).json() == {"routes": 1}
