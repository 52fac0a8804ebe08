"""Links over the API, with real tickets and spaces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.errors import EngineUnavailable
from gateway.launch.links import host_of
from gateway.launch.tickets import Ticket
from tests.api.conftest import Client, client_for
from tests.api.support import ORIGIN, World, world_in

URL = "/gateway/api/links"
FILE = "w1/été n°1.ipynb"
QUOTED = "w1/%C3%A9t%C3%A9%20n%C2%B01.ipynb"
ALICE = {"project": "demo", "person": "alice"}


@pytest.fixture(autouse=True)
async def project(client: Client, course: Path) -> None:
    body = {"name": "demo", "source": str(course)}
    assert (await client.post("/gateway/api/projects", json=body)).status == 201


async def ticket_behind(world: World, url: str) -> Ticket:
    assert url.startswith(f"{ORIGIN}/gateway/login?ticket=")
    ticket = parse_qs(urlsplit(url).query)["ticket"][0]
    redeemed = await world.tickets.redeem(ticket, "login", "nb.example.org")
    assert redeemed is not None
    return redeemed


async def test_a_link_makes_notebook_and_space_and_logs_the_person_in(
    client: Client, world: World
) -> None:
    response = await client.post(URL, json={**ALICE, "file": FILE})
    link = await response.json()
    assert (response.status, link["slug"]) == (201, "demo-x-alice")
    ticket = await ticket_behind(world, link["url"])
    assert (ticket.subject, ticket.next_path) == ("alice", f"/nb/demo-x-alice/lab/tree/{QUOTED}")
    lifetime = datetime.fromisoformat(link["expires"]) - datetime.now(UTC)
    assert 500 < lifetime.total_seconds() <= 600


async def test_a_second_link_is_for_the_same_notebook(client: Client, world: World) -> None:
    first = await (await client.post(URL, json=ALICE)).json()
    second = await (await client.post(URL, json={"slug": "demo-x-alice"})).json()
    assert first["slug"] == second["slug"]
    assert first["url"] != second["url"]
    ticket = await ticket_behind(world, second["url"])
    assert (ticket.subject, ticket.next_path) == ("alice", "/nb/demo-x-alice/lab")


async def test_a_file_that_is_not_there_is_named(client: Client) -> None:
    response = await client.post(URL, json={**ALICE, "file": "w9/nothing.ipynb"})
    assert response.status == 404
    assert "'w9/nothing.ipynb'" in (await response.json())["detail"]


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../bob/x", "a/../../b", "a//b", "./a", "a\nb", "", "a" * 1025, "."]
)
async def test_a_file_outside_the_space_is_refused(client: Client, file: str) -> None:
    response = await client.post(URL, json={**ALICE, "file": file})
    detail = (await response.json())["detail"]
    assert response.status == 422
    assert detail.startswith("file ")
    assert "\n" not in detail


@pytest.mark.parametrize(
    "body", [{}, {"project": "demo"}, {"person": "alice"}, {"slug": "x", "person": "alice"}]
)
async def test_a_link_is_for_a_slug_or_for_a_person_of_a_project(
    client: Client, body: dict[str, str]
) -> None:
    response = await client.post(URL, json=body)
    assert response.status == 422


async def test_unknown_notebooks_and_projects_are_404(client: Client) -> None:
    assert (await client.post(URL, json={"slug": "nothing"})).status == 404
    assert (await client.post(URL, json={**ALICE, "project": "nothing"})).status == 404


async def test_a_direct_link_starts_the_server_and_holds_its_token(client: Client) -> None:
    response = await client.post(URL, json={**ALICE, "file": FILE, "direct": True})
    link = await response.json()
    path = f"/nb/demo-x-alice/lab/tree/{QUOTED}"
    assert link["url"] == f"http://127.0.0.1:41234{path}?token=hop-secret"
    assert link["expires"] is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://NB.example.org", "nb.example.org"),
        ("https://nb.example.org:443", "nb.example.org"),
        ("http://nb.example.org:80", "nb.example.org"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("https://nb.example.org:80", "nb.example.org:80"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_a_ticket_is_for_the_host_that_browsers_send(origin: str, host: str) -> None:
    assert host_of(origin) == host


@pytest.fixture
async def prod(tmp_path: Path) -> AsyncIterator[World]:
    state_dir = tmp_path / "prod"
    state_dir.mkdir()
    async with world_in(state_dir, base_domain="nb.example.org", direct=False) as world:
        await world.catalogue.add_project("demo")
        yield world


@pytest.fixture
async def prod_client(prod: World) -> AsyncIterator[Client]:
    async with client_for(prod) as made:
        yield made


async def test_in_prod_mode_a_direct_link_is_refused(prod_client: Client) -> None:
    response = await prod_client.post(URL, json={**ALICE, "direct": True})
    assert response.status == 409
    assert "dev mode" in (await response.json())["detail"]


async def test_while_the_engine_is_down_a_direct_link_is_refused_for_that_reason(
    client: Client, world: World
) -> None:
    world.engine.down = EngineUnavailable("unix:///var/run/docker.sock")
    response = await client.post(URL, json={**ALICE, "direct": True})
    problem = await response.json()
    assert (response.status, problem["type"]) == (503, "about:blank#engine-unavailable")
    assert "unix:///var/run/docker.sock does not answer; start it" in problem["detail"]
    assert "prod" not in problem["detail"]


async def test_in_host_routing_a_link_leads_to_the_notebooks_own_origin(
    prod: World, prod_client: Client
) -> None:
    link = await (await prod_client.post(URL, json=ALICE)).json()
    ticket = await ticket_behind(prod, link["url"])
    assert ticket.next_path == "https://demo-x-alice.nb.example.org/lab"
