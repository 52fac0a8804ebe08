"""Routes over the API, on a real route file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from routes.apachedb import read
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


async def test_a_route_to_a_unix_socket_is_set_in_its_canonical_form(
    client: Client, tmp_path: Path
) -> None:
    key, target = {"key": "/wiki"}, "http+unix://%2Frun%2Fwiki.sock/base"
    given = {"target": "unix+http://%2frun%2fwiki.sock/base/"}
    response = await client.put(f"{URL}/one", params=key, json=given)
    assert (response.status, (await response.json())["target"]) == (200, target)
    assert read(tmp_path / "routes.gdbm") == {b"/wiki": target.encode()}
    assert await (await client.post(f"{URL}/reload")).json() == {"routes": 1}
    assert (await (await client.get(f"{URL}/one", params=key)).json())["target"] == target


@pytest.mark.parametrize("linked", ["", "link.sock", "folder"])
async def test_no_route_leads_to_the_gateways_own_sockets(
    client: Client, tmp_path: Path, linked: str
) -> None:
    own = tmp_path / "run" / "pages.sock"
    own.parent.mkdir()
    (tmp_path / "link.sock").symlink_to(own)
    (tmp_path / "folder").symlink_to(own.parent)
    path = {"": own, "link.sock": tmp_path / linked, "folder": tmp_path / linked / own.name}
    target = f"http+unix://{quote(str(path[linked]), safe='')}"
    response = await client.put(f"{URL}/one", params={"key": "/wiki"}, json={"target": target})
    assert response.status == 422
    assert "the gateway's own sockets" in (await response.json())["detail"]
    assert await (await client.get(URL)).json() == {"routes": []}


async def test_check_rebuild_and_reload_work_on_the_file(client: Client) -> None:
    await client.put(f"{URL}/one", params={"key": "/docs"}, json={"target": "127.0.0.1:9000"})
    assert await (await client.get(f"{URL}/check")).json() == {"findings": []}
    assert "1 route" in (await (await client.post(f"{URL}/rebuild")).json())["result"]
    assert await (await client.post(f"{URL}/reload")).json() == {"routes": 1}
